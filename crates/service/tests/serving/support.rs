//! A server in this process, on its first thread, and its clients.

use crate::script::{Script, World};
use epoll_kit_testing::{DEADLINE, eventually};
use epoll_service::{Config, Ended, Handle, Mode, Server, Signal, Signals, ThreadStats};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

pub(crate) const MODES: [Mode; 4] = [Mode::Level, Mode::Edge, Mode::Oneshot, Mode::EdgeShared];

/// The signals to end that were sent to the server that runs.
static SENT: AtomicU32 = AtomicU32::new(0);

/// Asks the server of this process to end. Each time with another signal: the same one again, soon after the first
/// one, would count as that one.
pub(crate) fn terminate() {
    use rustix::process::{Signal, getpid, kill_process};
    let signal =
        if SENT.fetch_add(1, Ordering::SeqCst) % 2 == 0 { Signal::TERM } else { Signal::INT };
    kill_process(getpid(), signal).expect("a signal to the own process");
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

/// The server as a test's clients know it.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle<Script>,
    pub(crate) world: World,
    /// The address of the metrics, if they are served.
    pub(crate) metrics: Option<SocketAddr>,
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
    let metrics = server.metrics_address().and_then(|address| address.inet());
    let running = Running { address, handle: server.handle(), world: world.clone(), metrics };
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

/// Returns the number of connections that were closed for this reason.
pub(crate) fn closed(ended: &Ended, reason: &str) -> u64 {
    let sum = ThreadStats::sum(&ended.threads).stats;
    sum.closed_by_reason.get(reason).copied().unwrap_or(0)
}

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("a connection"))
    }

    /// Connects this socket.
    pub(crate) fn over(socket: OwnedFd, address: SocketAddr) -> Self {
        rustix::net::connect(&socket, &address).expect("a connection");
        Self::new(socket.into())
    }

    fn new(stream: TcpStream) -> Self {
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

    /// Sends `part` of a line.
    pub(crate) fn begin(&mut self, part: &str) {
        self.0.get_mut().write_all(part.as_bytes()).expect("a peer that reads");
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

    /// Returns what is said to `line`; an error if the connection is closed instead.
    pub(crate) fn try_ask(&mut self, line: &str) -> io::Result<String> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        answer.pop().map(|_| answer).ok_or(ErrorKind::UnexpectedEof.into())
    }

    /// Returns whether nothing has come, not even an end.
    pub(crate) fn is_silent(&self) -> bool {
        self.stream().set_nonblocking(true).expect("an option");
        let peeked = self.stream().peek(&mut [0]);
        self.stream().set_nonblocking(false).expect("an option");
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Tells whether the peer has closed a connection over which it has said nothing.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream().set_nonblocking(true).expect("an option");
        let end = self.stream().peek(&mut [0]);
        self.stream().set_nonblocking(false).expect("an option");
        match end {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
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

    /// Asserts that it is still read after what it has forwarded.
    #[track_caller]
    pub(crate) fn assert_stops(&mut self) {
        // In a read of its own; one that comes with what is before it is forwarded.
        eventually("it stops", || {
            self.begin("stop\n");
            self.stream().set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
            self.0.fill_buf().is_ok_and(|line| line.starts_with(b"stopped\n"))
        });
        self.stream().set_read_timeout(Some(DEADLINE)).expect("a socket");
        assert_eq!(self.line(), "stopped");
    }

    /// Sends until nothing more is taken.
    pub(crate) fn fill(&mut self) {
        self.stream().set_nonblocking(true).expect("a socket");
        let bytes = vec![b'x'; 1 << 16];
        eventually("it is full", || {
            let is_full = self.0.get_mut().write(&bytes).is_err();
            thread::sleep(Duration::from_millis(1));
            is_full && {
                thread::sleep(Duration::from_millis(100));
                self.0.get_mut().write(&bytes).is_err()
            }
        });
        self.stream().set_nonblocking(false).expect("a socket");
    }

    /// Asserts that it comes to an end, or is reset.
    #[track_caller]
    pub(crate) fn assert_cut(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("not cut: {error}"),
        }
    }

    pub(crate) fn end(&self) {
        self.stream().shutdown(Shutdown::Write).expect("a half to close");
    }
}
