//! Passes over all connections: the beginning of the drain, the count for a request for statistics, mail that has
//! many receivers, and settings that have changed. Each is made in slices, one a turn, so that a thread with a
//! million connections serves those that are ready meanwhile.

use super::Handler;
use crate::Service;
use crate::client::Client;
use crate::pass::Pass;
use crate::stats::Stats;
use crate::store::Connections;
use epoll_reactor::Registration;
use std::sync::atomic::{Ordering, fence};

/// The passes of a thread that are under way.
#[derive(Debug, Default)]
pub(super) struct Passes {
    /// Connections are told of the drain.
    pub(super) drain: Option<Pass>,
    count: Option<Count>,
    /// Connections are given other limits and timeouts.
    adjusting: Option<Pass>,
    /// Some mail has yet to reach its receivers, or more has come since.
    pub(super) is_delivering: bool,
}

/// A count of what connections have received and sent.
///
/// It takes a short time: a connection counts with what it has by the time of its visit. One that is closed
/// after the beginning counts only if it was visited before, and one that is opened after it does not count.
#[derive(Debug)]
pub(crate) struct Count {
    pass: Pass,
    pub(crate) stats: Stats,
    /// The number of connections that could not be looked at because other threads had them.
    pub(crate) unseen: usize,
}

impl<S: Service> Handler<S> {
    /// Returns whether a pass is under way: then [`advance_passes`](Self::advance_passes) has to be called in the next
    /// turn, which must not sleep.
    pub(crate) fn has_passes(&self) -> bool {
        let Passes { drain, count, adjusting, is_delivering } = &self.passes;
        drain.is_some() || count.is_some() || adjusting.is_some() || *is_delivering
    }

    /// Makes the next slice of each pass that is under way, other than a count.
    #[cold]
    pub(crate) fn advance_passes<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        self.tell_next(connections);
        self.adjust_next(connections);
        if self.passes.is_delivering {
            self.deliver_next(connections);
        }
    }

    /// Begins to give all connections the limits and timeouts that hold now, after they have changed.
    pub(crate) fn begin_adjusting<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        self.refresh_limits();
        self.passes.adjusting = Some(Pass::over(connections.slots()));
        self.adjust_next(connections);
    }

    /// Gives the next connections their limits and timeouts. Another thread that has one of them does it, when it is
    /// done.
    fn adjust_next<C: Connections<S::Protocol>>(&mut self, connections: &mut C) {
        let Some(pass) = &mut self.passes.adjusting else { return };
        let slice = pass.next_slice();
        if pass.is_over() {
            self.passes.adjusting = None;
        }
        self.thread.begin_turn(None);
        for slot in slice {
            let Some(token) = connections.token_at(slot) else { continue };
            if let Some(mut entry) = connections.entry_or_notify(token) {
                self.apply_limits(&mut entry);
                self.set_timer(&mut entry);
            }
        }
    }

    /// Takes over the limit that connections have from now on, which may have changed.
    #[cold]
    pub(super) fn refresh_limits(&mut self) {
        // Where threads share connections, either this thread sees the new limit, or the pass over all of them sees one
        // that this thread has made before: each writes first, and then reads what the other one has written.
        fence(Ordering::SeqCst);
        self.thread.limits_mut().bytes_per_s_max = self.control.bytes_per_s_max();
    }

    /// Gives a connection that was open before the limit that holds now. Its timer has to be set afterwards.
    #[cold]
    pub(super) fn apply_limits<R: Registration<Source = Client<S::Protocol>>>(
        &mut self,
        entry: &mut R,
    ) {
        self.refresh_limits();
        entry.connection.apply_limits(&mut self.thread);
    }

    /// Returns whether a count is under way.
    pub(crate) fn is_counting(&self) -> bool {
        self.passes.count.is_some()
    }

    /// Begins to add what open connections have received and sent to `closed`, what is counted of those that
    /// are closed.
    pub(crate) fn begin_count<C: Connections<S::Protocol>>(
        &mut self,
        closed: Stats,
        connections: &C,
    ) {
        let pass = Pass::over(connections.slots());
        self.passes.count = Some(Count { pass, stats: closed, unseen: 0 });
    }

    /// Makes the next slice of the count that is under way. Returns it when it is over.
    pub(crate) fn count_next<C: Connections<S::Protocol>>(
        &mut self,
        connections: &mut C,
    ) -> Option<Count> {
        let mut count = self.passes.count.take()?;
        for slot in count.pass.next_slice() {
            let Some(token) = connections.token_at(slot) else { continue };
            match connections.entry(token) {
                Some(entry) => {
                    count.stats.received += entry.connection.received();
                    count.stats.sent += entry.connection.sent();
                }
                None => count.unseen += 1,
            }
        }
        if count.pass.is_over() {
            return Some(count);
        }
        self.passes.count = Some(count);
        None
    }
}
