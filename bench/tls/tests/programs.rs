//! Each server over TLS as a program, with a client of rustls.

use epoll_tls::rustls::crypto::ring;
use epoll_tls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The longest time that an answer may take on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A running server, which ends with its test.
struct Server {
    child: Child,
    address: String,
    client: Arc<ClientConfig>,
    _folder: TempDir,
}

impl Server {
    fn start(program: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
        fs::write(&files[0], own.cert.pem()).unwrap();
        fs::write(&files[1], own.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").args(&files).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect(&line).to_owned();
        Self { child, address, client: Arc::new(client), _folder: folder }
    }

    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        let name = "localhost".try_into().unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.client), name).unwrap(), stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have died already, which its test has seen.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn https_answers_with_the_suite_that_it_is_held_to() {
    let server = Server::start(env!("CARGO_BIN_EXE_https"));
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
    let suite = stream.conn.negotiated_cipher_suite().unwrap();
    // By itself a client of rustls prefers another suite.
    assert_eq!(format!("{:?}", suite.suite()), "TLS13_AES_128_GCM_SHA256");
    assert_eq!(stream.conn.tls13_tickets_received(), 2);
}

#[test]
fn the_peer_echoes_until_the_client_ends() {
    let server = Server::start(env!("CARGO_BIN_EXE_peer-tokio-rustls"));
    let mut stream = server.connect();
    let message: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let mut echo = vec![0; message.len()];
    stream.write_all(&message).unwrap();
    stream.read_exact(&mut echo).unwrap();
    assert!(echo == message, "the echo is another");
    assert_eq!(stream.conn.tls13_tickets_received(), 2);
    stream.conn.send_close_notify();
    assert_eq!(stream.read(&mut echo).unwrap(), 0);
}
