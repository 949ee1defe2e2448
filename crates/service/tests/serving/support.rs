//! A server in this process, on its first thread, and its clients.

use crate::script::{Script, World};
use epoll_kit_testing::DEADLINE;
use epoll_service::{Config, Ended, Handle, Mode, Server, Signal, Signals, ThreadStats};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

pub(crate) const MODES: [Mode; 4] = [Mode::Level, Mode::Edge, Mode::Oneshot, Mode::EdgeShared];

/// The signals to end that were sent to the server that runs.
static SENT: AtomicU32 = AtomicU32::new(0);

/// Asks the server of this process to end.
pub(crate) fn terminate() {
    SENT.fetch_add(1, Ordering::SeqCst);
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        .expect("a signal to the own process");
}

/// Blocks the signals to end, while there is one thread.
pub(crate) fn signals() -> Signals {
    Signals::block([Signal::TERM, Signal::INT]).expect("signals")
}

pub(crate) fn config(mode: Mode, threads: u32) -> Config {
    Config {
        mode,
        threads: NonZeroU32::new(threads),
        ..Config::at(["127.0.0.1:0".parse().expect("an address")])
    }
}

/// Calls `test` for all modes with one and with three threads.
pub(crate) fn for_every_mode(mut test: impl FnMut(&Signals, Config)) {
    let signals = signals();
    for mode in MODES {
        for threads in [1, 3] {
            eprintln!("{mode:?} with {threads} threads");
            test(&signals, config(mode, threads));
        }
    }
}

/// What a test's clients know of the server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle<Script>,
    pub(crate) world: World,
}

impl Running {
    pub(crate) fn client(&self) -> Client {
        Client::at(self.address)
    }

    /// Returns so many clients whose connections are registered, the first as number 0.
    pub(crate) fn clients(&self, count: usize) -> Vec<Client> {
        (0..count).map(|at| self.numbered(at)).collect()
    }

    fn numbered(&self, at: usize) -> Client {
        let mut client = self.client();
        assert_eq!(client.ask("id"), at.to_string());
        client
    }
}

/// Serves while `talk` runs on a thread of its own, and then until the drain is over.
#[track_caller]
pub(crate) fn serve(
    signals: &Signals,
    config: &Config,
    world: &World,
    talk: impl FnOnce(&Running) + Send + 'static,
) -> Ended {
    SENT.store(0, Ordering::SeqCst);
    let server = Server::bind(Script::of(world), config).expect("a server");
    let address = server.addresses()[0].inet().expect("an internet address");
    let running = Running { address, handle: server.handle(), world: world.clone() };
    let client = thread::spawn(move || {
        let talked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| talk(&running)));
        if SENT.load(Ordering::SeqCst) == 0 {
            terminate();
        }
        if talked.is_err() {
            // Nobody waits for a drain then.
            terminate();
        }
        talked
    });
    let ended = server.run(signals, || {}).expect("a server that ends well");
    if let Err(panic) = client.join().expect("its panics are caught") {
        std::panic::resume_unwind(panic);
    }
    ended
}

/// Returns how many connections were closed for this reason.
pub(crate) fn closed(ended: &Ended, reason: &str) -> u64 {
    let sum = ThreadStats::sum(&ended.threads).stats;
    sum.closed_by_reason.get(reason).copied().unwrap_or(0)
}

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Self(BufReader::new(stream))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("a peer that reads");
    }

    /// Returns the next line; an empty one at the end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("no line: {error}"),
        }
        line.trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        assert_eq!(self.ask("echo alive"), "alive");
    }

    /// Asserts that nothing more comes before the end.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("not closed: {error}"),
        }
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    pub(crate) fn end(&self) {
        self.stream().shutdown(Shutdown::Write).expect("a half to close");
    }
}
