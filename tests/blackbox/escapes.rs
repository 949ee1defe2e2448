//! Texts from outside never command a terminal, nor pass for a line of their own: control characters are escaped.

use crate::harness::{Launch, Mode, Output, PATIENCE, converse};
use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;

/// A text that would clear the screen and begin a new line.
const EVIL: &str = "a\u{1b}[2J\nb\u{9b}";
const ESCAPED: &str = r"a\u{1b}[2J\nb\u{9b}";

/// Returns the only line that a launch which is refused says.
#[track_caller]
fn refusal(launch: &Launch, status: i32) -> String {
    let Output { status: ended, stdout, mut stderr } = launch.run();
    assert_eq!((ended.code(), stderr.len()), (Some(status), 1), "{stderr:#?}");
    assert!(stdout.is_empty(), "{stdout:#?}");
    let line = stderr.remove(0);
    assert!(!line.contains(char::is_control), "{line:?}");
    line
}

#[test]
fn in_arguments() {
    for flag in [
        "--listen",
        "--mode",
        "--threads",
        "--quit-word",
        "--idle-timeout",
        "--pin",
        "--unix-owner",
    ] {
        let line = refusal(&Launch::bare().switch(&format!("{flag}={EVIL}")), 2);
        assert!(line.contains(flag) && line.contains(ESCAPED), "{line}");
    }
    for argument in [format!("--{EVIL}"), EVIL.to_owned()] {
        refusal(&Launch::bare().switch(&argument), 2);
    }
}

#[test]
fn in_paths() {
    let evil = format!("/nowhere/{EVIL}");
    for (flag, status) in [("--config", 2), ("--stats-json", 1), ("--tls-cert", 1)] {
        let launch = Launch::at("127.0.0.1:0").flag(flag, &evil);
        let launch =
            if flag == "--tls-cert" { launch.flag("--tls-key", "/nowhere") } else { launch };
        let line = refusal(&launch, status);
        assert!(line.contains(flag) && line.contains(ESCAPED), "{line}");
    }
    let line = refusal(&Launch::at(format!("unix:/nowhere/{EVIL}")), 1);
    assert!(line.contains(ESCAPED), "{line}");
}

#[test]
fn in_the_environment_and_in_the_file() {
    let line = refusal(&Launch::bare().variable("EPOLL_SERVER_MODE", EVIL), 2);
    assert!(line.contains("EPOLL_SERVER_MODE") && line.contains(ESCAPED), "{line}");
    refusal(&Launch::bare().variable(&format!("EPOLL_SERVER_{EVIL}"), "1"), 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(EVIL);
    for text in
        ["mode = \"a\\u001b\\nb\"", "\"a\\u001b\\nb\" = 1", "a\u{1b} = 1", "mode = 'a\u{1b}'"]
    {
        fs::write(&path, text).unwrap();
        let line = refusal(&Launch::bare().flag("--config", &path), 2);
        assert!(line.contains(ESCAPED), "{line}");
    }
}

#[test]
fn in_help_and_in_a_check() {
    let launch = Launch::bare().variable("EPOLL_SERVER_STATS_JSON", EVIL);
    for switch in ["--help", "--check"] {
        let output = launch.clone().switch(switch).run();
        assert!(output.status.success(), "{output:#?}");
        let printed = output.stdout.join("");
        assert!(!printed.contains(char::is_control), "{printed:?}");
    }
    let output = launch.switch("--check").run();
    let line = r#"stats-json = "a\u001B[2J\u000Ab\u009B" # EPOLL_SERVER_STATS_JSON"#;
    assert!(output.stdout.iter().any(|it| it == line), "{:#?}", output.stdout);
}

#[test]
fn in_what_is_said_of_an_address_that_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(EVIL);
    let mut address = OsString::from("unix:");
    address.push(&path);
    let server = Launch::bare().mode(Mode::Level).flag("--listen", address).start();
    let shown = folder.path().join(ESCAPED);
    assert_eq!(server.address(), format!("unix:{}", shown.display()));
    let line = server.stderr.next_with(&["listening"]);
    assert!(line.contains(ESCAPED) && !line.contains(char::is_control), "{line:?}");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(&mut stream, b"hello");
}
