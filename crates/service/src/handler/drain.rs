//! The drain of a thread's connections: each is told once, one that is quiet is finished, and those that are
//! left in the end are cut. The deadlines come from `timeouts.rs`.

use super::Handler;
use crate::Service;
use crate::client::Client;
use crate::mail::{DeliveryPass, Held};
use crate::panics::catch;
use crate::pass::Pass;
use crate::stats::Closed;
use crate::store::{Connections, Store};
use crate::timeouts::Sample;
use epoll_connection::Awaits;
use epoll_reactor::{Readiness, Registration, Token};
use epoll_timers::Timestamp;

impl<S: Service> Handler<S> {
    /// Starts recording activity times if the service is draining, even when no timeout is configured.
    pub(crate) fn refresh_drain(&mut self) {
        // A drain that has begun goes on to the end.
        if self.control.drain.draining().is_some() {
            (self.is_draining, self.is_timed) = (true, true);
        }
    }

    /// Returns the time to date a single step with, given that of its turn. While the service drains that
    /// is not good enough where threads share connections: two turns, one of them long, may overlap.
    #[inline]
    pub(crate) fn now_within(&self, turn: Timestamp) -> Timestamp {
        if self.is_draining { Timestamp::now() } else { turn }
    }

    /// Begins to drain: connections are told, those that are quiet finish, and all are ended at half time.
    ///
    /// A pass tells them, a slice a turn. A connection that is opened after this is an outgoing one, which is
    /// told when it is established.
    pub(crate) fn begin_drain<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        self.refresh_drain();
        self.passes.drain = Some(Pass::over(connections.slots()));
        self.tell_next(connections);
    }

    /// Tells the next connections that the service drains, if some are left to be told.
    pub(super) fn tell_next<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        let Some(pass) = &mut self.passes.drain else { return };
        let slice = pass.next_slice();
        if pass.is_over() {
            self.passes.drain = None;
        }
        self.thread.begin_turn(None);
        for slot in slice {
            let Some(token) = connections.token_at(slot) else { continue };
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

    /// Returns whether nothing has moved between two looks, and nothing is left to finish. A single look
    /// proves nothing: what moved is dated by the beginning of its turn, and a turn can take long.
    pub(super) fn is_done<R: Registration<Source = Client<S::Protocol>>>(
        &self,
        entry: &mut R,
        now: Timestamp,
    ) -> bool {
        let last_activity = entry.last_activity;
        let before = self.keep_sample(entry, Sample::Quiet { last_activity, looked_at: now });
        let is_quiet = matches!(
            before,
            Some(Sample::Quiet { last_activity: before, .. }) if before == last_activity
        );
        is_quiet && !entry.connection.is_busy()
    }

    /// Records every connection that is left when the service ends, and returns their number.
    pub(crate) fn cut<T: Store<S::Protocol>>(&mut self, store: T) -> u64 {
        let rest = store.into_rest();
        let count = rest.len() as u64;
        self.round.take().into_iter().for_each(DeliveryPass::drop_messages);
        self.thread.begin_turn(None);
        for mut client in rest {
            let thread = &mut self.thread;
            if catch(|| client.connection.close(Token::detached(0), thread)).is_none() {
                self.thread.recover();
            }
            self.record_close(&client, None, Closed::Cut);
            // Its protocol may panic when it is dropped.
            catch(|| drop(client));
        }
        count
    }
}
