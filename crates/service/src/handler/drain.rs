//! What the drain does with the connections of a thread: each is told once, one that is quiet is finished,
//! and what is left in the end is cut. The deadlines of this come from `timeouts.rs`.

use super::Handler;
use crate::Service;
use crate::client::Client;
use crate::mail::Held;
use crate::stats::Closed;
use crate::store::{Connections, Store};
use crate::timeouts::Sample;
use crate::timing::lock;
use epoll_connection::Awaits;
use epoll_reactor::{Readiness, Registration, Token};
use epoll_timers::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl<S: Service> Handler<S> {
    /// Starts recording activity times if the service is draining, even when no timeout is configured.
    pub(crate) fn refresh_drain(&mut self) {
        self.is_draining = self.control.drain.draining().is_some();
        self.is_timed |= self.is_draining;
    }

    /// Returns the time to date a single step with, given that of its turn. While the service drains that
    /// is not good enough where threads share connections: two turns, one of them long, may overlap.
    #[inline]
    pub(crate) fn now_within(&self, turn: Timestamp) -> Timestamp {
        if self.is_draining { Timestamp::now() } else { turn }
    }

    /// Begins to drain: connections are told, those that are quiet finish, and all are ended at half time.
    pub(crate) fn begin_drain<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        self.refresh_drain();
        self.thread.begin_turn(None);
        for token in connections.tokens() {
            self.isolate(connections, |handler, connections| {
                handler.current = Some(token);
                if let Some(entry) = connections.entry(token) {
                    handler.tell_drain(entry);
                } else {
                    // Held first: the thread that has it may let go of it at any moment.
                    handler.post.hold(token, Held::Drain);
                    handler.give_held_or_notify(token, connections);
                }
            });
        }
    }

    /// Tells a connection that the service drains, unless it knows, and sets its timer. One that is being
    /// established is told when it is.
    pub(super) fn tell_drain<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        mut entry: R,
    ) -> Option<R> {
        let (token, now) = (entry.token(), Timestamp::now());
        let is_open = entry.connection.awaits() != Awaits::Connect;
        if is_open && !entry.tell_of_drain() {
            let thread = &mut self.thread;
            let step = entry.date(now, |client| client.connection.drain(token, thread));
            entry = self.apply(entry, step, Readiness::IN)?;
        }
        self.set_timer(&mut entry);
        Some(entry)
    }

    /// Returns whether nothing has moved between two looks. A single one proves nothing: what moved is
    /// dated by the beginning of its turn, and a turn can take long.
    pub(super) fn is_quiet<R: Registration<Source = Client<S::Protocol>>>(
        &self,
        entry: &R,
        now: Timestamp,
    ) -> bool {
        let last_activity = entry.last_activity;
        let look = Sample::Quiet { last_activity, looked_at: now };
        let before = lock(&self.timing).samples.insert(entry.token(), look);
        matches!(before, Some(Sample::Quiet { last_activity: before, .. }) if before == last_activity)
    }

    /// Records every connection that is left when the service ends, and returns their number.
    pub(crate) fn cut<T: Store<S::Protocol>>(&mut self, store: T) -> u64 {
        let rest = store.into_rest();
        let count = rest.len() as u64;
        self.thread.begin_turn(None);
        for mut client in rest {
            let thread = &mut self.thread;
            let told = AssertUnwindSafe(|| client.connection.close(Token::detached(0), thread));
            if catch_unwind(told).is_err() {
                self.thread.recover();
            }
            self.record_close(&client, None, Closed::Cut);
            // Its protocol may panic when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(client)));
        }
        count
    }
}
