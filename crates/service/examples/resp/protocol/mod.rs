//! The protocol of redis, version 2 (RESP2), as a protocol without sockets.
//!
//! Several requests of a read are answered with one send. A request that is malformed ends the connection
//! with the error text of redis; a command that is refused does not.

mod channels;
mod commands;
mod reply;
mod request;
mod session;
mod store;

pub(crate) use request::INPUT_MAX;

use channels::{Channels, Publication};
use epoll_connection::{CloseReason, ConnectionId, Consumed, Flow, Protocol};
use request::{Arguments, Gathered, Malformed, Parsed, Span};
use session::Session;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use store::{Store, Time};

/// The pause between two sweeps of expired keys.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
/// The pause where a sweep has left some.
const SWEEP_PAUSE_SHORT: Duration = Duration::from_millis(1);
/// A listener for which so many bytes wait is dropped, as in redis (`client-output-buffer-limit pubsub`).
const PENDING_MAX: usize = 32 * 1024 * 1024;
/// The number of messages that the publications of a turn may become, but for those of the last one.
const FAN_OUT_MAX: usize = 1024;

/// The state that all threads share.
pub(crate) struct Shared {
    store: Store,
    channels: Channels,
    clients: AtomicUsize,
    next_id: AtomicU64,
}

impl Shared {
    pub(crate) fn new(threads: NonZeroU32) -> Self {
        Self {
            store: Store::new(threads),
            channels: Channels::default(),
            clients: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
        }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// The state of a thread.
pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    /// The places of a request's arguments. It is kept, so that it is allocated once.
    spans: Vec<Span>,
    /// The messages that the requests of an input have become.
    fan_out: usize,
}

impl Local {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, spans: Vec::new(), fan_out: 0 }
    }
}

/// A message between connections.
pub(crate) enum Message {
    Published(Arc<Publication>),
    /// To oneself: the messages of this turn are delivered, so requests may go on.
    Delivered,
}

type Context<'a> = epoll_connection::Context<'a, Local, Message>;

/// One client.
pub(crate) struct Resp {
    id: u64,
    /// `true` if it removes expired keys, for all connections.
    sweeps: bool,
    /// State that most clients do not need.
    session: Option<Box<Session>>,
}

impl Protocol for Resp {
    type Local = Local;
    type Message = Message;

    fn on_open(&mut self, context: &mut Context<'_>) -> Flow {
        context.local().shared.clients.fetch_add(1, Ordering::Relaxed);
        Flow::Keep
    }

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_>) -> Consumed {
        let mut spans = std::mem::take(&mut context.local().spans);
        context.local().fan_out = 0;
        let mut consumed = Consumed::nothing();
        while consumed.bytes < input.len() && consumed.need == 0 && consumed.flow == Flow::Keep {
            let rest = &mut input[consumed.bytes..];
            match self.on_request(rest, &mut spans, context) {
                Ok(Consumed { bytes: 0, need: 0, flow: Flow::Keep, .. }) => break,
                Ok(one) => consumed = Consumed { bytes: consumed.bytes + one.bytes, ..one },
                Err(malformed) => {
                    write_malformed(malformed, context);
                    consumed.flow = Flow::Finish;
                }
            }
            if context.is_full() {
                break;
            }
        }
        spans.clear();
        context.local().spans = spans;
        self.sweep_if_nobody_does(context);
        consumed
    }

    fn on_written(&mut self, context: &mut Context<'_>) -> Flow {
        let Some(session) = &mut self.session else { return Flow::Keep };
        let has_more = session.long_reply.write(context.output());
        if has_more {
            return Flow::Produce;
        }
        self.drop_session_if_empty();
        Flow::Keep
    }

    fn on_message(&mut self, message: &Message, context: &mut Context<'_>) -> Flow {
        let publication = match message {
            Message::Delivered => return Flow::Read,
            Message::Published(publication) => publication,
        };
        // It may have been sent before the channel was left.
        let listens = |session: &Session| session.channels.contains(&publication.channel);
        if !self.session.as_deref().is_some_and(listens) {
            return Flow::Keep;
        }
        if context.pending() > PENDING_MAX {
            return Flow::Abort;
        }
        context.write(&publication.frame);
        Flow::Keep
    }

    fn on_deadline(&mut self, context: &mut Context<'_>) -> Flow {
        self.sweep(context);
        Flow::Keep
    }

    fn on_close(&mut self, _: CloseReason, context: &mut Context<'_>) {
        let id = context.id();
        let shared = &context.local().shared;
        shared.clients.fetch_sub(1, Ordering::Relaxed);
        if self.sweeps {
            // The next request, of whomever, finds that nobody does.
            shared.store.end_sweeping();
        }
        self.leave_channels(shared, id);
    }
}

impl Resp {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, sweeps: false, session: None }
    }

    /// Takes one request, or as much as has arrived of it.
    fn on_request(
        &mut self,
        input: &mut [u8],
        spans: &mut Vec<Span>,
        context: &mut Context<'_>,
    ) -> Result<Consumed, Malformed> {
        if self.session.as_ref().is_some_and(|session| session.gathered.is_some()) {
            return self.gather(input, spans, context);
        }
        match request::parse(input, spans)? {
            Parsed::Request { len } => {
                let flow = commands::run(Arguments::new(input, spans), self, context);
                Ok(Consumed::bytes(len).then(flow))
            }
            Parsed::Incomplete { need } => Ok(Consumed::need(need)),
            Parsed::Part { at, left, need } => {
                self.session_mut().gathered = Some(Gathered::new(input, spans, left));
                Ok(Consumed { need, ..Consumed::bytes(at) })
            }
        }
    }

    /// Takes further arguments of a long array.
    fn gather(
        &mut self,
        input: &[u8],
        spans: &mut Vec<Span>,
        context: &mut Context<'_>,
    ) -> Result<Consumed, Malformed> {
        let Some(gathered) = &mut self.session_mut().gathered else {
            return Ok(Consumed::nothing());
        };
        let (len, need) = gathered.take(input, spans)?;
        if !gathered.is_complete() {
            return Ok(Consumed { need, ..Consumed::bytes(len) });
        }
        let gathered = self.session_mut().gathered.take();
        let flow = gathered.map(|gathered| commands::run(gathered.arguments(), self, context));
        self.drop_session_if_empty();
        Ok(Consumed::bytes(len).then(flow.unwrap_or_default()))
    }

    fn session_mut(&mut self) -> &mut Session {
        self.session.get_or_insert_default()
    }

    fn drop_session_if_empty(&mut self) {
        self.session.take_if(|session| session.is_empty());
    }

    fn is_subscribed(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.channels.is_empty())
    }

    fn leave_channels(&mut self, shared: &Shared, id: ConnectionId) {
        let channels = self.session.as_mut().map(|session| std::mem::take(&mut session.channels));
        for channel in channels.into_iter().flatten() {
            shared.channels.remove(&channel, id);
        }
    }

    /// Makes this connection sweep by its deadline, if keys expire and no connection sweeps. A thread has no
    /// timer for its protocols: when the last connection is closed, keys stay until the next request.
    fn sweep_if_nobody_does(&mut self, context: &mut Context<'_>) {
        if context.local().shared.store.begin_sweeping() {
            self.sweeps = true;
            context.set_deadline(Some(SWEEP_PAUSE));
        }
    }

    /// Removes keys that have expired, and goes on later if there are any that expire.
    fn sweep(&mut self, context: &mut Context<'_>) {
        let now = time(context);
        let store = &context.local().shared.store;
        let has_more = store.sweep(now);
        if has_more || store.has_expiring() {
            let pause = if has_more { SWEEP_PAUSE_SHORT } else { SWEEP_PAUSE };
            context.set_deadline(Some(pause));
            return;
        }
        store.end_sweeping();
        self.sweeps = false;
        // A key may have been given a time while somebody still swept.
        self.sweep_if_nobody_does(context);
    }
}

/// Returns the time of the turn.
fn time(context: &mut Context<'_>) -> Time {
    Time::try_from(context.now().since_epoch().as_millis()).unwrap_or(Time::MAX)
}

fn write_malformed(malformed: Malformed, context: &mut Context<'_>) {
    let output = context.output();
    match malformed {
        Malformed::Text(text) => {
            reply::error(output, [b"ERR Protocol error: ", text.as_bytes()].concat().as_slice());
        }
        Malformed::ExpectedBulk(byte) => {
            let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
            text.extend([byte, b'\'']);
            reply::error(output, &text);
        }
    }
}
