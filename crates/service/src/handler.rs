//! The handling of connections by a thread: it applies the answers of their steps, admits and closes them.
//! The code is the same for a thread's own connections and for those that threads share.

mod delivery;
mod drain;
mod expiry;
mod headers;
mod passes;

use crate::admission::Refusal;
use crate::client::Client;
use crate::control::Control;
use crate::headers::{HeaderQueue, Headless};
use crate::mail::{DeliveryPass, Post};
use crate::measures::Measures;
use crate::panics::{catch, drop_each};
use crate::service::Message;
use crate::stats::{Closed, Outcomes, Stats};
use crate::store::Connections;
use crate::timing::{TIMER_STEPS_MAX, Timing, lock};
use crate::{Config, Mode, Service, Timeouts};
use epoll_connection::{
    Awaits, Buffered, Clocks, CloseReason, Connection, ConnectionId, Limits, Request, Step,
    StepRest, ThreadState,
};
use epoll_reactor::epoll_sys::Pipe;
use epoll_reactor::net::{Accepted, Address, ConnectOptions, Peer, Stream};
use epoll_reactor::{Readiness, Registration, Token};
use epoll_timers::Timestamp;
pub(crate) use passes::Count;
use passes::Passes;
use std::any::type_name;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

/// The capacity of a pipe that was not asked for another one, in bytes.
const PIPE_LEN: usize = 64 * 1024;

/// The parts that the threads of a service are given.
pub(crate) struct Parts<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) control: Arc<Control>,
    pub(crate) post: Arc<Post<Message<S>>>,
    pub(crate) timing: Arc<Mutex<Timing>>,
    pub(crate) outcomes: Arc<Outcomes>,
    /// The measurements of the thread; `None` if nobody asks for them.
    pub(crate) measures: Option<Arc<Measures>>,
    /// The way to the thread that watches connections for their headers of the PROXY protocol, if they have one.
    pub(crate) headers: Option<Arc<HeaderQueue>>,
    pub(crate) config: Arc<Config>,
}

/// An outgoing connection that a protocol has asked for.
struct Connect<M> {
    from: ConnectionId,
    address: Address,
    message: M,
}

/// A call of a connection.
type Call<P> = fn(&mut Connection<P, Stream>, Token, &mut ThreadState<P>) -> Step;

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
    /// The pipe that long streams go through, from the first one on. It is empty, except during a step and
    /// while it holds what a step forwards.
    pipe: Option<Pipe>,
    connect_options: ConnectOptions,
    /// The number of the turn that the protocols of the thread know of.
    turn: u64,
    /// The time of activity has to be recorded.
    is_timed: bool,
    is_draining: bool,
    /// The connections whose timers have fired.
    due: Vec<Token>,
    /// The connection whose callbacks are being called for something else than a report of the reactor; it is
    /// closed if they panic.
    current: Option<Token>,
    /// Requests of protocols that are being handled; empty otherwise.
    requests: Vec<Request<Message<S>>>,
    connects: Vec<Connect<Message<S>>>,
    /// Calls that connections of the thread have asked for at the end of the turn.
    calls: Vec<(Token, Call<S::Protocol>)>,
    /// Requests were filed since they were last handled, or a thread without a loop of its own has a pass
    /// under way.
    has_filed: bool,
    /// Mail that is on its way to connections of the thread alone.
    round: Option<DeliveryPass<Message<S>>>,
    passes: Passes,
    outcomes: Arc<Outcomes>,
    measures: Option<Arc<Measures>>,
    headers: Option<Arc<HeaderQueue>>,
    /// The buffers of connections are counted.
    limits_memory: bool,
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
            connect_options: ConnectOptions {
                stream: config.stream.clone(),
                ..ConnectOptions::default()
            },
            turn: 0,
            is_timed: config.adjustable || idle.or(write).or(linger).is_some(),
            is_draining: false,
            due: Vec::with_capacity(TIMER_STEPS_MAX),
            current: None,
            requests: Vec::new(),
            connects: Vec::new(),
            calls: Vec::new(),
            has_filed: false,
            round: None,
            passes: Passes::default(),
            outcomes: Arc::clone(&parts.outcomes),
            measures: parts.measures.clone(),
            headers: parts.headers.clone(),
            limits_memory: parts.control.limits_memory(),
        }
    }

    /// Returns what the threads have in common.
    pub(crate) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// Returns what has become of the connections of the thread so far.
    pub(crate) fn stats(&self) -> Stats {
        self.outcomes.stats(S::FINISHED)
    }

    /// Returns the time to date activity with, if anybody will ask.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        if self.is_timed { Timestamp::now() } else { Timestamp::EPOCH }
    }

    /// Returns the number of the last turn that a protocol knows of.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// Returns the same for a turn that goes on, whose time is known.
    #[inline]
    pub(crate) fn now_in_turn(&mut self) -> Timestamp {
        if self.is_timed { self.thread.now() } else { Timestamp::EPOCH }
    }

    /// Begins a turn for the protocols of the thread, unless it has begun. The hot path does without it:
    /// callbacks are called off it.
    pub(crate) fn begin_turn(&mut self, Turn { number, now }: Turn) {
        if self.turn != number {
            self.turn = number;
            self.thread.begin_turn(self.is_timed.then_some(now));
        }
    }

    /// Finishes a step, and does what it asks for. A hot loop has it out of line.
    #[inline]
    pub(crate) fn finish_step<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
        rest: StepRest,
        readiness: Readiness,
        turn: Turn,
    ) -> Option<R> {
        self.begin_turn(turn);
        let token = entry.token();
        let step = entry.finish_step(rest, readiness, token, &mut self.thread, turn.now);
        self.apply(entry, step, readiness)
    }

    /// Does what the step of a connection asks for; gives it back if it is still open.
    #[inline]
    pub(crate) fn apply<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        entry: R,
        step: Step,
        readiness: Readiness,
    ) -> Option<R> {
        self.file_if_shared();
        if self.limits_memory {
            return self.apply_counted(entry, step, readiness);
        }
        self.apply_step(entry, step, readiness)
    }

    #[inline]
    fn apply_step<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        entry: R,
        step: Step,
        readiness: Readiness,
    ) -> Option<R> {
        match step {
            // The caller gives the bytes to their receiver: it has the connections, see `forward`.
            Step::Wait | Step::Forward => Some(entry),
            Step::Done(reason) => {
                self.close(entry, Closed::Over(reason));
                None
            }
            step => self.apply_change(entry, step, readiness),
        }
    }

    /// Counts what the buffers of the connection take, and closes it if they have grown too much.
    #[cold]
    #[inline(never)]
    fn apply_counted<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
        step: Step,
        readiness: Readiness,
    ) -> Option<R> {
        let is_too_much = self.control.note_buffered(entry.connection.count_buffered());
        // Bytes on their way to another connection come back first; the step after that is asked as well.
        if is_too_much && !matches!(step, Step::Done(_) | Step::Forward) {
            self.close(entry, Closed::BuffersFull);
            return None;
        }
        self.apply_step(entry, step, readiness)
    }

    #[cold]
    #[inline(never)]
    fn apply_change<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
        step: Step,
        readiness: Readiness,
    ) -> Option<R> {
        match step {
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
            step => self.apply(entry, step, readiness),
        }
    }

    fn splice<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        entry: &mut R,
        readiness: Readiness,
    ) -> Step {
        let now = self.now();
        // If descriptors are lacking, the bytes are copied this time.
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
        let registered = entry.interest();
        let interest = self.mode.interest(entry.connection.interest(), registered);
        if interest != registered {
            let changed = match interest {
                Some(interest) => entry.set_interest(interest),
                None => entry.park(),
            };
            if let Err(error) = changed {
                tracing::warn!(%error, "connection not watched any more");
                self.close(entry, Closed::Unwatched);
                return None;
            }
        }
        let awaits = entry.connection.awaits();
        let has_changed = awaits != entry.awaits;
        let is_established = has_changed && entry.awaits == Awaits::Connect;
        if has_changed {
            self.outcomes.awaits(entry.awaits, Some(awaits));
            entry.awaits = awaits;
            if awaits == Awaits::Close {
                // The linger timeout begins here.
                entry.last_activity = Timestamp::now();
            }
        }
        if has_changed || entry.connection.deadline().is_some() {
            self.set_timer(&mut entry);
        }
        if is_established { self.catch_up(entry) } else { Some(entry) }
    }

    /// Gives an outgoing connection that was just established what others may have been given meanwhile.
    #[cold]
    fn catch_up<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
    ) -> Option<R> {
        // It has taken over the limit that this thread knew of.
        self.apply_limits(&mut entry);
        self.set_timer(&mut entry);
        // Asked anew: the drain may have begun, and passed this connection, since the turn began.
        if self.control.drain.draining().is_some() {
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
        if self.limits_memory && self.control.is_short_of_memory() {
            return self.refuse(&peer, Refusal::BuffersFull);
        }
        if self.headers.is_some() {
            return self.accept_headless(Headless::new(listener, stream, peer), connections);
        }
        let control = Arc::clone(&self.control);
        match control.admission.admit(&peer) {
            Ok(()) => {
                let permit = Permit { control: &control, peer };
                self.serve(listener, stream, permit, connections);
            }
            Err(refusal) => self.refuse(&peer, refusal),
        }
    }

    /// Serves a connection that was admitted.
    // In line: a call would cost every connection that is accepted some fifty instructions.
    #[inline(always)]
    fn serve<C: Connections<S::Protocol>>(
        &mut self,
        listener: usize,
        stream: Stream,
        permit: Permit<'_>,
        connections: &mut C,
    ) {
        let mut is_declined = false;
        // All of it: a listener that others share is watched again after its batch.
        self.isolate(connections, |handler, connections| {
            // A service that panics makes no protocol either.
            is_declined = true;
            let peer = permit.peer;
            match handler.service.accept(listener, &peer, &mut handler.thread.local) {
                Some(protocol) => {
                    is_declined = false;
                    handler.insert(Connection::new(protocol, stream), permit, connections);
                }
                None => tracing::debug!(%peer, "connection declined"),
            }
        });
        if is_declined {
            self.outcomes.declined.add(1);
        }
    }

    #[cold]
    fn refuse(&mut self, peer: &Peer, refusal: Refusal) {
        self.outcomes.refused(refusal);
        let reason = refusal.reason();
        tracing::debug!(%peer, "connection refused: {reason}");
        if let Some(count) = self.control.refusals.note(refusal, Timestamp::now()) {
            tracing::warn!(count, %peer, "connections refused: {reason}");
        }
    }

    /// Registers a connection, and opens it if it is established.
    fn insert<C: Connections<S::Protocol>>(
        &mut self,
        connection: Connection<S::Protocol, epoll_reactor::net::Stream>,
        permit: Permit<'_>,
        connections: &mut C,
    ) {
        let (peer, opened) = (permit.peer, self.thread.now());
        // One that begins with a pause is parked by the first step's end.
        let watch = self.mode.watch(connection.interest().unwrap_or_default());
        let client = Client::new(connection, peer, opened);
        match connections.insert(client, watch) {
            Ok(mut entry) => {
                // Whoever closes it releases the permit.
                permit.keep();
                if self.mode.is_shared() {
                    // While it is in hand: the pass over all connections may have been here.
                    self.refresh_limits();
                }
                self.outcomes.opened.add(1);
                tracing::debug!(%peer, "connection opened");
                let token = entry.token();
                self.current = Some(token);
                let client: &mut Client<S::Protocol> = &mut entry;
                let step = if client.awaits == Awaits::Connect {
                    Step::Wait
                } else {
                    let thread = &mut self.thread;
                    client.date(opened, |client| client.connection.open(token, thread))
                };
                if let Some(mut entry) = self.apply(entry, step, Readiness::IN) {
                    // The pass over all connections may have been here. What it forwards goes first: then its
                    // timer has it told.
                    if self.is_draining && !self.thread.has_forward() {
                        self.tell_drain(entry);
                    } else {
                        self.set_timer(&mut entry);
                    }
                }
                self.current = None;
            }
            Err(mut failed) => {
                self.outcomes.unwatched.add(1);
                tracing::warn!(%peer, error = %failed.error, "connection not watched");
                // One that was accepted has not been opened.
                let connection = &mut failed.source.connection;
                if connection.awaits() == Awaits::Connect {
                    connection.fail_to_connect(failed.error.kind(), &mut self.thread);
                }
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
        match closed {
            Closed::Over(_) => {}
            Closed::Panicked => entry.connection.abandon(&mut self.thread),
            // If it panics, the connection is closed again, which releases its permit.
            _ => entry.connection.close(token, &mut self.thread),
        }
        // In this order they are dropped: whoever is told that all is over may count descriptors.
        let permit = Permit { control: &control, peer: entry.peer };
        let closing = CloseOnDrop(Some(entry));
        if let CloseOnDrop(Some(entry)) = &closing {
            self.record_close(entry, Some(token), closed);
        }
        drop(closing);
        if self.mode.is_shared() {
            // Only now nobody holds anything more for it.
            drop_each(self.post.take_held(token));
            self.file_if_shared();
        }
        drop(permit);
    }

    /// Logs and counts the end of a connection. Its timer is left to the next one in its slot.
    fn record_close(&mut self, client: &Client<S::Protocol>, token: Option<Token>, closed: Closed) {
        let connection = &client.connection;
        let (received, sent) = (connection.received(), connection.sent());
        let lived_s = client.lived_s(self.thread.now());
        tracing::debug!(
            peer = %client.peer, received, sent, lived_s,
            reason = closed.name(S::FINISHED), "connection closed"
        );
        if let Closed::Over(CloseReason::Misuse(misuse)) = closed {
            let protocol = type_name::<S::Protocol>();
            tracing::error!(protocol, ?misuse, "a protocol has broken its rules");
        }
        if self.limits_memory {
            let now = client.connection.buffered_before();
            self.control.note_buffered(Buffered { before: now, now: 0 });
        }
        if matches!(
            closed,
            Closed::Stalled | Closed::BuffersFull | Closed::Over(CloseReason::Aborted)
        ) {
            // Of one that stalls, what waits in the socket would keep the kernel busy for minutes. The peer
            // of one that is aborted must not take it for an end.
            if let Err(error) = connection.transport().reset_on_close() {
                tracing::debug!(%error, "connection not reset");
            }
        }
        if let Some(token) = token.filter(|_| client.is_looked_at()) {
            lock(&self.timing).samples.remove(&token);
        }
        self.outcomes.awaits(client.awaits, None);
        self.outcomes.closed(closed, received, sent, lived_s);
    }

    /// Does a part of a turn. If a callback panics in it, its connection is closed, `None` is returned, and
    /// the turn goes on: what is left of it concerns other connections.
    pub(crate) fn isolate<C: Connections<S::Protocol>, T>(
        &mut self,
        connections: &mut C,
        part: impl FnOnce(&mut Self, &mut C) -> T,
    ) -> Option<T> {
        let done = catch(|| {
            let done = part(self, connections);
            if self.thread.has_forward() {
                self.forward(connections);
            }
            done
        });
        let current = self.current.take();
        if done.is_none() {
            self.close_panicked(current, connections);
        }
        done
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
        catch(|| {
            self.thread.recover();
            self.thread.begin_turn(None);
            // Whatever it holds must reach nobody else.
            self.pipe = None;
            // A pass over the timers that was left early has not set the timerfd.
            if let Err(error) = lock(&self.timing).timers.rearm() {
                tracing::error!(%error, "timers not set");
            }
            if let Some(entry) = panicked.and_then(|token| connections.entry(token)) {
                self.close(entry, Closed::Panicked);
            }
        });
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

/// Makes a pipe with room for as many bytes as the limits allow at once, if the kernel permits that.
fn new_pipe(limits: &Limits) -> io::Result<Pipe> {
    let pipe = Pipe::new()?;
    let len = limits.splice_bytes_max.map_or(0, NonZeroUsize::get);
    if len > PIPE_LEN {
        // A smaller one takes more calls.
        let _ = pipe.set_capacity(len);
    }
    Ok(pipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    /// Returns how many bytes a new pipe takes.
    fn room(splice_bytes_max: usize) -> usize {
        let splice_bytes_max = NonZeroUsize::new(splice_bytes_max);
        let pipe = new_pipe(&Limits { splice_bytes_max, ..Limits::default() }).unwrap();
        let mut writer = File::from(pipe.writer().try_clone_to_owned().unwrap());
        std::iter::from_fn(|| writer.write(&[0; 4096]).ok()).sum()
    }

    #[test]
    fn a_pipe_has_room_for_one_splice_and_never_less_than_it_comes_with() {
        assert_eq!([0, 4096, PIPE_LEN].map(room), [PIPE_LEN; 3]);
        assert_eq!(room(2 * PIPE_LEN), 2 * PIPE_LEN);
    }
}
