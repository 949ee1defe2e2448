//! Servers behind HAProxy, with the configuration in `contrib`.

use crate::harness::{Guard, Launch, Mode, PATIENCE, Server, client, converse, ends, tool};
use crate::tls;
use epoll_kit_testing::eventually;
use rustix::process::Signal;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/haproxy.cfg");

/// The next port for HAProxy.
static PORT: AtomicU32 = AtomicU32::new(7000);

/// The part of the configuration that a test uses.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// The servers are told who the clients are.
    Echo,
    /// The servers are not told who the clients are.
    Plain,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Plain => "plain",
        }
    }
}

/// HAProxy and the folder with the paths of its servers.
struct Haproxy {
    part: Part,
    address: SocketAddr,
    folder: TempDir,
    _process: Guard,
}

impl Haproxy {
    /// Starts it, or leaves the test out. It serves as soon as one of its servers does.
    fn start(part: Part) -> Option<Self> {
        let haproxy = tool("haproxy")?;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // No other test, and no other run of this one, has these addresses.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let own = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, a | 128, b, c | 1)), port);
        let next = || own(u16::try_from(PORT.fetch_add(1, Ordering::Relaxed)).unwrap());
        let (address, unused) = (next(), next());
        let (echo, plain) = match part {
            Part::Echo => (address, unused),
            Part::Plain => (unused, address),
        };
        let mut command = haproxy.command();
        command.args(["-db", "-f", CONFIGURATION]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.env("ECHO_ADMIN", path("admin"));
        command.env("ECHO_BIND", echo.to_string()).env("PLAIN_BIND", plain.to_string());
        for (prefix, of) in [("ECHO", Part::Echo), ("PLAIN", Part::Plain)] {
            for (suffix, name) in [("ONE", "one"), ("TWO", "two")] {
                let path = path(&format!("{}-{name}", of.name()));
                command.env(format!("{prefix}_{suffix}"), format!("unix@{}", path.display()));
            }
        }
        let haproxy = Self { part, address, folder, _process: Guard::spawn(&mut command) };
        eventually("HAProxy can be told something", || haproxy.try_tell("show info").is_some());
        Some(haproxy)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{}-{name}", self.part.name()))
    }

    /// Starts the server with this name, and waits until HAProxy uses it.
    fn serve(&self, name: &str, launch: impl Fn(Launch) -> Launch) -> Server {
        let launch = launch(Launch::at(format!("unix:{}", self.path(name).display())));
        let launch = match self.part {
            Part::Echo => launch.switch("--proxy-protocol"),
            Part::Plain => launch,
        };
        let server = launch.start();
        self.set_state(name, "ready");
        self.await_status(name, "UP");
        server
    }

    fn set_state(&self, name: &str, state: &str) {
        let part = self.part.name();
        let answer = self.try_tell(&format!("set server {part}/{name} state {state}"));
        assert_eq!(answer.as_deref().map(str::trim), Some(""), "to the state {state}");
    }

    fn await_status(&self, name: &str, status: &str) {
        eventually("HAProxy sees the server's state", || {
            self.status(name).is_some_and(|seen| seen.starts_with(status))
        });
    }

    fn status(&self, name: &str) -> Option<String> {
        let begin = format!("{},{name},", self.part.name());
        let stats = self.try_tell("show stat")?;
        let line = stats.lines().find(|line| line.starts_with(&begin))?;
        line.split(',').nth(17).map(str::to_owned)
    }

    /// Gives it a command, and returns the answer.
    fn try_tell(&self, command: &str) -> Option<String> {
        let mut admin = UnixStream::connect(self.folder.path().join("admin")).ok()?;
        admin.set_read_timeout(Some(PATIENCE)).ok()?;
        writeln!(admin, "{command}").ok()?;
        let mut answer = String::new();
        admin.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

/// Clients that connect, say something and go, one after another, until they are told to stop.
fn crowd(address: SocketAddr, clients: usize, is_over: &AtomicBool, served: &AtomicU32) {
    thread::scope(|scope| {
        for number in 0..clients {
            scope.spawn(move || {
                for round in 0.. {
                    let mut stream = client(address);
                    let mut message = String::new();
                    for line in 0..5 {
                        let _ =
                            writeln!(message, "line {line} of round {round} of client {number}");
                        converse(&mut stream, message.as_bytes());
                    }
                    stream.shutdown(Shutdown::Write).unwrap();
                    ends(&mut stream);
                    served.fetch_add(1, Ordering::SeqCst);
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
    });
}

#[test]
fn servers_that_know_the_clients_are_restarted_one_after_the_other_and_no_echo_fails() {
    servers_are_restarted_one_after_the_other_and_no_echo_fails(Part::Echo);
}

#[test]
fn servers_are_restarted_one_after_the_other_and_nothing_fails() {
    servers_are_restarted_one_after_the_other_and_no_echo_fails(Part::Plain);
}

fn servers_are_restarted_one_after_the_other_and_no_echo_fails(part: Part) {
    const ROUNDS: u32 = 3;
    let Some(haproxy) = Haproxy::start(part) else { return };
    let names = ["one", "two"];
    let mut servers = names
        .map(|name| haproxy.serve(name, |launch| launch.mode(Mode::Level).flag("--log", "off")));
    let (is_over, served) = (AtomicBool::new(false), AtomicU32::new(0));
    let address = haproxy.address;
    thread::scope(|scope| {
        // A client whose echo fails panics, and with it the scope.
        let clients = scope.spawn(|| crowd(address, 6, &is_over, &served));
        let restart = || {
            for round in 0..ROUNDS {
                for (server, name) in servers.iter_mut().zip(names) {
                    haproxy.set_state(name, "drain");
                    haproxy.await_status(name, "DRAIN");
                    let before = served.load(Ordering::SeqCst);
                    server.drain();
                    let launch = |launch: Launch| {
                        let mode = [Mode::Level, Mode::Oneshot, Mode::Edge][round as usize];
                        launch.mode(mode).flag("--log", "off")
                    };
                    *server = haproxy.serve(name, launch);
                    // Everybody is served by both again.
                    eventually("clients go on", || {
                        served.load(Ordering::SeqCst) > before + 20 || clients.is_finished()
                    });
                }
            }
        };
        let restarted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(restart));
        is_over.store(true, Ordering::SeqCst);
        clients.join().expect("no echo fails");
        restarted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    // A server that is gone without a word is not used, before a check notices and after it.
    servers[1].end(Signal::KILL);
    for _ in 0..10 {
        converse(&mut client(address), b"somebody is there");
    }
}

#[test]
fn a_server_behind_a_proxy_sees_the_clients() {
    let Some(haproxy) = Haproxy::start(Part::Echo) else { return };
    let debug = |launch: Launch| launch.mode(Mode::Level).flag("--log", "debug");
    let server = haproxy.serve("one", debug);
    let mut stream = client(haproxy.address);
    converse(&mut stream, b"hello");
    let peer = format!("peer={}", stream.local_addr().unwrap());
    server.stderr.next_with(&["connection opened", &peer]);
}

#[test]
fn the_header_comes_before_tls() {
    let Some(haproxy) = Haproxy::start(Part::Echo) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some([certificate, key]) = tls::make(folder.path()) else { return };
    // The check echoes without TLS, which this server does not do: it is used unchecked.
    haproxy.try_tell("disable health echo/one").expect("an answer");
    let path = haproxy.path("one");
    let launch = Launch::at(format!("unix:{}", path.display())).switch("--proxy-protocol");
    let launch = launch.flag("--tls-cert", &certificate).flag("--tls-key", &key);
    let server = launch.flag("--quit-word", "quit").flag("--log", "debug").start();
    haproxy.try_tell("set server echo/one health up").expect("an answer");
    assert_eq!(line_through_tls(haproxy.address, &certificate), "quit");
    server.stderr.next_with(&["connection opened", "peer=127.0.0.1:"]);
}

/// Sends a line that ends the conversation through TLS; returns what comes back.
fn line_through_tls(address: SocketAddr, certificate: &Path) -> String {
    let mut openssl = tool("openssl").unwrap().command();
    openssl.args(["s_client", "-quiet", "-verify_return_error", "-CAfile"]).arg(certificate);
    openssl.args(["-connect", &address.to_string()]);
    openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut openssl = Guard::spawn(&mut openssl);
    let mut lines = BufReader::new(openssl.child().stdout.take().unwrap()).lines();
    let mut stdin = openssl.child().stdin.take().unwrap();
    writeln!(stdin, "quit").unwrap();
    lines.next().expect("an echo").unwrap()
}
