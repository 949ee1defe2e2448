//! What time does to connections: their timers are set for what is due next, and when that time has
//! come, it is done.

use super::Clients;
use crate::client::{Due, Queue};
use crate::connections::{Connections, Held};
use crate::stats::Closed;
use epoll_connection::Step;
use epoll_reactor::{Readiness, Token};
use epoll_timers::{Timers, Timestamp};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many timers a pass may touch before the loop looks after its connections again.
pub(super) const TIMER_STEPS_MAX: usize = 1024;
/// When a timer comes back whose connection is in other hands, or is just going to be seen to.
const SOON: Duration = Duration::from_millis(10);

/// The timers of connections that are kept together.
///
/// Who locks it may have a connection in hand, but does not wait for one.
pub(crate) struct Timing {
    pub(super) timers: Timers<Token>,
    /// Of connections that wait for room, those that were looked at.
    pub(super) queues: HashMap<Token, Queue>,
}

impl Timing {
    pub(crate) fn new(mut timers: Timers<Token>) -> Arc<Mutex<Self>> {
        timers.set_steps_max(TIMER_STEPS_MAX);
        Arc::new(Mutex::new(Self { timers, queues: HashMap::new() }))
    }
}

impl Clients {
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

    /// The timers' descriptor was reported.
    pub(crate) fn expire(&mut self, connections: &mut Connections) -> io::Result<()> {
        let now = Timestamp::now();
        let draining = self.common.draining();
        let mut timing = lock(&self.timing);
        let Timing { timers, queues } = &mut *timing;
        // A pass that is not complete leaves the descriptor readable: the next turn goes on.
        while let Some(fired) = timers.next_due(now)? {
            let token = fired.value;
            if let Some(mut client) = connections.hold(token) {
                match client.due(&self.timeouts, draining, queues.get(&token).copied()) {
                    Some((deadline, _)) if deadline > now => {
                        timers.restart(fired, deadline)?;
                        continue;
                    }
                    Some(_) => {}
                    None => {
                        client.timer = None;
                        continue;
                    }
                }
            }
            // Whoever sees to it sets the timer anew. If nobody does, it comes back.
            self.due.push(token);
            if connections.contains(token) {
                // At once, so that it keeps its key, which the client has.
                timers.restart(fired, now + SOON)?;
            }
        }
        drop(timing);
        let mut due = std::mem::take(&mut self.due);
        for token in due.drain(..) {
            if let Some(held) = connections.hold_or_call(token) {
                self.in_hand = Some(token);
                self.see_to(held);
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
    pub(crate) fn see_to(&mut self, mut held: Held<'_>) {
        let now = Timestamp::now();
        if self.due_by(&held, now).is_some() {
            // Nothing is known of the end, so it is looked for.
            let readiness = Readiness::IN | Readiness::OUT | Readiness::RDHUP;
            let token = held.token();
            let step = held.step(readiness, token, &mut self.thread, now);
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
                let token = held.token();
                let before = held.moved();
                let step = held.connection.finish(token, &mut self.thread);
                if held.moved() != before {
                    held.last_activity = now;
                }
                step
            }
            Some(Due::Finish) => Step::Wait,
            Some(Due::End) => {
                let token = held.token();
                held.connection.end(token, &mut self.thread)
            }
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
        let since = held.last_activity;
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
        let began = held.last_activity;
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
        let look = Queue { since: held.last_activity, looked: now, unsent: 0 };
        let before = queues.insert(held.token(), look);
        before.is_some_and(|before| before.since == look.since)
    }
}

pub(super) fn lock(timing: &Mutex<Timing>) -> MutexGuard<'_, Timing> {
    // A panic may leave a timer too many or too few; the server lives on.
    timing.lock().unwrap_or_else(PoisonError::into_inner)
}
