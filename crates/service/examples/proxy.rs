//! A proxy: `cargo run -p epoll-service --example proxy 127.0.0.1:0 127.0.0.1:8080,unix:/run/web`.
//!
//! Each client gets a connection to one of the backends, in turn; one that refuses is left out for ten
//! seconds. Bytes go straight from one socket to the other, through a pipe where there are many. A side that
//! takes nothing slows the other side down, but can still send, and the end of each direction is passed on by
//! itself: a client that has sent its FIN still gets the whole answer. Connections on which nothing moves for
//! a minute are closed; two more arguments set the timeouts of a connect and of a connection on which nothing
//! moves, in milliseconds.

use epoll_connection::{
    Address, CloseReason, ConnectionId, Consumed, Context, Flow, Protocol, Timestamp,
};
use epoll_service::{Config, Peer, Server, Service, Signal, Signals};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The time for which a backend that has refused a connection is left out.
const PENALTY: Duration = Duration::from_secs(10);

/// The messages between the two sides of a connection.
enum Note {
    /// To the service: connect to a backend for a client, unless it is gone by then.
    Connect { backend: usize, is_client_gone: Arc<AtomicBool> },
    /// To the client's side: the backend is connected.
    Connected(ConnectionId),
    /// To the client's side: the backend, which has this number, cannot be reached.
    Refused(usize),
    /// To the other side: no more bytes come from this one.
    Ended,
    /// To the other side: nobody takes its bytes any more. What it has to send still goes out.
    Gone,
    /// To the other side: this one is over, and not because both have ended.
    Broken,
}

/// The backends, and the state that a thread keeps of them.
struct Backends {
    addresses: Arc<[Address]>,
    /// The times until which they are left out.
    refusals: Vec<Option<Timestamp>>,
    /// The next one in turn, of all threads together.
    next: Arc<AtomicUsize>,
}

type Surroundings<'a> = Context<'a, Backends, Note>;

/// One side of a proxied connection.
enum Side {
    Client {
        backend: Option<ConnectionId>,
        tries_left: usize,
        is_gone: Arc<AtomicBool>,
        has_backend_ended: bool,
    },
    Backend {
        number: usize,
        client: Option<ConnectionId>,
        is_client_gone: Arc<AtomicBool>,
        has_client_ended: bool,
    },
}

impl Side {
    fn other(&self) -> Option<ConnectionId> {
        match self {
            Self::Client { backend: other, .. } | Self::Backend { client: other, .. } => *other,
        }
    }

    fn has_other_ended(&mut self) -> &mut bool {
        match self {
            Self::Client { has_backend_ended: ended, .. }
            | Self::Backend { has_client_ended: ended, .. } => ended,
        }
    }

    /// Tries the next backend that is not left out; all of them if all are.
    fn connect(&mut self, context: &mut Surroundings<'_>) -> Flow {
        let Self::Client { tries_left, is_gone, .. } = self else { return Flow::Keep };
        if *tries_left == 0 {
            return Flow::Finish;
        }
        *tries_left -= 1;
        let now = context.now();
        let Backends { addresses, refusals, next } = context.local();
        let next = next.fetch_add(1, Ordering::Relaxed);
        let mut numbers = (0..addresses.len()).map(|at| next.wrapping_add(at) % addresses.len());
        let usable = numbers.find(|&at| refusals[at].is_none_or(|until| until <= now));
        let backend = usable.unwrap_or(next % addresses.len());
        let address = addresses[backend];
        let is_client_gone = Arc::clone(is_gone);
        context.connect(address, Note::Connect { backend, is_client_gone });
        Flow::Pause
    }
}

impl Protocol for Side {
    type Local = Backends;
    type Message = Note;

    fn on_open(&mut self, context: &mut Surroundings<'_>) -> Flow {
        match self {
            Self::Client { .. } => self.connect(context),
            Self::Backend { is_client_gone, .. } if is_client_gone.load(Ordering::Relaxed) => {
                Flow::Abort
            }
            Self::Backend { client, .. } => {
                let note = Note::Connected(context.id());
                if let Some(client) = *client {
                    context.send(client, note);
                }
                // The client may go before it has the note.
                context.set_deadline(Some(Duration::from_secs(1)));
                Flow::Keep
            }
        }
    }

    fn on_input(&mut self, input: &mut [u8], context: &mut Surroundings<'_>) -> Consumed {
        match self.other().and_then(|other| context.link(other)) {
            Some(link) => Consumed::forward(input.len(), link),
            None => Consumed::nothing().then(Flow::Abort),
        }
    }

    fn on_message(&mut self, note: &Note, context: &mut Surroundings<'_>) -> Flow {
        match (note, self) {
            (Note::Connected(id), Self::Client { backend, .. }) => {
                *backend = Some(*id);
                Flow::Read
            }
            (Note::Refused(number), side @ Self::Client { .. }) => {
                let until = context.now() + PENALTY;
                context.local().refusals[*number] = Some(until);
                side.connect(context)
            }
            (Note::Ended, side) => {
                *side.has_other_ended() = true;
                context.end_output();
                Flow::Keep
            }
            (
                Note::Gone,
                Self::Client { backend: other, .. } | Self::Backend { client: other, .. },
            ) => {
                *other = None;
                Flow::Keep
            }
            (Note::Broken, _) => Flow::Abort,
            _ => Flow::Keep,
        }
    }

    fn on_peer_finished(&mut self, _: &[u8], context: &mut Surroundings<'_>) -> Flow {
        if let Some(other) = self.other() {
            context.send(other, Note::Ended);
        }
        Flow::Keep
    }

    fn on_deadline(&mut self, _: &mut Surroundings<'_>) -> Flow {
        match self {
            Self::Backend { is_client_gone, .. } if is_client_gone.load(Ordering::Relaxed) => {
                Flow::Abort
            }
            _ => Flow::Keep,
        }
    }

    fn on_close(&mut self, reason: CloseReason, context: &mut Surroundings<'_>) {
        if let Self::Client { backend: None, is_gone, .. } = self {
            is_gone.store(true, Ordering::Relaxed);
        }
        let has_other_ended = *self.has_other_ended();
        let note = match (reason, &*self) {
            // As it should be, or the peer is gone both ways at once, as UNIX sockets go.
            (CloseReason::PeerClosed, _) if has_other_ended => return,
            (CloseReason::PeerClosed, _) => Note::Gone,
            (CloseReason::ConnectFailed(_), Self::Backend { number, .. }) => Note::Refused(*number),
            _ => Note::Broken,
        };
        if let Some(other) = self.other() {
            context.send(other, note);
        }
    }

    fn forwards_to(&self) -> Option<ConnectionId> {
        self.other()
    }

    /// Always busy: the proxy does not know the messages, so only the two sides know when they are done.
    fn is_busy(&self) -> bool {
        true
    }
}

struct Proxy {
    backends: Arc<[Address]>,
    next: Arc<AtomicUsize>,
}

impl Service for Proxy {
    type Protocol = Side;

    fn local(&self, _: usize) -> Backends {
        let (addresses, next) = (Arc::clone(&self.backends), Arc::clone(&self.next));
        Backends { refusals: vec![None; addresses.len()], next, addresses }
    }

    fn accept(&self, _: usize, _: &Peer, _: &mut Backends) -> Option<Side> {
        let tries_left = self.backends.len();
        let is_gone = Arc::default();
        Some(Side::Client { backend: None, tries_left, is_gone, has_backend_ended: false })
    }

    fn connect(&self, from: ConnectionId, note: Note, _: &mut Backends) -> Option<Side> {
        let Note::Connect { backend, is_client_gone } = note else { return None };
        let (number, client) = (backend, Some(from));
        Some(Side::Backend { number, client, is_client_gone, has_client_ended: false })
    }
}

const USAGE: &str = "usage: proxy ADDRESS BACKEND[,BACKEND...] [CONNECT_MS IDLE_MS]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [listen, backends, timeouts @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let backends = backends.split(',').map(str::parse).collect::<Result<Arc<[_]>, _>>()?;
    let mut config = Config::at([listen.parse()?]);
    match timeouts {
        [] => config.timeouts.idle = Some(Duration::from_secs(60)),
        [connect, idle] => {
            config.timeouts.connect = Some(Duration::from_millis(connect.parse()?));
            config.timeouts.idle = Some(Duration::from_millis(idle.parse()?));
        }
        _ => return Err(USAGE.into()),
    }
    // Long streams go through a pipe.
    config.limits.splice_bytes_max = NonZeroUsize::new(256 * 1024);
    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let server = Server::bind(Proxy { backends, next: Arc::default() }, &config)?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}
