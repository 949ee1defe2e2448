//! What a thread does with connections: it answers their steps, minds their timers and closes them.
//! Whether they are its own or shared with other threads makes no difference here.

mod due;

pub(crate) use due::Timing;

use crate::client::Client;
use crate::common::Common;
use crate::connections::{Connections, Held};
use crate::seats::Refusal;
use crate::stats::{Closed, Stats};
use crate::worker::Service;
use crate::{Config, Mode, Timeouts};
use due::{TIMER_STEPS_MAX, lock};
use epoll_connection::{Awaits, Clocks, Limits, Step, StepRest, ThreadState};
use epoll_echo::Echo;
use epoll_reactor::epoll_sys::Pipe;
use epoll_reactor::net::{Accepted, Peer};
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Reactor, Readiness, Token};
use epoll_timers::Timestamp;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a pipe has room for without being asked, in bytes.
const PIPE_LEN: usize = 64 * 1024;

pub(crate) struct Clients {
    common: Arc<Common>,
    timing: Arc<Mutex<Timing>>,
    pub(crate) mode: Mode,
    pub(crate) thread: ThreadState<Echo>,
    /// What long streams go through, from the first one on. It holds nothing but while a connection
    /// is at work.
    pipe: Option<Pipe>,
    timeouts: Timeouts,
    /// Whether activity has to be dated.
    is_timed: bool,
    is_draining: bool,
    /// Whose time has come, as a pass over the timers has found.
    due: Vec<Token>,
    /// Whose time has come and is being seen to.
    in_hand: Option<Token>,
    stats: Arc<Mutex<Stats>>,
}

impl Clients {
    pub(crate) fn new(config: &Config, common: Arc<Common>, timing: Arc<Mutex<Timing>>) -> Self {
        let Timeouts { idle, write, linger, drain: _ } = config.timeouts;
        Self {
            common,
            timing,
            mode: config.mode,
            thread: ThreadState::new(
                0,
                config.quit_word.clone(),
                config.limits(),
                Clocks::default(),
            ),
            pipe: None,
            timeouts: config.timeouts,
            is_timed: idle.or(write).or(linger).is_some(),
            is_draining: false,
            due: Vec::with_capacity(TIMER_STEPS_MAX),
            in_hand: None,
            stats: Arc::default(),
        }
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for another thread to look at.
    pub(crate) fn shared_stats(&self) -> Arc<Mutex<Stats>> {
        Arc::clone(&self.stats)
    }

    /// The time to date activity with, if anybody will ask.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        if self.is_timed { Timestamp::now() } else { Timestamp::EPOCH }
    }

    /// From now on activity has to be dated in any case, if the server drains.
    pub(crate) fn heed_drain(&mut self) {
        self.is_draining = self.common.draining().is_some();
        self.is_timed |= self.is_draining;
    }

    /// The time to date a single step with, given that of its turn. While the server drains that is
    /// not good enough where threads share connections: two turns, one of them long, may overlap.
    #[inline]
    pub(crate) fn now_within(&self, turn: Timestamp) -> Timestamp {
        if self.is_draining { Timestamp::now() } else { turn }
    }

    /// Finishes the step of a connection of the thread's own, and does what it has asked for.
    #[cold]
    #[inline(never)]
    pub(crate) fn finish_own(
        &mut self,
        reactor: &mut Reactor<Client, Service>,
        rest: StepRest,
        readiness: Readiness,
        now: Timestamp,
    ) {
        // Its token is asked for here, so that the usual case does not keep it.
        let Some(token) = reactor.last_reported() else { return };
        let Some(mut held) = Held::of(reactor, token) else { return };
        let step = held.finish_step(rest, readiness, token, &mut self.thread, now);
        if step != Step::Wait {
            self.obey(held, step, readiness);
        }
    }

    /// Does what a connection has asked for; gives it back if it is still open.
    #[cold]
    pub(crate) fn obey<'a>(
        &mut self,
        mut held: Held<'a>,
        step: Step,
        readiness: Readiness,
    ) -> Option<Held<'a>> {
        match step {
            Step::Wait => Some(held),
            Step::Changed => self.refresh(held),
            Step::Yield => {
                let mut held = self.refresh(held)?;
                come_back(&mut held, readiness);
                Some(held)
            }
            Step::Splice => {
                let step = self.splice(&mut held, readiness);
                self.obey(held, step, readiness)
            }
            Step::Done(reason) => {
                self.close(held, Closed::Over(reason));
                None
            }
        }
    }

    fn splice(&mut self, held: &mut Held<'_>, readiness: Readiness) -> Step {
        let now = self.now();
        // Where descriptors are lacking, this time bytes are copied.
        let mut pipe = self.pipe.take().or_else(|| new_pipe(self.thread.limits()).ok());
        let has_pipe = pipe.is_some();
        let (token, before) = (held.token(), held.moved());
        let step = held.connection.splice(readiness, &mut pipe, token, &mut self.thread);
        if held.moved() != before {
            held.last_activity = now;
        }
        if has_pipe && pipe.is_none() {
            tracing::warn!("nothing can be spliced, long streams are copied");
            self.thread.limits_mut().splice_bytes_max = None;
        }
        self.pipe = pipe;
        step
    }

    /// Compares what a connection waits for with its registration and its timer.
    fn refresh<'a>(&mut self, held: Held<'a>) -> Option<Held<'a>> {
        let mut held = self.watch(held)?;
        let awaits = held.connection.awaits();
        if awaits != held.awaits {
            held.awaits = awaits;
            if awaits == Awaits::Close {
                // The linger timeout begins here.
                held.last_activity = Timestamp::now();
            }
            self.set_timer(&mut held);
        }
        Some(held)
    }

    /// Watches a connection for its interest, if that is not what is registered.
    fn watch<'a>(&mut self, mut held: Held<'a>) -> Option<Held<'a>> {
        let interest = self.mode.interest(held.connection.interest());
        if interest == held.registered {
            return Some(held);
        }
        match held.watch_for(interest) {
            Ok(()) => {
                held.registered = interest;
                Some(held)
            }
            Err(error) => {
                tracing::warn!(%error, "connection not watched any more");
                self.close(held, Closed::Unwatched);
                None
            }
        }
    }

    /// Takes a connection in, or refuses it.
    pub(crate) fn accept(&mut self, accepted: Accepted, connections: &mut Connections) {
        let Accepted { stream, peer } = accepted;
        let peer = Peer::from(&peer);
        let common = Arc::clone(&self.common);
        let seat = match common.seats.take(&peer) {
            Ok(()) => Seat::of(&common, peer),
            Err(refusal) => {
                *self.stats().refusals(refusal) += 1;
                let which = match refusal {
                    Refusal::Full => "--max-connections",
                    Refusal::PeerFull => "--max-per-peer",
                };
                tracing::debug!(%peer, "connection refused: {which} is reached");
                return;
            }
        };
        let mut client = Client::new(stream, peer, Timestamp::now());
        client.registered = self.mode.interest(client.registered);
        let watch = self.mode.watch(client.connection.interest());
        match connections.insert(client, watch) {
            Ok(mut held) => {
                // Whoever closes it gives the seat back.
                seat.keep();
                self.stats().opened += 1;
                tracing::debug!(%peer, "connection opened");
                self.set_timer(&mut held);
            }
            Err(failed) => {
                self.stats().unwatched += 1;
                tracing::warn!(%peer, error = %failed.error, "connection not watched");
            }
        }
    }

    /// From now on connections that are quiet are finished, and all are ended at half time.
    pub(crate) fn drain(&mut self, connections: &mut Connections) {
        self.heed_drain();
        for token in connections.tokens() {
            // Whoever has it just now is called, and sets its timer.
            if let Some(mut held) = connections.hold_or_call(token) {
                self.set_timer(&mut held);
            }
        }
    }

    /// Closes every connection that is left; their number.
    pub(crate) fn cut(&mut self, connections: &mut Connections) -> u64 {
        let Some(shared) = connections.shared.take() else {
            let tokens = connections.tokens();
            let held = tokens.into_iter().filter_map(|token| {
                self.close(connections.hold(token)?, Closed::Cut);
                Some(())
            });
            return held.count() as u64;
        };
        // Some may be in nobody's hands and yet not free: they were to be handed out again.
        let left = Arc::into_inner(shared).into_iter().flat_map(SharedReactor::into_sources);
        left.map(|client| self.account(&client, None, Closed::Cut)).count() as u64
    }

    #[cold]
    pub(crate) fn close(&mut self, held: Held<'_>, closed: Closed) {
        let common = Arc::clone(&self.common);
        let token = held.token();
        // In this order they are dropped: whoever is told that all is over may count descriptors.
        let seat = Seat::of(&common, held.peer);
        let closing = Closing(Some(held));
        if let Closing(Some(held)) = &closing {
            self.account(held, Some(token), closed);
        }
        drop(closing);
        drop(seat);
    }

    /// Logs and counts the end of a connection, and ends its timer.
    fn account(&mut self, client: &Client, token: Option<Token>, closed: Closed) {
        let connection = &client.connection;
        let (received, sent) = (connection.received(), connection.sent());
        let lived_s = (Timestamp::now() - client.began()).as_secs();
        let reason = closed.name();
        tracing::debug!(peer = %client.peer, received, sent, lived_s, reason, "connection closed");
        if closed == Closed::Stalled {
            // What waits in the socket would keep the kernel busy for minutes; it is discarded.
            if let Err(error) = connection.transport().reset_on_close() {
                tracing::debug!(%error, "connection not reset");
            }
        }
        let mut timing = lock(&self.timing);
        if let Some(key) = client.timer {
            timing.timers.cancel(key);
        }
        token.and_then(|token| timing.queues.remove(&token));
        self.stats().closed(closed, received, sent, lived_s);
    }

    /// Closes the connection whose handler has panicked.
    pub(crate) fn bury(&mut self, connections: &mut Connections) {
        let in_hand = self.in_hand.take();
        // A pass over the timers that was left early has not set the timerfd.
        if let Err(error) = lock(&self.timing).timers.rearm() {
            tracing::error!(%error, "timers not set");
        }
        if connections.shared.is_some() {
            // Its lease has seen to that.
            return;
        }
        let culprit = in_hand.or_else(|| connections.own.last_reported());
        if let Some(held) = culprit.and_then(|token| Held::of(&mut connections.own, token)) {
            self.close(held, Closed::Panicked);
        }
    }

    /// What has become of all connections so far, those of this thread that are open included, and how
    /// many of these could not be looked at because they were at work.
    pub(crate) fn stats_so_far(&self, connections: &mut Connections) -> (Stats, usize) {
        let (mut stats, mut unseen) = (self.stats().clone(), 0);
        for token in connections.tokens() {
            match connections.hold(token) {
                Some(held) => {
                    stats.received += held.connection.received();
                    stats.sent += held.connection.sent();
                }
                None => unseen += 1,
            }
        }
        (stats, unseen)
    }
}

/// A seat that is given back when this is dropped, also by a panic.
struct Seat<'a> {
    common: &'a Common,
    peer: Peer,
}

impl<'a> Seat<'a> {
    fn of(common: &'a Common, peer: Peer) -> Self {
        Self { common, peer }
    }

    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.common.seats.give_back(&self.peer);
        self.common.tell_if_over();
    }
}

/// A connection that is closed when this is dropped, also by a panic: to give it back to where it was
/// would have it closed again, and again.
struct Closing<'a>(Option<Held<'a>>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            held.close();
        }
    }
}

/// With room for as much as the rules allow at once, if that may be.
fn new_pipe(limits: &Limits) -> io::Result<Pipe> {
    let pipe = Pipe::new()?;
    let len = limits.splice_bytes_max.map_or(0, NonZeroUsize::get);
    if len > PIPE_LEN {
        // A smaller one takes more calls.
        let _ = pipe.set_capacity(len);
    }
    Ok(pipe)
}

fn come_back(held: &mut Held<'_>, readiness: Readiness) {
    // What it reads next may not be what it was reported for.
    held.come_back(readiness | Readiness::IN);
}
