//! The context of a callback: output, deadlines, messages, and the state of the thread.

use crate::turn::Turn;
use crate::{ConnectionId, Limits, Link, Request};
use epoll_reactor::Token;
use epoll_reactor::epoll_sys::{ClockTime, Realtime, Timestamp};
use epoll_reactor::net::Address;
use std::fmt;
use std::time::Duration;

/// The requests of a callback besides output.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    /// The new deadline; `Some(None)` for none.
    pub(crate) deadline: Option<Option<Timestamp>>,
    pub(crate) ends_output: bool,
}

impl Changes {
    #[inline]
    pub(crate) fn are_none(self) -> bool {
        self.deadline.is_none() && !self.ends_output
    }
}

/// The surroundings of a callback: the output, the state of the thread, the time, and the way to other
/// connections.
pub struct Context<'a, L, M> {
    pub(crate) local: &'a mut L,
    pub(crate) output: &'a mut Vec<u8>,
    pub(crate) turn: &'a mut Turn<M>,
    pub(crate) changes: &'a mut Changes,
    pub(crate) token: Token,
    /// The number of bytes that waited to be sent before this step.
    pub(crate) pending: usize,
    /// An outer protocol transforms what is written here. It could not transform what is forwarded.
    pub(crate) is_transformed: bool,
}

impl<L, M> Context<'_, L, M> {
    /// Returns the protocol's state of this thread.
    #[inline]
    pub fn local(&mut self) -> &mut L {
        self.local
    }

    /// Writes `bytes`, after what was written before. They are copied, and sent when the step is over.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Returns the output of this step, to append to: for serializers and [`io::Write`](std::io::Write).
    #[inline]
    pub fn output(&mut self) -> &mut Vec<u8> {
        self.output
    }

    /// Returns both the state of the thread and the output, to write out of that state.
    #[inline]
    pub fn parts(&mut self) -> (&mut L, &mut Vec<u8>) {
        (self.local, self.output)
    }

    /// Returns the number of bytes that wait for the peer to take them, besides those of this step. In
    /// [`on_message`](crate::Protocol::on_message) they include the output of earlier messages of the turn,
    /// which is sent together once it reaches [`Limits::output_max`](crate::Limits::output_max) or the turn ends.
    #[inline]
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Returns whether the output has reached [`Limits::output_max`](crate::Limits::output_max) and should be
    /// sent. A protocol that consumes many messages a call stops then: it leaves the rest of the input, or
    /// answers [`Flow::Produce`](crate::Flow::Produce).
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.output.len() >= self.turn.limits.output_max
    }

    /// Closes our half of the connection when everything is sent, including the
    /// [last output](crate::Protocol::on_finish). Reading goes on.
    #[inline]
    pub fn end_output(&mut self) {
        self.changes.ends_output = true;
    }

    /// Returns the limits of the connection; for a protocol that keeps input for an inner one.
    #[inline]
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.turn.limits
    }

    /// Returns the time on the monotonic clock, which is read at most once a turn.
    #[inline]
    pub fn now(&mut self) -> Timestamp {
        self.turn.now()
    }

    /// Returns the time on the real-time clock, which is read at most once a turn: for dates.
    #[inline]
    pub fn wall_clock(&mut self) -> ClockTime<Realtime> {
        self.turn.wall_clock()
    }

    /// Sets the deadline: [`on_deadline`](crate::Protocol::on_deadline) is called after this time. It replaces
    /// an earlier one; `None` removes it. Moving a deadline to a later time sets no timer.
    #[inline]
    pub fn set_deadline(&mut self, after: Option<Duration>) {
        let deadline = after.and_then(|after| self.now().checked_add(after));
        self.changes.deadline = Some(deadline);
    }

    /// Returns the name under which others reach this connection.
    #[inline]
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId::new(self.turn.thread, self.token)
    }

    /// Returns the link to a connection, for [`Consumed::forward`](crate::Consumed::forward). `None` if the
    /// connection is another thread's, if threads share connections, or if an outer protocol transforms what
    /// this one reads.
    #[must_use]
    pub fn link(&self, other: ConnectionId) -> Option<Link> {
        let is_own = self.turn.has_links && other.thread() == self.turn.thread;
        (is_own && !self.is_transformed).then_some(Link(other.token()))
    }

    /// Sends `message` to a connection of this or another thread, at the end of this turn. Messages of one
    /// sender arrive in order.
    pub fn send(&mut self, to: ConnectionId, message: M) {
        self.turn.requests.push(Request::Send(to, message));
    }

    /// Sends `message` to every connection of every thread, this one included, at the end of this turn.
    /// Messages of one sender arrive in order.
    pub fn broadcast(&mut self, message: M) {
        self.turn.requests.push(Request::Broadcast(message));
    }

    /// Begins to connect to `address`, in this thread, at the end of this turn. The service makes the
    /// protocol of the new connection from `message`. That protocol is told the outcome by
    /// [`on_open`](crate::Protocol::on_open) or [`on_close`](crate::Protocol::on_close).
    pub fn connect(&mut self, address: Address, message: M) {
        let from = self.id();
        self.turn.requests.push(Request::Connect { from, address, message });
    }

    /// Returns the context of a protocol within this one, with its part of the thread's state and, if
    /// the outer protocol transforms what the inner one writes, an output of its own.
    #[inline]
    pub fn within<'b, K>(
        &'b mut self,
        part: impl FnOnce(&'b mut L) -> &'b mut K,
        output: Option<&'b mut Vec<u8>>,
    ) -> Context<'b, K, M> {
        let is_transformed = self.is_transformed || output.is_some();
        Context {
            is_transformed,
            local: part(self.local),
            output: output.unwrap_or(self.output),
            turn: self.turn,
            changes: self.changes,
            token: self.token,
            pending: self.pending,
        }
    }
}

impl<L: fmt::Debug, M> fmt::Debug for Context<'_, L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("local", &self.local)
            .field("output", &self.output.len())
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
