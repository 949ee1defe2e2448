//! What a thread does with connections: it goes by the answers of their steps, admits and closes them.
//! Whether they are its own or shared with other threads makes no difference here.

mod delivery;
mod drain;
mod expiry;

use crate::admission::Refusal;
use crate::client::Client;
use crate::control::Control;
use crate::mail::Post;
use crate::service::Message;
use crate::stats::{Closed, Stats};
use crate::store::Connections;
use crate::timing::{TIMER_STEPS_MAX, Timing, lock};
use crate::{Config, Mode, Service, Timeouts};
use epoll_connection::{
    Awaits, Clocks, CloseReason, Connection, ConnectionId, Limits, Request, Step, StepRest,
    ThreadState,
};
use epoll_reactor::epoll_sys::Pipe;
use epoll_reactor::net::{Accepted, Address, ConnectOptions, Peer};
use epoll_reactor::{Readiness, Registration, Token};
use epoll_timers::Timestamp;
use std::any::type_name;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The capacity of a pipe that was not asked for another one, in bytes.
const PIPE_LEN: usize = 64 * 1024;

/// The parts that the threads of a service are given.
pub(crate) struct Parts<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) control: Arc<Control>,
    pub(crate) post: Arc<Post<Message<S>>>,
    pub(crate) timing: Arc<Mutex<Timing>>,
    pub(crate) stats: Arc<Mutex<Stats>>,
    pub(crate) config: Arc<Config>,
}

/// An outgoing connection that a protocol has asked for.
struct Connect<M> {
    from: ConnectionId,
    address: Address,
    message: M,
}

/// A turn of a thread's loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// The number of waits so far.
    pub(crate) number: u64,
    /// The time to date activity with.
    pub(crate) now: Timestamp,
}

pub(crate) struct Handler<S: Service> {
    service: Arc<S>,
    control: Arc<Control>,
    post: Arc<Post<Message<S>>>,
    timing: Arc<Mutex<Timing>>,
    /// The number by which others reach the connections of this thread.
    mailbox: usize,
    mode: Mode,
    pub(crate) thread: ThreadState<S::Protocol>,
    /// The pipe that long streams go through, from the first one on. It holds nothing but during a step.
    pipe: Option<Pipe>,
    timeouts: Timeouts,
    connect_options: ConnectOptions,
    /// The number of the turn that the protocols of the thread know of.
    turn: u64,
    /// Activity has to be dated.
    is_timed: bool,
    is_draining: bool,
    /// The connections whose timers have fired.
    due: Vec<Token>,
    /// The connection whose callbacks are called without a report.
    current: Option<Token>,
    /// Requests of protocols that are being handled; empty otherwise.
    requests: Vec<Request<Message<S>>>,
    connects: Vec<Connect<Message<S>>>,
    /// The connections whose forwarded bytes are sent.
    resumes: Vec<Token>,
    /// Requests were filed since they were last handled.
    has_filed: bool,
    stats: Arc<Mutex<Stats>>,
}

impl<S: Service> Handler<S> {
    /// Returns the handler of the calling thread, whose number is `index`.
    pub(crate) fn new(index: usize, parts: &Parts<S>) -> Self {
        let config = &parts.config;
        let Timeouts { idle, write, linger, connect: _, drain: _ } = config.timeouts;
        // Where threads share connections, all of them are reached through the first one.
        let mailbox = if config.mode.is_shared() { 0 } else { index };
        let local = parts.service.local(index);
        let number = u32::try_from(mailbox).unwrap_or(u32::MAX);
        let thread = ThreadState::new(number, local, config.limits.clone(), Clocks::default());
        let thread = if config.mode.is_shared() { thread.without_links() } else { thread };
        Self {
            service: Arc::clone(&parts.service),
            control: Arc::clone(&parts.control),
            post: Arc::clone(&parts.post),
            timing: Arc::clone(&parts.timing),
            mailbox,
            mode: config.mode,
            thread,
            pipe: None,
            timeouts: config.timeouts,
            connect_options: ConnectOptions {
                stream: config.stream.clone(),
                ..ConnectOptions::default()
            },
            turn: 0,
            is_timed: idle.or(write).or(linger).is_some(),
            is_draining: false,
            due: Vec::with_capacity(TIMER_STEPS_MAX),
            current: None,
            requests: Vec::new(),
            connects: Vec::new(),
            resumes: Vec::new(),
            has_filed: false,
            stats: Arc::clone(&parts.stats),
        }
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time to date activity with, if anybody will ask.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        if self.is_timed { Timestamp::now() } else { Timestamp::EPOCH }
    }

    /// Begins the turn with this number for the protocols of the thread, unless it has begun. The hot path
    /// does without it: callbacks are called off it.
    fn begin_turn(&mut self, turn: u64, now: Timestamp) {
        if self.turn != turn {
            self.turn = turn;
            self.thread.begin_turn(self.is_timed.then_some(now));
        }
    }

    /// Finishes a step, and does what it asks for.
    #[cold]
    #[inline(never)]
    pub(crate) fn finish_step<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
        rest: StepRest,
        readiness: Readiness,
        turn: Turn,
    ) -> Option<R> {
        let Turn { number, now } = turn;
        self.begin_turn(number, now);
        let token = entry.token();
        let step = entry.finish_step(rest, readiness, token, &mut self.thread, now);
        self.apply(entry, step, readiness)
    }

    /// Does what the step of a connection asks for; gives it back if it is still open.
    #[cold]
    pub(crate) fn apply<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
        step: Step,
        readiness: Readiness,
    ) -> Option<R> {
        self.file_if_shared();
        match step {
            // Whoever has the connections takes the bytes to the one that they are for.
            Step::Wait | Step::Forward => Some(entry),
            Step::Changed => self.refresh(entry),
            Step::Yield => {
                let mut entry = self.refresh(entry)?;
                // What it reads next may not be what it was reported for.
                entry.revisit(readiness | Readiness::IN);
                Some(entry)
            }
            Step::Splice => {
                let step = self.splice(&mut entry, readiness);
                self.apply(entry, step, readiness)
            }
            Step::Done(reason) => {
                self.close(entry, Closed::Over(reason));
                None
            }
        }
    }

    fn splice<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        entry: &mut R,
        readiness: Readiness,
    ) -> Step {
        let now = self.now();
        // Where descriptors are lacking, this time bytes are copied.
        let mut pipe = self.pipe.take().or_else(|| new_pipe(self.thread.limits()).ok());
        let has_pipe = pipe.is_some();
        let (token, thread) = (entry.token(), &mut self.thread);
        let step =
            entry.date(now, |client| client.connection.splice(readiness, &mut pipe, token, thread));
        if has_pipe && pipe.is_none() {
            tracing::warn!("nothing can be spliced, long streams are copied");
            self.thread.limits_mut().splice_bytes_max = None;
        }
        self.pipe = pipe;
        step
    }

    /// Compares what a connection waits for with its registration and its timer.
    fn refresh<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
    ) -> Option<R> {
        let interest = self.mode.interest(entry.connection.interest());
        if interest != entry.registered {
            if let Err(error) = entry.set_interest(interest) {
                tracing::warn!(%error, "connection not watched any more");
                self.close(entry, Closed::Unwatched);
                return None;
            }
            entry.registered = interest;
        }
        let awaits = entry.connection.awaits();
        let has_changed = awaits != entry.awaits;
        let is_established = has_changed && entry.awaits == Awaits::Connect;
        if has_changed {
            entry.awaits = awaits;
            if awaits == Awaits::Close {
                // The linger timeout begins here.
                entry.last_activity = Timestamp::now();
            }
        }
        if has_changed || entry.connection.deadline().is_some() {
            self.set_timer(&mut entry);
        }
        if is_established && self.is_draining {
            // Nobody could tell it before.
            return self.tell_drain(entry);
        }
        Some(entry)
    }

    /// Serves a connection that was accepted at the listener with this index, or refuses it.
    pub(crate) fn accept<C: Connections<S::Protocol>>(
        &mut self,
        listener: usize,
        accepted: Accepted,
        connections: &mut C,
    ) {
        let Accepted { stream, peer } = accepted;
        let peer = Peer::from(&peer);
        let control = Arc::clone(&self.control);
        let permit = match control.admission.admit(&peer) {
            Ok(()) => Permit { control: &control, peer },
            Err(refusal) => {
                *self.stats().refusals(refusal) += 1;
                let limit = match refusal {
                    Refusal::Full => "the maximum of connections",
                    Refusal::PeerFull => "the maximum of connections from one address",
                };
                tracing::debug!(%peer, "connection refused: {limit} is reached");
                return;
            }
        };
        self.thread.begin_turn(None);
        let protocol = self.isolate(connections, |handler, _| {
            handler.service.accept(listener, &peer, &mut handler.thread.local)
        });
        // Where it has panicked, it has made no protocol either.
        let Some(protocol) = protocol.flatten() else {
            self.stats().declined += 1;
            tracing::debug!(%peer, "connection declined");
            return;
        };
        self.isolate(connections, |handler, connections| {
            handler.insert(Connection::new(protocol, stream), permit, connections);
        });
    }

    /// Registers a connection, and opens it if it is established.
    fn insert<C: Connections<S::Protocol>>(
        &mut self,
        connection: Connection<S::Protocol, epoll_reactor::net::Stream>,
        permit: Permit<'_>,
        connections: &mut C,
    ) {
        let peer = permit.peer;
        let mut client = Client::new(connection, peer, Timestamp::now());
        let watch = self.mode.watch(client.registered);
        client.registered = self.mode.interest(client.registered);
        match connections.insert(client, watch) {
            Ok(mut entry) => {
                // Whoever closes it releases the permit.
                permit.keep();
                self.stats().opened += 1;
                tracing::debug!(%peer, "connection opened");
                let token = entry.token();
                self.current = Some(token);
                let step = if entry.connection.awaits() == Awaits::Connect {
                    Step::Wait
                } else {
                    let (now, thread) = (self.now(), &mut self.thread);
                    entry.date(now, |client| client.connection.open(token, thread))
                };
                if let Some(mut entry) = self.apply(entry, step, Readiness::IN) {
                    self.set_timer(&mut entry);
                }
                self.current = None;
            }
            Err(failed) => {
                self.stats().unwatched += 1;
                tracing::warn!(%peer, error = %failed.error, "connection not watched");
            }
        }
    }

    #[cold]
    pub(crate) fn close<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
        closed: Closed,
    ) {
        let control = Arc::clone(&self.control);
        let token = entry.token();
        if !matches!(closed, Closed::Over(_) | Closed::Panicked) {
            // If it panics, the connection is closed again, which releases its permit.
            entry.connection.close(token, &mut self.thread);
        }
        // In this order they are dropped: whoever is told that all is over may count descriptors.
        let permit = Permit { control: &control, peer: entry.peer };
        let closing = CloseOnDrop(Some(entry));
        if let CloseOnDrop(Some(entry)) = &closing {
            self.record_close(entry, Some(token), closed);
        }
        drop(closing);
        // Only now nobody holds anything more for it.
        drop(self.post.take_held(token));
        self.file_if_shared();
        drop(permit);
    }

    /// Logs and counts the end of a connection, and ends its timer.
    fn record_close(&mut self, client: &Client<S::Protocol>, token: Option<Token>, closed: Closed) {
        let connection = &client.connection;
        let (received, sent) = (connection.received(), connection.sent());
        let lived_s = (Timestamp::now() - client.began()).as_secs();
        let reason = closed.name(S::FINISHED);
        tracing::debug!(peer = %client.peer, received, sent, lived_s, reason, "connection closed");
        if let Closed::Over(CloseReason::Misuse(misuse)) = closed {
            let protocol = type_name::<S::Protocol>();
            tracing::error!(protocol, ?misuse, "a protocol has broken its rules");
        }
        if matches!(closed, Closed::Stalled | Closed::Over(CloseReason::Aborted)) {
            // Of one that stalls, what waits in the socket would keep the kernel busy for minutes. The peer
            // of one that is aborted must not take it for an end.
            if let Err(error) = connection.transport().reset_on_close() {
                tracing::debug!(%error, "connection not reset");
            }
        }
        let mut timing = lock(&self.timing);
        if let Some(key) = client.timer {
            timing.timers.cancel(key);
        }
        if let Some(token) = token {
            timing.samples.remove(&token);
        }
        drop(timing);
        self.stats().closed(reason, received, sent, lived_s);
    }

    /// Does a part of a turn. If a callback panics in it, its connection is closed, `None` is returned, and
    /// the turn goes on: what is left of it concerns other connections.
    pub(crate) fn isolate<C: Connections<S::Protocol>, T>(
        &mut self,
        connections: &mut C,
        part: impl FnOnce(&mut Self, &mut C) -> T,
    ) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let done = part(self, connections);
            if self.thread.has_forward() {
                self.forward(connections);
            }
            done
        }));
        let current = self.current.take();
        if done.is_err() {
            self.close_panicked(current, connections);
        }
        done.ok()
    }

    /// Takes the connection whose callbacks were last called without a report.
    pub(crate) fn take_current(&mut self) -> Option<Token> {
        self.current.take()
    }

    /// Closes the connection whose callback has panicked. If even that panics, the thread lives on
    /// without having done it.
    ///
    /// The lease of a connection that threads share has asked for the close when the panic dropped it.
    pub(crate) fn close_panicked<C: Connections<S::Protocol>>(
        &mut self,
        panicked: Option<Token>,
        connections: &mut C,
    ) {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.thread.recover();
            // A pass over the timers that was left early has not set the timerfd.
            if let Err(error) = lock(&self.timing).timers.rearm() {
                tracing::error!(%error, "timers not set");
            }
            if let Some(entry) = panicked.and_then(|token| connections.entry(token)) {
                self.close(entry, Closed::Panicked);
            }
        }));
    }

    /// Returns the outcomes of all connections so far, those of this thread that are open included, and how
    /// many of these could not be looked at because other threads had them.
    pub(crate) fn stats_so_far<C: Connections<S::Protocol>>(
        &self,
        connections: &mut C,
    ) -> (Stats, usize) {
        let (mut stats, mut unseen) = (self.stats().clone(), 0);
        for token in connections.tokens() {
            match connections.entry(token) {
                Some(entry) => {
                    stats.received += entry.connection.received();
                    stats.sent += entry.connection.sent();
                }
                None => unseen += 1,
            }
        }
        (stats, unseen)
    }
}

/// Permit for a connection; it is released when this is dropped, also by a panic.
struct Permit<'a> {
    control: &'a Control,
    peer: Peer,
}

impl Permit<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.control.admission.release(&self.peer);
        self.control.wake_first_if_drained();
    }
}

/// A connection that is closed when this is dropped, also by a panic: to give it back to where it was
/// would have it closed again, and again.
struct CloseOnDrop<R: Registration>(Option<R>);

impl<R: Registration> Drop for CloseOnDrop<R> {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            entry.close();
        }
    }
}

/// With room for as much as the limits allow at once, if that may be.
fn new_pipe(limits: &Limits) -> io::Result<Pipe> {
    let pipe = Pipe::new()?;
    let len = limits.splice_bytes_max.map_or(0, NonZeroUsize::get);
    if len > PIPE_LEN {
        // A smaller one takes more calls.
        let _ = pipe.set_capacity(len);
    }
    Ok(pipe)
}
