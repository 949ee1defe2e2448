//! Echo servers over TLS.

use crate::program::{load, measure, measure_well};
use crate::server::{Server, Wire};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};
use serde_json::json;
use std::fs;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// A server with a certificate for 127.0.0.1, and that as text.
fn server(spoil: bool) -> (Server, String) {
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = key.cert.pem();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let config = Arc::new(config);
    let server = Server::tcp(move |wire, _| echo(wire, Arc::clone(&config), spoil));
    (server, pem)
}

fn echo(mut wire: &mut dyn Wire, config: Arc<ServerConfig>, spoil: bool) -> io::Result<()> {
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = Stream::new(&mut connection, &mut wire);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // An end without `close_notify` is an error here, which the client is to see.
        let len = match stream.read(&mut buffer) {
            Ok(len) => len,
            Err(error) => {
                stream.sock.reset_at_close();
                return Err(error);
            }
        };
        if len == 0 {
            stream.conn.send_close_notify();
            return stream.conn.write_tls(&mut stream.sock).map(drop);
        }
        buffer[len - 1] ^= u8::from(spoil);
        stream.write_all(&buffer[..len])?;
        stream.flush()?;
    }
}

#[test]
fn messages_come_back_over_tls() {
    let (server, pem) = server(false);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    fs::write(&path, pem).unwrap();
    for how in [
        &["--requests", "300"][..],
        &["--requests", "20", "--size", "1MiB", "--pipeline", "2"],
        &["--requests", "50", "--churn"],
    ] {
        let args = ["--protocol", "tls-echo", "--connections", "2", "--tls-ca"];
        let args = [&args[..], &[path.to_str().unwrap()], how].concat();
        let json = measure_well(&server.target, &args);
        assert_eq!(json["requests"].to_string(), how[1]);
        assert_eq!(json["protocol"], "tls-echo");
    }
}

#[test]
fn a_certificate_that_nobody_trusts_is_refused() {
    let (server, _) = self::server(false);
    let (_, other) = self::server(false);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    fs::write(&path, other).unwrap();
    let args = ["--protocol", "tls-echo", "--connections", "1", "--requests", "3"];
    let strict = ["--abort-on-error", "--tls-ca", path.to_str().unwrap()];
    let (output, json) = measure(&server.target, &[&args[..], &strict].concat());
    output.complains(1, &["connection 0: TLS failed: invalid peer certificate"]);
    assert_eq!(json["errors"], json!({ "tls": 1 }));
    measure_well(&server.target, &[&args[..], &["--insecure"]].concat());
    load(&[&[server.target.as_str()], &args[..]].concat()).complains(2, &["--tls-ca"]);
    let missing = ["--tls-ca", "/no/such/file"];
    load(&[&[server.target.as_str()], &args[..], &missing].concat())
        .complains(1, &["--tls-ca /no/such/file"]);
}

#[test]
fn a_wrong_byte_is_found_over_tls() {
    let (server, _) = server(true);
    let args = ["--protocol", "tls-echo", "--insecure", "--connections", "1", "--requests", "5"];
    let (output, json) = measure(&server.target, &[&args[..], &["--abort-on-error"]].concat());
    output.complains(1, &["another byte came back"]);
    assert_eq!(json["errors"], json!({ "wrong-bytes": 1 }));
}
