//! What a thread does with connections: it answers their steps, minds their timers and closes them.
//! Whether they are its own or shared with other threads makes no difference here.

use crate::client::{Client, Due, Queue};
use crate::common::Common;
use crate::connections::{Connections, Held};
use crate::seats::Refusal;
use crate::stats::{Closed, Stats};
use crate::worker::Service;
use crate::{Config, Timeouts};
use epoll_echo::{Connection, Mode, Rules, Step};
use epoll_reactor::epoll_sys::Pipe;
use epoll_reactor::net::{Accepted, Peer, Stream};
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Interest, Reactor, Readiness, Token};
use epoll_timers::{Clock, Timers, Timestamp};
use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many timers a pass may touch before the loop looks after its connections again.
const TIMER_STEPS_MAX: usize = 1024;
/// What a pipe has room for without being asked, in bytes.
const PIPE_LEN: usize = 64 * 1024;
/// When a timer comes back whose connection is in other hands, or is just going to be seen to.
const SOON: Duration = Duration::from_millis(10);

pub(crate) struct Clients {
    common: Arc<Common>,
    timing: Arc<Mutex<Timing>>,
    pub(crate) mode: Mode,
    pub(crate) rules: Rules,
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

/// The timers of connections that are kept together.
///
/// Who locks it may have a connection in hand, but does not wait for one.
pub(crate) struct Timing {
    timers: Timers<Token>,
    /// Of connections that wait for room, those that were looked at.
    queues: HashMap<Token, Queue>,
}

impl Timing {
    pub(crate) fn new(timers: Timers<Token>) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { timers, queues: HashMap::new() }))
    }
}

impl Clients {
    pub(crate) fn new(config: &Config, common: Arc<Common>, timing: Arc<Mutex<Timing>>) -> Self {
        let Timeouts { idle, write, linger, drain: _ } = config.timeouts;
        Self {
            common,
            timing,
            mode: config.mode,
            rules: config.rules(),
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
        if self.is_timed { Clock::Monotonic.now() } else { Timestamp::EPOCH }
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
        if self.is_draining { Clock::Monotonic.now() } else { turn }
    }

    /// Like [`obey`](Self::obey), for a connection of the thread's own.
    #[cold]
    pub(crate) fn obey_own(
        &mut self,
        reactor: &mut Reactor<Client, Service>,
        token: Token,
        step: Step,
        readiness: Readiness,
    ) {
        if let Some(held) = Held::of(reactor, token) {
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
            Step::Watch(interest) => self.watch(held, interest),
            Step::Yield => {
                come_back(&mut held, readiness);
                Some(held)
            }
            Step::Splice => {
                let step = self.splice(&mut held, readiness);
                self.obey(held, step, readiness)
            }
            Step::Linger => {
                let mut held = self.watch(held, Connection::<Stream>::FIRST_INTEREST)?;
                come_back(&mut held, readiness);
                Some(held)
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
        let mut pipe = self.pipe.take().or_else(|| new_pipe(&self.rules).ok());
        let has_pipe = pipe.is_some();
        let step = held.connection.splice(readiness, &self.rules, &mut pipe, now);
        if has_pipe && pipe.is_none() {
            tracing::warn!("nothing can be spliced, long streams are copied");
            self.rules.splice_bytes_max = None;
        }
        self.pipe = pipe;
        step
    }

    /// Changes what a connection is watched for, and the timeout that goes with it.
    fn watch<'a>(&mut self, mut held: Held<'a>, wanted: Interest) -> Option<Held<'a>> {
        match held.watch_for(self.mode.interest(wanted)) {
            Ok(()) => {
                self.set_timer(&mut held);
                Some(held)
            }
            Err(error) => {
                tracing::warn!(%error, "connection not watched any more");
                self.close(held, Closed::Unwatched);
                None
            }
        }
    }

    /// Sets a connection's timer for what will be due next.
    pub(crate) fn set_timer(&mut self, held: &mut Held<'_>) {
        let token = held.token();
        let mut timing = lock(&self.timing);
        let queue = timing.queues.get(&token).copied();
        let due = held.due(&self.timeouts, self.common.draining(), queue);
        let Some((deadline, _)) = due else {
            held.timer.take().map(|key| timing.timers.cancel(key));
            return;
        };
        let known = held.timer.map_or(Ok(false), |key| timing.timers.reschedule(key, deadline));
        let set = known.and_then(|is_known| {
            if !is_known {
                held.timer = Some(timing.timers.insert(deadline, token)?);
            }
            Ok(())
        });
        if let Err(error) = set {
            tracing::error!(%error, "timer not set");
        }
    }

    /// Takes a connection in, or refuses it.
    pub(crate) fn accept(&mut self, accepted: Accepted, connections: &mut Connections) {
        let Accepted { stream, peer } = accepted;
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
        let connection = Connection::new(stream, &self.rules, Clock::Monotonic.now());
        let client = Client { connection, peer, timer: None };
        match connections.insert(client, self.mode.watch(Connection::<Stream>::FIRST_INTEREST)) {
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

    /// The timers' descriptor was reported.
    pub(crate) fn expire(
        &mut self,
        connections: &mut Connections,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let now = Clock::Monotonic.now();
        let draining = self.common.draining();
        let mut timing = lock(&self.timing);
        let Timing { timers, queues } = &mut *timing;
        // A pass that is not complete leaves the descriptor readable: the next turn goes on.
        let _ = timers.expire(now, TIMER_STEPS_MAX, |timers, key| {
            let token = *timers.get(key)?;
            if let Some(mut client) = connections.hold(token) {
                match client.due(&self.timeouts, draining, queues.get(&token).copied()) {
                    Some((deadline, _)) if deadline > now => return Some(deadline),
                    Some(_) => {}
                    None => {
                        client.timer = None;
                        return None;
                    }
                }
            }
            // Whoever sees to it sets the timer anew. If nobody does, it comes back.
            self.due.push(token);
            connections.contains(token).then(|| now + SOON)
        })?;
        drop(timing);
        let mut due = std::mem::take(&mut self.due);
        for token in due.drain(..) {
            if let Some(held) = connections.hold_or_call(token) {
                self.in_hand = Some(token);
                self.see_to(held, buffer);
            }
        }
        self.in_hand = None;
        self.due = due;
        Ok(())
    }

    /// Does what is due for a connection, and sets its timer for what comes next.
    ///
    /// First of all it is looked whether there is something to do for it: after a stop, or a long turn,
    /// its timer may be reported before bytes that came earlier, and then it was not quiet.
    #[cold]
    pub(crate) fn see_to(&mut self, mut held: Held<'_>, buffer: &mut [u8]) {
        let now = Clock::Monotonic.now();
        if self.due_by(&held, now).is_some() {
            // Nothing is known of the end, so it is looked for.
            let readiness = Readiness::IN | Readiness::OUT | Readiness::RDHUP;
            let step = held.connection.step(readiness, &self.rules, buffer, now);
            match self.obey(held, step, readiness) {
                Some(still) => held = still,
                None => return,
            }
        }
        let step = match self.due_by(&held, now) {
            None => Step::Wait,
            Some(Due::Close(Closed::LingeredOut)) if self.is_still_taking(&held, now) => Step::Wait,
            Some(Due::Close(closed)) => return self.close(held, closed),
            Some(Due::Look) if self.is_stalled(&held, now) => {
                return self.close(held, Closed::Stalled);
            }
            Some(Due::Look) => Step::Wait,
            Some(Due::Finish) if self.is_quiet(&held, now) => {
                held.connection.finish(&self.rules, buffer, now)
            }
            Some(Due::Finish) => Step::Wait,
            Some(Due::End) => held.connection.end(now),
        };
        if let Some(mut held) = self.obey(held, step, Readiness::IN) {
            self.set_timer(&mut held);
        }
    }

    /// What is due for a connection, if its time has come.
    fn due_by(&self, held: &Held<'_>, now: Timestamp) -> Option<Due> {
        let queue = lock(&self.timing).queues.get(&held.token()).copied();
        let due = held.due(&self.timeouts, self.common.draining(), queue);
        due.filter(|&(deadline, _)| deadline <= now).map(|(_, what)| what)
    }

    /// Whether the peer has taken nothing for as long as it may.
    fn is_stalled(&mut self, held: &Held<'_>, now: Timestamp) -> bool {
        let Some(limit) = self.timeouts.write else { return false };
        // An error is the socket's, and the next write will tell.
        let unsent = held.connection.transport().unsent().unwrap_or(0);
        let since = held.connection.since();
        let queues = &mut lock(&self.timing).queues;
        let before = queues.get(&held.token()).filter(|queue| queue.since > since);
        let moved = match before {
            Some(queue) if unsent >= queue.unsent => queue.since,
            _ => now,
        };
        queues.insert(held.token(), Queue { since: moved, looked: now, unsent });
        now - moved >= limit
    }

    /// Whether the peer of a connection that lingers has taken something since the last look. To close it
    /// now would destroy what it has yet to take.
    fn is_still_taking(&mut self, held: &Held<'_>, now: Timestamp) -> bool {
        let unsent = held.connection.transport().unsent().unwrap_or(0);
        let began = held.connection.since();
        let queues = &mut lock(&self.timing).queues;
        let before = queues.get(&held.token()).filter(|queue| queue.looked > began);
        let is_taking = before.map_or(unsent > 0, |queue| unsent < queue.unsent);
        if is_taking {
            queues.insert(held.token(), Queue { since: now, looked: now, unsent });
        }
        is_taking
    }

    /// Whether nothing has moved between two looks. A single one proves nothing: what moved is dated
    /// by the beginning of its turn, and a turn can take long.
    fn is_quiet(&mut self, held: &Held<'_>, now: Timestamp) -> bool {
        let queues = &mut lock(&self.timing).queues;
        let look = Queue { since: held.connection.since(), looked: now, unsent: 0 };
        let before = queues.insert(held.token(), look);
        before.is_some_and(|before| before.since == look.since)
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
        let lived_s = (Clock::Monotonic.now() - connection.began()).as_secs();
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
fn new_pipe(rules: &Rules) -> io::Result<Pipe> {
    let pipe = Pipe::new()?;
    let len = rules.splice_bytes_max.map_or(0, NonZeroUsize::get);
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

fn lock(timing: &Mutex<Timing>) -> MutexGuard<'_, Timing> {
    // A panic may leave a timer too many or too few; the server lives on.
    timing.lock().unwrap_or_else(PoisonError::into_inner)
}
