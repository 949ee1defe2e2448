//! The connections that a listener hands out, in batches or at its close, and the counters.

use super::Listener;
#[cfg(doc)]
use crate::net::PausedBy;
use crate::net::{Address, Stream};
use std::ops::Add;
use std::time::Duration;

/// The number of dead connections in a row that leads to a pause. A queue may hold more; but an error that
/// leaves its connection in the queue would make the loop spin.
const SKIPS_MAX: u32 = 16;

/// The events that a [`Listener`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptCounters {
    /// Connections that were handed out.
    pub accepted: u64,
    /// Connections that had died in the queue.
    pub aborted: u64,
    /// Connections that were accepted and closed at once because descriptors were short.
    pub shed: u64,
    /// Pauses, whatever their cause.
    pub pauses: u64,
}

/// Adds up the counts of two listeners.
impl Add for AcceptCounters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            aborted: self.aborted + other.aborted,
            shed: self.shed + other.shed,
            pauses: self.pauses + other.pauses,
        }
    }
}

/// A connection that a [`Listener`] accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// The address of its other end; unnamed for most clients of a UNIX socket.
    pub peer: Address,
}

/// The end of a batch of [`Listener::accept_batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// The queue was empty.
    QueueEmpty,
    /// The batch was full. The queue may hold more, and the listener is reported again.
    BatchFull,
    /// Nothing can be accepted now. The listener is silent for this time; a program that watches the socket
    /// itself ([`PausedBy::Owner`]) must not watch it for so long.
    Paused(Duration),
    /// The socket was shut down from outside: no client can connect to it any more. The listener is silent
    /// from now on and should be dropped; a program that watches the socket itself has to unwatch it.
    Closed,
}

/// An iterator over the connections of one [`Listener::accept_batch`].
#[derive(Debug)]
pub struct AcceptBatch<'a> {
    pub(super) listener: &'a mut Listener,
    /// The number of attempts that are left.
    pub(super) left: u32,
}

impl Iterator for AcceptBatch<'_> {
    type Item = Accepted;

    fn next(&mut self) -> Option<Accepted> {
        self.listener.next(&mut self.left, SKIPS_MAX)
    }
}

/// An iterator over the connections in the queue of a listener that closes, see [`Listener::close`].
#[derive(Debug)]
pub struct Closing {
    pub(super) listener: Listener,
    /// The number of attempts that are left.
    pub(super) left: u32,
}

impl Closing {
    /// Returns how the iteration ended; `None` before that. [`BatchEnd::BatchFull`] means that as many
    /// connections were handed out as could wait at once.
    #[must_use]
    pub fn end(&self) -> Option<BatchEnd> {
        self.listener.batch_end()
    }

    /// Returns the counters of the listener.
    #[must_use]
    pub fn counters(&self) -> AcceptCounters {
        self.listener.counters()
    }
}

impl Iterator for Closing {
    type Item = Accepted;

    fn next(&mut self) -> Option<Accepted> {
        // No pause for dead connections: their number is bounded as it is.
        self.listener.next(&mut self.left, u32::MAX)
    }
}
