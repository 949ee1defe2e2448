//! Tests of the messages to the program that supervises the server, as `sd_notify` sends them.

use crate::harness::{Launch, Mode, PATIENCE, converse, uninterrupted};
use rustix::process::Signal;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use tempfile::TempDir;

/// A supervisor, which hears what it is told.
pub(crate) struct Supervisor {
    socket: UnixDatagram,
    _folder: TempDir,
    path: PathBuf,
}

impl Supervisor {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, _folder: folder, path }
    }

    pub(crate) fn of(&self, launch: Launch) -> Launch {
        launch.variable("NOTIFY_SOCKET", &self.path)
    }

    /// Waits for what it is told next.
    #[track_caller]
    pub(crate) fn hears(&self) -> String {
        let mut buffer = [0; 256];
        let len = uninterrupted(|| self.socket.recv(&mut buffer)).expect("a message");
        String::from_utf8(buffer[..len].to_vec()).expect("UTF-8")
    }

    /// Returns whether it has been told something that it has not heard.
    pub(crate) fn has_more(&self) -> bool {
        self.socket.set_nonblocking(true).expect("an option");
        let more = uninterrupted(|| self.socket.recv(&mut [0; 256])).is_ok();
        self.socket.set_nonblocking(false).expect("an option");
        more
    }
}

in_all_modes!(it_is_told_that_the_server_serves_and_that_it_stops);

fn it_is_told_that_the_server_serves_and_that_it_stops(mode: Mode) {
    let supervisor = Supervisor::start();
    let mut server = supervisor.of(Launch::tcp(mode)).start();
    assert_eq!(supervisor.hears(), "READY=1");
    let threads = mode.threads() as usize + usize::from(mode.is_shared());
    assert_eq!(server.process.event_loops().len(), threads);
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    assert!(!supervisor.has_more());
    server.process.signal(Signal::TERM);
    assert_eq!(supervisor.hears(), "STOPPING=1");
    drop(stream);
    assert_eq!(server.await_end().code(), Some(0));
    assert!(!supervisor.has_more());
}

#[test]
fn an_abstract_name_is_told_too() {
    let name = format!("epoll-kit-supervision-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let launch = Launch::tcp(Mode::Level).variable("NOTIFY_SOCKET", format!("@{name}"));
    let mut server = launch.start();
    let mut buffer = [0; 64];
    let len = uninterrupted(|| socket.recv(&mut buffer)).unwrap();
    assert_eq!(&buffer[..len], b"READY=1");
    server.drain();
}

in_modes!(it_hears_signs_of_life: level Level, oneshot Oneshot);

fn it_hears_signs_of_life(mode: Mode) {
    let supervisor = Supervisor::start();
    let launch = supervisor.of(Launch::tcp(mode).variable("WATCHDOG_USEC", "100000"));
    let server = launch.start();
    assert_eq!(supervisor.hears(), "READY=1");
    for _ in 0..5 {
        assert_eq!(supervisor.hears(), "WATCHDOG=1");
    }
    server.process.signal(Signal::TERM);
    while supervisor.hears() != "STOPPING=1" {}
}

#[test]
fn signs_of_life_are_for_who_is_asked_for_them() {
    let supervisor = Supervisor::start();
    let launch = Launch::tcp(Mode::Level).variable("WATCHDOG_USEC", "1000");
    let mut server = supervisor.of(launch.variable("WATCHDOG_PID", "1")).start();
    assert_eq!(supervisor.hears(), "READY=1");
    server.drain();
    assert_eq!(supervisor.hears(), "STOPPING=1");
    assert!(!supervisor.has_more());
}

#[test]
fn an_address_that_is_none_is_an_error_that_names_the_variable() {
    let output = Launch::tcp(Mode::Level).variable("NOTIFY_SOCKET", "vsock:2:1").run();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr[0].contains("NOTIFY_SOCKET"), "{:?}", output.stderr);
}
