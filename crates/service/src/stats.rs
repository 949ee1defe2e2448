//! What the threads of a service count.

use crate::admission::Refusal;
use epoll_connection::CloseReason;
use epoll_reactor::Counters;
use epoll_reactor::net::AcceptCounters;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::AddAssign;

/// The reason for which a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The connection came to its end by itself.
    Over(CloseReason),
    /// It was not established in time.
    ConnectTimedOut,
    /// No byte has moved for too long.
    Idle,
    /// The peer has taken nothing for too long.
    Stalled,
    /// The peer did not close its half in time.
    LingeredOut,
    /// It had not finished when the drain was over.
    Cut,
    /// The kernel would not watch it any more.
    Unwatched,
    /// A callback of its protocol has panicked.
    Panicked,
}

impl Closed {
    /// Returns the name for logs and statistics; `finished` is that of a connection that its protocol has
    /// finished.
    pub(crate) fn name(self, finished: &'static str) -> &'static str {
        match self {
            Self::Over(CloseReason::PeerClosed) => "peer-closed",
            Self::Over(CloseReason::Finished) => finished,
            Self::Over(CloseReason::Drained) => "drained",
            Self::Over(CloseReason::Aborted) => "aborted",
            Self::Over(CloseReason::InputTooLong) => "too-long",
            Self::Over(CloseReason::Misuse(_)) => "misuse",
            Self::Over(CloseReason::ConnectFailed(_)) => "connect-failed",
            Self::Over(CloseReason::Failed(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)) => {
                "reset"
            }
            Self::Over(_) => "failed",
            Self::ConnectTimedOut => "connect-timed-out",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::LingeredOut => "lingered-out",
            Self::Cut => "cut",
            Self::Unwatched => "unwatched",
            Self::Panicked => "panicked",
        }
    }
}

/// The outcomes of connections.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The number of connections that were accepted or established and served.
    pub opened: u64,
    /// The number closed at once because there were as many as there may be.
    pub refused: u64,
    /// The number closed at once because there were as many of their peer's address as there may be.
    pub refused_peer: u64,
    /// The number closed at once because the service made no protocol for them.
    pub declined: u64,
    /// The number closed at once because the kernel would not watch them.
    pub unwatched: u64,
    /// The number of bytes received.
    pub received: u64,
    /// The number of bytes sent.
    pub sent: u64,
    /// The longest that a connection has lived, in seconds.
    pub longest_s: u64,
    /// The number of closed connections by reason.
    pub closed_by_reason: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// The counter for this refusal.
    pub(crate) fn refusals(&mut self, refusal: Refusal) -> &mut u64 {
        match refusal {
            Refusal::Full => &mut self.refused,
            Refusal::PeerFull => &mut self.refused_peer,
        }
    }

    pub(crate) fn closed(&mut self, reason: &'static str, received: u64, sent: u64, lived_s: u64) {
        *self.closed_by_reason.entry(reason).or_default() += 1;
        self.received += received;
        self.sent += sent;
        self.longest_s = self.longest_s.max(lived_s);
    }

    /// Logs everything on one line.
    pub(crate) fn log(&self, what: &'static str) {
        tracing::info!(
            connections = self.opened,
            refused = self.refused,
            refused_peer = self.refused_peer,
            declined = self.declined,
            received = self.received,
            sent = self.sent,
            longest_s = self.longest_s,
            reasons = ?self.closed_by_reason,
            "{what}",
        );
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.opened += other.opened;
        self.refused += other.refused;
        self.refused_peer += other.refused_peer;
        self.declined += other.declined;
        self.unwatched += other.unwatched;
        self.received += other.received;
        self.sent += other.sent;
        self.longest_s = self.longest_s.max(other.longest_s);
        for (reason, count) in other.closed_by_reason {
            *self.closed_by_reason.entry(reason).or_default() += count;
        }
    }
}

/// The counters of one thread, from its beginning to its end.
#[derive(Clone, Debug, Default)]
pub struct ThreadStats {
    /// The number of the thread.
    pub thread: usize,
    /// The outcomes of its connections.
    pub stats: Stats,
    /// The counters of its reactor.
    pub reactor: Counters,
    /// The counters of its listeners.
    pub accept: AcceptCounters,
    /// The number of connections that had not finished.
    pub cut: u64,
}

impl ThreadStats {
    /// Returns the sums over all threads.
    #[must_use]
    pub fn sum(threads: &[Self]) -> Self {
        threads.iter().fold(Self::default(), |mut sum, thread| {
            sum.stats += thread.stats.clone();
            Self {
                thread: sum.thread,
                stats: sum.stats,
                reactor: sum.reactor + thread.reactor,
                accept: sum.accept + thread.accept,
                cut: sum.cut + thread.cut,
            }
        })
    }
}
