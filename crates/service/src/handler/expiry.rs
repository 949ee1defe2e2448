//! The timers of connections: each is set for the earliest deadline, which is handled when it has passed.

use super::Handler;
use crate::Service;
use crate::client::Client;
use crate::stats::Closed;
use crate::store::Connections;
use crate::timeouts::{self, Deadline, Sample};
use crate::timing::{Timing, lock};
use epoll_connection::{Protocol, Step};
use epoll_reactor::{Readiness, Registration};
use epoll_timers::Timestamp;
use std::io;
use std::time::Duration;

/// The time after which a timer fires again whose connection is in other hands, or about to be handled.
const RETRY_DELAY: Duration = Duration::from_millis(10);

impl<S: Service> Handler<S> {
    /// Sets a connection's timer for what will be due next.
    pub(crate) fn set_timer<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        entry: &mut R,
    ) {
        let token = entry.token();
        let client: &mut Client<S::Protocol> = entry;
        let mut timing = lock(&self.timing);
        let sample = timing.sample(token);
        let draining = self.control.drain.draining();
        let next = timeouts::next(client.times(), &timing.timeouts, draining, sample);
        let deadline = next.map(|(time, _)| time);
        client.connection.set_timer_time(deadline);
        if let Err(error) = timing.set_timer(token.slot(), deadline) {
            tracing::error!(%error, "timer not set");
        }
    }

    /// The timers' descriptor was reported.
    pub(crate) fn expire<C: Connections<S::Protocol>>(
        &mut self,
        connections: &mut C,
    ) -> io::Result<()> {
        let now = Timestamp::now();
        // Protocols whose deadlines have passed see a time at which they have.
        self.thread.begin_turn(Some(now));
        let draining = self.control.drain.draining();
        let mut timing = lock(&self.timing);
        let Timing { timers, timeouts, samples, .. } = &mut *timing;
        // A pass that is not complete leaves the descriptor readable: the next turn goes on.
        while let Some(fired) = timers.next_due(now)? {
            // Otherwise the connection is closed whose timer it was.
            let Some(token) = connections.token_at(fired.value as usize) else { continue };
            if let Some(measures) = &self.measures {
                measures.timer_lateness.observe(now - fired.deadline);
            }
            if let Some(mut entry) = connections.entry(token) {
                let sample = samples.get(&token).copied();
                match timeouts::next(entry.times(), timeouts, draining, sample) {
                    Some((deadline, _)) if deadline > now => {
                        entry.connection.set_timer_time(Some(deadline));
                        timers.restart(fired, deadline)?;
                        continue;
                    }
                    Some(_) => {}
                    None => {
                        entry.connection.set_timer_time(None);
                        continue;
                    }
                }
            }
            // Whoever handles it sets the timer anew. If nobody does, it fires again.
            self.due.push(token);
            // At once, so that it keeps its key, by which the slot has it.
            timers.restart(fired, now + RETRY_DELAY)?;
        }
        drop(timing);
        let mut due = std::mem::take(&mut self.due);
        for token in due.drain(..) {
            self.isolate(connections, |handler, connections| {
                if let Some(entry) = connections.entry_or_notify(token) {
                    handler.current = Some(token);
                    handler.handle_timeout(entry);
                }
            });
        }
        self.due = due;
        Ok(())
    }

    /// Does what is due for a connection, and sets its timer for what comes next.
    ///
    /// Mostly it is stepped first: after a stop of the process, or a long turn, its timer may be reported before bytes
    /// that came earlier, and then it was not quiet.
    #[cold]
    pub(crate) fn handle_timeout<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
    ) {
        if self.control.drain.draining().is_some() && !entry.is_told_of_drain() {
            // The drain's times hold for it, though the pass has yet to come to it.
            match self.tell_drain(entry) {
                Some(_) if self.thread.has_forward() => return,
                Some(told) => entry = told,
                None => return,
            }
        }
        let (now, token) = (Timestamp::now(), entry.token());
        // An endless stream always has something to forward, and a timer behind it would never be acted on.
        let forwards_everything = entry.connection.protocol().forwards_to().is_some();
        let is_stepped_first = match self.due_by(&entry, now) {
            None => false,
            Some(Deadline::Close(_) | Deadline::FinishGracefully) => true,
            Some(_) => !forwards_everything,
        };
        if is_stepped_first {
            // Nothing is known of the end, so it is looked for.
            let readiness = Readiness::IN | Readiness::OUT | Readiness::RDHUP;
            let step = entry.step(readiness, token, &mut self.thread, now);
            match self.apply(entry, step, readiness) {
                // The thread's buffer, or its pipe, holds bytes to forward: they go first. The timer fires again.
                Some(_) if self.thread.has_forward() => return,
                Some(still) => entry = still,
                None => return,
            }
        }
        let step = match self.due_by(&entry, now) {
            None => Step::Wait,
            Some(Deadline::Protocol) => {
                let thread = &mut self.thread;
                entry.date(now, |client| client.connection.expire(token, thread))
            }
            Some(Deadline::Close(Closed::LingeredOut)) if self.is_still_taking(&mut entry, now) => {
                Step::Wait
            }
            Some(Deadline::Close(closed)) => return self.close(entry, closed),
            Some(Deadline::CheckProgress) if self.is_stalled(&mut entry, now) => {
                return self.close(entry, Closed::Stalled);
            }
            Some(Deadline::CheckProgress) => Step::Wait,
            Some(Deadline::FinishGracefully) if self.is_done(&mut entry, now) => {
                let thread = &mut self.thread;
                entry.date(now, |client| client.connection.finish(token, thread))
            }
            Some(Deadline::FinishGracefully) => Step::Wait,
            Some(Deadline::StopReading) => {
                let thread = &mut self.thread;
                entry.date(now, |client| client.connection.end(token, thread))
            }
        };
        if let Some(mut entry) = self.apply(entry, step, Readiness::IN) {
            self.set_timer(&mut entry);
        }
    }

    /// Handles what another thread has notified the holder of a connection about: messages, the drain, another
    /// limit, a timer.
    #[cold]
    pub(crate) fn on_notified<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
    ) {
        self.thread.begin_turn(None);
        self.apply_limits(&mut entry);
        let held = self.give_held(entry);
        self.current = None;
        let Some(entry) = held else { return };
        self.handle_timeout(entry);
    }

    /// Returns what is due for a connection, if its time has come.
    fn due_by<R: Registration<Source = Client<S::Protocol>>>(
        &self,
        entry: &R,
        now: Timestamp,
    ) -> Option<Deadline> {
        let timing = lock(&self.timing);
        let sample = timing.samples.get(&entry.token()).copied();
        let draining = self.control.drain.draining();
        let next = timeouts::next(entry.times(), &timing.timeouts, draining, sample);
        next.filter(|&(deadline, _)| deadline <= now).map(|(_, what)| what)
    }

    /// Returns whether the peer has taken nothing for as long as it may.
    fn is_stalled<R: Registration<Source = Client<S::Protocol>>>(
        &self,
        entry: &mut R,
        now: Timestamp,
    ) -> bool {
        let Some(limit) = lock(&self.timing).timeouts.write else { return false };
        // An error is the socket's, and the next write will tell.
        let bytes = entry.connection.transport().unsent().unwrap_or(0);
        let shrank_at = match lock(&self.timing).sample(entry.token()) {
            Some(Sample::SendQueue { shrank_at, bytes: before, .. })
                if shrank_at > entry.last_activity && bytes >= before =>
            {
                shrank_at
            }
            _ => now,
        };
        self.keep_sample(entry, Sample::SendQueue { shrank_at, looked_at: now, bytes });
        now - shrank_at >= limit
    }

    /// Returns whether the peer of a connection that lingers has taken something since the last look. To
    /// close it now would destroy what it has yet to take.
    fn is_still_taking<R: Registration<Source = Client<S::Protocol>>>(
        &self,
        entry: &mut R,
        now: Timestamp,
    ) -> bool {
        let bytes = entry.connection.transport().unsent().unwrap_or(0);
        let is_taking = match lock(&self.timing).sample(entry.token()) {
            Some(Sample::SendQueue { looked_at, bytes: before, .. })
                if looked_at > entry.last_activity =>
            {
                bytes < before
            }
            _ => bytes > 0,
        };
        if is_taking {
            self.keep_sample(entry, Sample::SendQueue { shrank_at: now, looked_at: now, bytes });
        }
        is_taking
    }

    /// Keeps what was found about a connection until it is closed. Returns what was found before.
    pub(super) fn keep_sample<R: Registration<Source = Client<S::Protocol>>>(
        &self,
        entry: &mut R,
        sample: Sample,
    ) -> Option<Sample> {
        entry.set_looked_at();
        lock(&self.timing).samples.insert(entry.token(), sample)
    }
}
