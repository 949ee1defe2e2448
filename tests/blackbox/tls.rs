//! TLS: `--tls-cert` and `--tls-key`.

use crate::harness::{Launch, Mode, tool};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Makes a certificate and its key with openssl; `None` if there is none.
pub(crate) fn make(folder: &Path) -> Option<[PathBuf; 2]> {
    let openssl = tool("openssl")?;
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    let mut command = openssl.command();
    command.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"]);
    command.args(["ec_paramgen_curve:P-256", "-subj", "/CN=localhost", "-addext"]);
    command.args(["subjectAltName=DNS:localhost", "-keyout"]).arg(&key).arg("-out");
    let output = crate::harness::Output::of(command.arg(&certificate));
    assert!(output.status.success(), "{:?}", output.stderr);
    Some([certificate, key])
}

in_all_modes!(lines_come_back_through_tls);

fn lines_come_back_through_tls(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let Some([certificate, key]) = make(folder.path()) else { return };
    let launch = Launch::tcp(mode).flag("--tls-cert", &certificate).flag("--tls-key", &key);
    let mut server = launch.flag("--quit-word", "quit").start();
    let mut client = tool("openssl").unwrap().command();
    client.args(["s_client", "-quiet", "-verify_return_error", "-CAfile"]).arg(&certificate);
    client.args(["-connect", &server.inet().to_string()]);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = epoll_kit_testing::Guard::spawn(&mut client).unwrap();
    let mut lines = BufReader::new(client.child().stdout.take().unwrap()).lines();
    let mut stdin = client.child().stdin.take().unwrap();
    for line in ["hello", "and more", "quit"] {
        writeln!(stdin, "{line}").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), line);
    }
    assert!(lines.next().is_none(), "the quit word ends the stream in order");
    assert!(client.output(crate::harness::PATIENCE).status.success());
    server.end(Signal::TERM);
}

#[test]
fn a_file_that_is_missing_or_wrong_is_named_with_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let Some([certificate, key]) = make(folder.path()) else { return };
    let missing = folder.path().join("missing.pem");
    let text = folder.path().join("text.pem");
    fs::write(&text, "no PEM").unwrap();
    let other = tempfile::tempdir().unwrap();
    let [_, other_key] = make(other.path()).unwrap();
    for (cert, key, flag, path) in [
        (&missing, &key, "--tls-cert", &missing),
        (&text, &key, "--tls-cert", &text),
        (&certificate, &missing, "--tls-key", &missing),
        (&certificate, &text, "--tls-key", &text),
        (&certificate, &certificate, "--tls-key", &certificate),
        (&certificate, &other_key, "--tls-key", &other_key),
    ] {
        let launch = Launch::at("127.0.0.1:0").flag("--tls-cert", cert).flag("--tls-key", key);
        let output = launch.run();
        let [line] = &output.stderr[..] else { panic!("{:?}", output.stderr) };
        assert!(line.contains(flag) && line.contains(path.to_str().unwrap()), "{line}");
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn one_flag_needs_the_other() {
    for (flag, other) in [("--tls-cert", "--tls-key"), ("--tls-key", "--tls-cert")] {
        let output = Launch::bare().flag(flag, "file.pem").run();
        let expected = format!("epoll-server: error: '{flag}' needs '{other}'");
        assert_eq!(output.stderr, [expected]);
        assert_eq!(output.status.code(), Some(2));
    }
}
