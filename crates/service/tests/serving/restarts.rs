//! The end of a service that another process takes over, and what its supervisor is told. Whole restarts are tested
//! with the server.

use crate::script::World;
use crate::support::{MODES, config, for_every_mode, serve};
use epoll_connection::{Consumed, Context, Protocol};
use epoll_kit_testing::{DEADLINE, eventually};
use epoll_service::{
    Config, Mode, Peer, Restart, Server, Service, Signal, Signals, Supervisor, ThreadStats,
};
use rustix::process::{Pid, getpid, kill_process};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Returns a supervisor and the socket at which it hears, which lasts as long as the folder.
fn supervised(watchdog: Option<Duration>) -> (Supervisor, UnixDatagram, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    (Supervisor::at(&path, watchdog).unwrap(), socket, folder)
}

#[track_caller]
fn hears(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let len = socket.recv(&mut buffer).expect("a message");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

/// Restarts by a program that says at once whether it has taken the socket, but accepts nothing. Its number is
/// written to `process`.
fn impostor(taken: &'static str, process: PathBuf) -> Restart {
    Restart::with_command(Signal::USR2, move || {
        let script = format!("echo $$ > \"$0\"; printf 'ready {taken}' >&0; exec sleep 600");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(&process);
        command
    })
}

/// Returns the number of descriptors of this process that listen at an address of 127.0.0.1.
fn listening(address: SocketAddr) -> usize {
    let local = format!(" 0100007F:{:04X} ", address.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("a table");
    let line = table.lines().find(|line| line.contains(&local) && line.contains(" 0A "));
    let Some(inode) = line.and_then(|line| line.split_whitespace().nth(9)) else { return 0 };
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let descriptors = fs::read_dir("/proc/self/fd").expect("descriptors").flatten();
    descriptors.filter(|one| fs::read_link(one.path()).is_ok_and(|link| link == socket)).count()
}

/// Guard that ends the process whose number is in this file.
struct EndOnDrop(PathBuf);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let id = fs::read_to_string(&self.0).ok().and_then(|id| id.trim().parse().ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            let _ = kill_process(id, rustix::process::Signal::KILL);
        }
    }
}

/// The only thread that accepts is held up, so a connection waits in the queue while the first thread closes it.
pub(crate) fn connections_that_wait_are_left_to_who_takes_the_socket() {
    let signals = Signals::block([Signal::TERM, Signal::INT, Signal::USR2]).unwrap();
    for (mode, taken) in
        [Mode::Oneshot, Mode::EdgeShared].map(|mode| [(mode, "1"), (mode, "0")]).concat()
    {
        let (supervisor, socket, folder) = supervised(None);
        let process = folder.path().join("process");
        let config = Config {
            restart: Some(impostor(taken, process.clone())),
            supervisor: Some(supervisor),
            ..config(mode, 1)
        };
        let world = World::default();
        let ended = serve(&signals, &config, &world, move |running| {
            let _end = EndOnDrop(process);
            assert_eq!(hears(&socket), "READY=1");
            let mut held = running.clients(1).remove(0);
            held.say("hold");
            running.world.await_note("held");
            let mut waiting = running.client();
            kill_process(getpid(), rustix::process::Signal::USR2).unwrap();
            assert!(hears(&socket).starts_with("RELOADING=1"));
            assert!(hears(&socket).ends_with("READY=1"));
            eventually("it has closed its socket", || listening(running.address) == 0);
            running.world.open_gate();
            assert_eq!(held.line(), "drain");
            if taken == "0" {
                // Nobody else would have answered.
                assert_eq!(waiting.line(), "drain");
                waiting.assert_closed();
            } else {
                held.assert_closed();
                assert!(!waiting.is_closed());
            }
        });
        // The signal to end of this helper may have come too late for the server.
        while signals.read().unwrap().is_some() {}
        let opened = ThreadStats::sum(&ended.threads).stats.opened;
        assert_eq!(opened, if taken == "0" { 2 } else { 1 }, "{mode:?}");
    }
}

/// Takes its time to begin on each thread, and counts those that have.
struct Slow {
    begun: Arc<AtomicUsize>,
}

struct Silent;

impl Protocol for Silent {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::bytes(input.len())
    }
}

impl Service for Slow {
    type Protocol = Silent;

    fn local(&self, _: usize) {
        thread::sleep(Duration::from_millis(20));
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn accept(&self, _: usize, _: &Peer, (): &mut ()) -> Option<Silent> {
        Some(Silent)
    }
}

pub(crate) fn everybody_serves_when_that_is_told() {
    for_every_mode(|signals, config| {
        let begun = Arc::new(AtomicUsize::new(0));
        let (supervisor, socket, _folder) = supervised(None);
        let config = Config { supervisor: Some(supervisor), ..config };
        let server = Server::bind(Slow { begun: Arc::clone(&begun) }, &config).unwrap();
        let threads = config.threads.unwrap().get() as usize + usize::from(config.mode.is_shared());
        socket.set_nonblocking(true).unwrap();
        let on_serving = || {
            assert_eq!(begun.load(Ordering::SeqCst), threads, "{:?}", config.mode);
            assert!(socket.recv(&mut [0; 64]).is_err(), "the supervisor comes after the caller");
            socket.set_nonblocking(false).unwrap();
            crate::support::terminate();
        };
        server.run(signals, on_serving).unwrap();
        // In any order: the signal comes at any time.
        let mut told = [hears(&socket), hears(&socket)];
        told.sort();
        assert_eq!(told, ["READY=1", "STOPPING=1"]);
    });
}

pub(crate) fn a_first_thread_that_is_stuck_gives_no_sign_of_life() {
    const PERIOD: Duration = Duration::from_millis(40);
    let signals = crate::support::signals();
    for mode in MODES.into_iter().filter(|mode| !mode.is_shared()) {
        let (supervisor, socket, _folder) = supervised(Some(PERIOD));
        let config = Config { supervisor: Some(supervisor), ..config(mode, 1) };
        serve(&signals, &config, &World::default(), move |running| {
            assert_eq!(hears(&socket), "READY=1");
            (0..3).for_each(|_| assert_eq!(hears(&socket), "WATCHDOG=1"));
            let mut client = running.clients(1).remove(0);
            client.say("hold");
            running.world.await_note("held");
            socket.set_nonblocking(true).unwrap();
            while socket.recv(&mut [0; 64]).is_ok() {}
            thread::sleep(PERIOD * 5);
            assert!(socket.recv(&mut [0; 64]).is_err(), "a sign of life of a thread that is stuck");
            socket.set_nonblocking(false).unwrap();
            running.world.open_gate();
            assert_eq!(hears(&socket), "WATCHDOG=1");
            client.assert_alive();
        });
    }
}
