//! A proxy: what a client sends goes to a backend, and what the backend answers goes back.
//!
//!     cargo run -p epoll-reactor --example proxy -- 127.0.0.1:7777 127.0.0.1:8080
//!
//! Shows two sources that depend on one another. Nothing is read from one side while bytes for the
//! other wait for room, so a slow reader slows its peer down, and a connection never holds more than
//! [`CHUNK`] bytes each way. The end of each direction is passed on by itself: a side that has sent its
//! FIN still gets the whole answer. A side that can neither be read nor written to is parked: with or
//! without its peer, it does not end a wait.
//!
//! Two more arguments set the timeouts in milliseconds: of a connect, and of a connection on which
//! nothing moves. SIGTERM or SIGINT stop the accepting and let the connections finish; a second signal
//! ends the program.

use epoll_reactor::net::{Address, ListenOptions, Listener, Stream};
use epoll_reactor::{Interest, Reactor, Readiness, Ready, Registration, Source, Token, Watch};
use epoll_shutdown::{Drain, Phase, Signal, Signals};
use epoll_timers::{Key, Timers, Timestamp};
use std::env;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The most bytes that one read takes, and that wait for room in one direction.
const CHUNK: usize = 64 * 1024;
/// The most reads of one side before it is the turn of other connections.
const READS_MAX: usize = 8;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Both directions for good: an edge costs nothing while it is not needed, an `epoll_ctl` does.
const WATCH: Watch = Watch::edge(Interest::IN.union(Interest::OUT));

#[derive(Clone, Copy)]
enum Event {
    Accept,
    Timeout,
    Signal,
}

/// The state of the stream of bytes that comes from a side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inflow {
    /// The backend has not answered the connect yet.
    Connecting,
    Open,
    /// The end was read and passed on.
    Ended,
}

/// One side of a connection: the client, or the backend.
struct Side {
    stream: Stream,
    inflow: Inflow,
    /// Bytes from this side that the other side had no room for.
    pending: Vec<u8>,
    peer: Token,
    timer: Key,
    last_activity: Timestamp,
}

impl AsFd for Side {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Source for Side {
    fn is_nonblocking(&self) -> bool {
        self.stream.is_nonblocking()
    }

    fn is_unshared(&self) -> bool {
        self.stream.is_unshared()
    }
}

/// Moves bytes until `from` is dry, `to` has no room, or [`READS_MAX`] is reached; only then returns
/// `true`, as nothing else would report `from` again.
fn pump(from: &mut Side, to: &Side, buffer: &mut [u8]) -> io::Result<bool> {
    for _ in 0..READS_MAX {
        let taken = write(&to.stream, &from.pending)?;
        from.pending.drain(..taken);
        if !from.pending.is_empty() || from.inflow != Inflow::Open {
            return Ok(false);
        }
        match from.stream.read(buffer) {
            Ok(0) => {
                to.stream.shutdown(Shutdown::Write)?;
                from.inflow = Inflow::Ended;
            }
            Ok(len) => {
                let taken = write(&to.stream, &buffer[..len])?;
                // No allocation if all was taken; frees that of the last time.
                from.pending = buffer[taken..len].to_vec();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(from.pending.is_empty())
}

/// Writes until everything is written or there is no room, which the next edge will report.
fn write(mut stream: &Stream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Returns a side and its peer.
fn pair(reactor: &mut Reactor<Side, Event>, token: Token) -> Option<[&mut Side; 2]> {
    let peer = reactor.get(token)?.peer;
    reactor.get_disjoint_mut([token, peer])
}

fn main() -> Result<(), Box<dyn Error>> {
    // First of all, while there is one thread: the others inherit the mask.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let mut args = env::args().skip(1);
    let (Some(listen), Some(backend)) = (args.next(), args.next()) else {
        return Err("usage: proxy LISTEN BACKEND [CONNECT_MS [IDLE_MS]]".into());
    };
    let mut timeout = |default| args.next().map_or(Ok(default), |ms| ms.parse::<u32>());
    let [connect_ms, idle_ms] = [timeout(5_000)?, timeout(60_000)?];
    let listener = Listener::bind(&listen.parse()?, &ListenOptions::default())?;
    writeln!(io::stdout(), "listening on {}", listener.address())?;
    let mut proxy = Proxy {
        backend: backend.parse()?,
        connect_timeout: Duration::from_millis(connect_ms.into()),
        idle_timeout: Duration::from_millis(idle_ms.into()),
        reactor: Reactor::new()?,
        timers: Timers::new()?,
        buffer: vec![0; CHUNK],
    };
    Ok(proxy.run(listener, &signals)?)
}

struct Proxy {
    backend: Address,
    connect_timeout: Duration,
    idle_timeout: Duration,
    reactor: Reactor<Side, Event>,
    /// One for each connection, with the client's token.
    timers: Timers<Token>,
    buffer: Vec<u8>,
}

impl Proxy {
    fn open(&mut self, client: Stream) -> io::Result<()> {
        let backend = Stream::connect(&self.backend)?;
        let [token, peer] = self.reactor.next_tokens()?;
        let last_activity = self.timers.now();
        let timer = self.timers.insert(last_activity + self.connect_timeout, token)?;
        let mut insert = |stream, inflow, peer| {
            let side = Side { stream, inflow, pending: Vec::new(), peer, timer, last_activity };
            self.reactor.insert(side, WATCH)
        };
        let inserted = insert(client, Inflow::Open, peer)
            .and_then(|_| insert(backend, Inflow::Connecting, token));
        if let Err(failed) = inserted {
            self.timers.cancel(timer);
            self.reactor.close(token);
            return Err(failed.error);
        }
        self.park_or_unpark(token)
    }

    fn on_ready(&mut self, token: Token, readiness: Readiness) -> io::Result<()> {
        let Some([side, other]) = pair(&mut self.reactor, token) else { return Ok(()) };
        let peer = side.peer;
        let now = self.timers.now();
        side.last_activity = now;
        if side.inflow == Inflow::Connecting && side.stream.connected()? {
            side.inflow = Inflow::Open;
            // The connect timeout is over, and may be longer than the idle timeout.
            self.timers.reschedule(side.timer, now + self.idle_timeout)?;
        }
        let mut revisit = [false; 2];
        if readiness.may_read() && side.inflow != Inflow::Connecting {
            revisit[0] = pump(side, other, &mut self.buffer)?;
        }
        if readiness.may_write() && !other.pending.is_empty() {
            revisit[1] = pump(other, side, &mut self.buffer)?;
        }
        if [side.inflow, other.inflow] == [Inflow::Ended; 2] {
            self.close(token);
            return Ok(());
        }
        for (token, revisit) in [token, peer].into_iter().zip(revisit) {
            self.park_or_unpark(token)?;
            if revisit {
                self.reactor.revisit(token, Readiness::IN);
            }
        }
        Ok(())
    }

    /// Parks a side that can do nothing until the other one has made room, connected or ended: its
    /// bytes, its end and its errors would be reported in vain.
    fn park_or_unpark(&mut self, token: Token) -> io::Result<()> {
        let Some([side, other]) = pair(&mut self.reactor, token) else { return Ok(()) };
        let has_room = side.pending.is_empty() && other.inflow != Inflow::Connecting;
        let may_read = side.inflow == Inflow::Open && has_room;
        let may_write = side.inflow == Inflow::Connecting || !other.pending.is_empty();
        if may_read || may_write { self.reactor.unpark(token) } else { self.reactor.park(token) }
    }

    /// Closes both sides. To a side that has got some of the other's bytes and not the end, the close
    /// is a reset: after a FIN it would take the part for the whole.
    fn close(&mut self, token: Token) {
        let Some([side, other]) = pair(&mut self.reactor, token) else { return };
        self.timers.cancel(side.timer);
        let sides = [(token, other.inflow), (side.peer, side.inflow)];
        for (token, peer_inflow) in sides {
            let Some(side) = self.reactor.entry(token) else { continue };
            if peer_inflow == Inflow::Open {
                // If it fails, the close is an ordinary one.
                let _ = side.stream.reset_on_close();
            }
            side.close();
        }
    }

    fn on_timeout(&mut self) -> io::Result<()> {
        let now = self.timers.now();
        while let Some(fired) = self.timers.next_due(now)? {
            let token = fired.value;
            let Some([client, backend]) = pair(&mut self.reactor, token) else { continue };
            let deadline = client.last_activity.max(backend.last_activity) + self.idle_timeout;
            if backend.inflow == Inflow::Connecting || deadline <= now {
                warn("a connection", &ErrorKind::TimedOut.into());
                self.close(token);
            } else {
                let timer = self.timers.restart(fired, deadline)?;
                for side in pair(&mut self.reactor, token).into_iter().flatten() {
                    side.timer = timer;
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, connections: impl Iterator<Item = Stream>) {
        for client in connections {
            if let Err(error) = self.open(client) {
                warn("the backend", &error);
            }
        }
    }

    fn run(&mut self, listener: Listener, signals: &Signals) -> io::Result<()> {
        let accepting = self.reactor.watch(&listener, Event::Accept, Watch::level(Interest::IN))?;
        self.reactor.watch(&self.timers, Event::Timeout, Watch::level(Interest::IN))?;
        self.reactor.watch(signals, Event::Signal, Watch::level(Interest::IN))?;
        let mut listener = Some(listener);
        let mut drain = Drain::new(Some(DRAIN_TIMEOUT));
        while !matches!(drain.phase(), Phase::Stopped { .. }) {
            self.reactor.wait_until(drain.deadline())?;
            let mut is_due = false;
            while let Some(ready) = self.reactor.next_ready() {
                match ready {
                    Ready::Owned { token, readiness, .. } => {
                        if let Err(error) = self.on_ready(token, readiness) {
                            warn("a connection", &error);
                            self.close(token);
                        }
                    }
                    Ready::Watched { tag: Event::Accept, .. } => {
                        let accepted = listener.iter_mut().flat_map(Listener::accept_batch);
                        self.accept(accepted.map(|accepted| accepted.stream));
                    }
                    Ready::Watched { tag: Event::Timeout, .. } => is_due = true,
                    Ready::Watched { tag: Event::Signal, .. } => {
                        while let Some(info) = signals.read()? {
                            drain.on_signal(info.signal, Timestamp::now());
                        }
                    }
                    Ready::Woken => {}
                }
            }
            // After the reports, so that no connection is idle whose bytes were in the same batch.
            if is_due {
                self.on_timeout()?;
            }
            if let Some(listener) = listener.take_if(|_| drain.phase() != Phase::Running) {
                self.reactor.unwatch(accepting, &listener)?;
                // Also those that wait in the queue: dropping the listener would reset them.
                self.accept(listener.close().map(|accepted| accepted.stream));
            }
            drain.expire(Timestamp::now());
            if self.timers.is_empty() {
                drain.finish();
            }
        }
        Ok(())
    }
}

/// Errors of one connection are not the others'. Nothing is done if there is nobody to read this.
fn warn(subject: &str, error: &io::Error) {
    let _ = writeln!(io::stderr(), "{subject}: {error}");
}
