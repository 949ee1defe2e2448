//! The example among clients of other people, each connection on a socket of its own.

use epoll_kit_testing::{Examples, Guard, eventually, leave_out};
use epoll_tls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Signal, kill_process};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };
/// The time that the example may take to start, with what has to be built.
const PATIENCE: Duration = Duration::from_secs(300);
/// The time that a client may take to end.
const STALL: Duration = Duration::from_secs(60);

/// The example, with a certificate that its clients trust.
struct Server {
    guard: Guard,
    address: String,
    folder: tempfile::TempDir,
}

/// Makes a certificate that certifies itself, and its key: `NAME.pem` and `NAME.key`.
fn make(folder: &Path, name: &str) -> [PathBuf; 2] {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let paths = ["pem", "key"].map(|kind| folder.join(format!("{name}.{kind}")));
    fs::write(&paths[0], params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&paths[1], key.serialize_pem()).unwrap();
    paths
}

impl Server {
    #[track_caller]
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts it with the certificate of this name of authorities too, if there is one.
    #[track_caller]
    fn start_with(authorities: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut files = make(folder.path(), "localhost").to_vec();
        files.extend(authorities.iter().map(|name| make(folder.path(), name)[0].clone()));
        let files: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
        Self::start_at(&[&["127.0.0.1:0"][..], &files].concat(), folder)
    }

    #[track_caller]
    fn start_at(args: &[&str], folder: tempfile::TempDir) -> Self {
        let mut guard = EXAMPLES.spawn("tls_echo", args);
        let stdout = guard.child().stdout.take().expect("a pipe");
        let (send, line) = mpsc::channel();
        thread::spawn(move || send.send(BufReader::new(stdout).lines().next()));
        let line = line.recv_timeout(PATIENCE).expect("it starts").expect("a line").unwrap();
        let address = line.strip_prefix("listening on ").expect(&line).to_owned();
        Self { guard, address, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(STALL)).unwrap();
        stream
    }

    /// A client of rustls after its handshake and an echo.
    fn client(&self, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
        let client = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap());
        let mut client = StreamOwned::new(client.unwrap(), self.connect());
        client.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        client
    }

    fn config(&self) -> Arc<ClientConfig> {
        use epoll_tls::rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("localhost.pem")).unwrap()).unwrap();
        let provider = Arc::new(epoll_tls::rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn openssl(&self, args: &[&str]) -> Option<String> {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &self.address, "-CAfile"]);
        command.arg(self.file("localhost.pem")).args(args);
        converse(&mut command)
    }

    /// Ends the server by a drain, which must succeed: only connections that have finished may end with it.
    #[track_caller]
    fn end(self) {
        kill_process(self.guard.pid(), Signal::TERM).unwrap();
        assert!(self.guard.output(STALL).status.success());
    }
}

/// Runs a client, says hello, waits for the echo, and ends its input. Returns what it has printed; `None` if there
/// is no such program.
#[track_caller]
fn converse(command: &mut Command) -> Option<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = match Guard::spawn(command) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let test = thread::current();
            leave_out(test.name().unwrap_or("a client"), command.get_program().to_str().unwrap());
            return None;
        }
        guard => guard.unwrap(),
    };
    let printed = Arc::new(Mutex::new(Vec::new()));
    let readers = [
        follow(guard.child().stdout.take().unwrap(), Arc::clone(&printed)),
        follow(guard.child().stderr.take().unwrap(), Arc::clone(&printed)),
    ];
    // A client that was refused takes no input.
    let _ = guard.child().stdin.as_mut().unwrap().write_all(b"hello from here\n");
    let text = || String::from_utf8_lossy(&printed.lock().unwrap()).into_owned();
    eventually("an echo or the end", || {
        text().contains("hello from here") || readers.iter().all(thread::JoinHandle::is_finished)
    });
    let _ = guard.output(STALL);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    Some(text())
}

fn follow(
    mut pipe: impl Read + Send + 'static,
    printed: Arc<Mutex<Vec<u8>>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = pipe.read(&mut buffer) {
            printed.lock().unwrap().extend_from_slice(&buffer[..len]);
        }
    })
}

#[track_caller]
fn has(printed: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(printed.contains(wanted), "no {wanted:?} in:\n{printed}");
    }
}

#[test]
fn openssl_speaks_both_versions_with_names_and_application_protocols() {
    let server = Server::start();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let args = [version, "-servername", "localhost", "-verify_return_error", "-alpn", "echo"];
        let Some(printed) = server.openssl(&args) else { return };
        has(&printed, &["hello from here", name, "ALPN protocol: echo", "Verify return code: 0"]);
        let printed = server.openssl(&[version, "-alpn", "other"]).unwrap();
        assert!(!printed.contains("hello from here"), "{printed}");
        has(&printed, &["no application protocol"]);
    }
    let printed = server.openssl(&["-tls1_1"]).unwrap();
    assert!(!printed.contains("hello from here"), "{printed}");
    server.end();
}

#[test]
fn openssl_resumes_a_session_with_a_ticket() {
    let server = Server::start();
    let file = server.file("session");
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(printed) = server.openssl(&[version, "-sess_out", &file]) else { return };
        has(&printed, &["hello from here", "New, TLSv1"]);
        let printed = server.openssl(&[version, "-sess_in", &file]).unwrap();
        has(&printed, &["hello from here", "Reused, TLSv1"]);
    }
    server.end();
}

#[test]
fn openssl_is_shown_a_certificate_by_name() {
    let server = Server::start_at(&["127.0.0.1:0"], tempfile::tempdir().unwrap());
    let certificate = |name| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &server.address, "-servername", name]);
        let printed = converse(&mut command)?;
        has(&printed, &["hello from here", "END CERTIFICATE"]);
        let start = printed.find("-----BEGIN CERTIFICATE").unwrap();
        let end = printed.find("-----END CERTIFICATE").unwrap();
        Some(printed[start..end].to_owned())
    };
    let Some(localhost) = certificate("localhost") else { return };
    assert_eq!(certificate("unknown.example").unwrap(), localhost);
    assert_ne!(certificate("echo.example").unwrap(), localhost);
    server.end();
}

#[test]
fn openssl_needs_a_certificate_where_clients_do() {
    let server = Server::start_with(&["client"]);
    let [certificate, key] = ["client.pem", "client.key"].map(|name| server.file(name));
    for version in ["-tls1_2", "-tls1_3"] {
        let with = [version, "-cert", &certificate, "-key", &key];
        let Some(printed) = server.openssl(&with) else { return };
        has(&printed, &["hello from here"]);
        let printed = server.openssl(&[version]).unwrap();
        assert!(!printed.contains("hello from here"), "{printed}");
        has(&printed, &["alert"]);
    }
    server.end();
}

#[test]
fn gnutls_speaks_both_versions() {
    let server = Server::start();
    let (host, port) = server.address.rsplit_once(':').unwrap();
    for version in ["1.2", "1.3"] {
        let mut command = Command::new("gnutls-cli");
        command.args(["--insecure", "-p", port, host]);
        command.arg(format!("--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}"));
        let Some(printed) = converse(&mut command) else { return };
        has(&printed, &["hello from here", &format!("(TLS{version}-X.509)")]);
    }
    server.end();
}

#[test]
fn a_stream_that_is_truncated_is_closed_and_nobody_else_is_concerned() {
    let server = Server::start();
    let config = server.config();
    let mut other = server.client(&config);
    let client = server.client(&config);
    client.sock.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    // Closed without a close_notify, or reset.
    let _ = (&client.sock).read_to_end(&mut rest);
    other.write_all(b"still").unwrap();
    other.read_exact(&mut [0; 5]).unwrap();
    other.conn.send_close_notify();
    other.flush().unwrap();
    assert_eq!(other.read(&mut [0; 5]).unwrap(), 0, "a close_notify");
    server.end();
}

#[test]
fn garbage_gets_an_alert_and_the_end() {
    let server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer[..3], [21, 3, 3], "{answer:?}");
    assert_eq!(answer.len(), 7);
    server.end();
}

#[test]
fn a_handshake_that_does_not_begin_is_dropped_after_ten_seconds() {
    let server = Server::start();
    let began = Instant::now();
    let mut stream = server.connect();
    stream.write_all(&[22, 3, 1]).unwrap();
    match stream.read(&mut [0]) {
        Ok(len) => assert_eq!(len, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(began.elapsed() >= Duration::from_secs(10));
    server.end();
}

#[test]
fn a_drain_says_goodbye() {
    let server = Server::start();
    let mut client = server.client(&server.config());
    kill_process(server.guard.pid(), Signal::TERM).unwrap();
    assert_eq!(client.read(&mut [0; 5]).unwrap(), 0, "a close_notify");
    drop(client);
    assert!(server.guard.output(STALL).status.success());
}

/// Rustls alone has 3 200 bytes of these.
#[test]
fn an_idle_connection_takes_at_most_4500_bytes() {
    const COUNT: usize = 400;
    let server = Server::start();
    let config = server.config();
    (0..20).for_each(|_| drop(server.client(&config)));
    let before = own_memory(&server);
    let clients: Vec<_> = (0..COUNT).map(|_| server.client(&config)).collect();
    let each = own_memory(&server).saturating_sub(before) / COUNT;
    println!("{each} bytes each");
    assert!((2000..=4500).contains(&each), "{each} bytes each");
    drop(clients);
    server.end();
}

fn own_memory(server: &Server) -> usize {
    let pid = server.guard.pid().as_raw_pid();
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let anonymous = smaps.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    1024 * anonymous.split_whitespace().next().unwrap().parse::<usize>().unwrap()
}
