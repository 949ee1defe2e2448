//! The counters of a service's threads.

use crate::admission::Refusal;
use epoll_connection::{Awaits, CloseReason};
use epoll_reactor::Counters;
use epoll_reactor::net::AcceptCounters;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

/// The target of the log lines that a signal asks for, at the level `INFO`: the counters of each thread, and
/// the sums over all connections. A program that filters logs should let this target pass, so that the signal always
/// has an effect.
///
/// # Examples
///
/// ```
/// assert_eq!(epoll_service::COUNTERS_TARGET, "epoll_service::counters");
/// ```
pub const COUNTERS_TARGET: &str = "epoll_service::counters";

/// A count that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        // No other thread writes it, so this takes no locked instruction.
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    pub(crate) fn raise_to(&self, value: u64) {
        self.0.store(self.get().max(value), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

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
    /// Its buffers grew when those of all connections had no memory left.
    BuffersFull,
}

/// The names of the reasons, by their numbers.
const NAMES: [&str; 17] = [
    FINISHED,
    "peer-closed",
    "drained",
    "aborted",
    "too-long",
    "misuse",
    "connect-failed",
    "reset",
    "failed",
    "connect-timed-out",
    "idle",
    "stalled",
    "lingered-out",
    "cut",
    "unwatched",
    "panicked",
    "buffers-full",
];

/// Stands for the name of a connection that its protocol has finished.
const FINISHED: &str = "";

impl Closed {
    /// Returns the name for logs and statistics; `finished` is that of a connection that its protocol has
    /// finished.
    pub(crate) fn name(self, finished: &'static str) -> &'static str {
        name(self.number(), finished)
    }

    fn number(self) -> usize {
        match self {
            Self::Over(CloseReason::Finished) => 0,
            Self::Over(CloseReason::PeerClosed) => 1,
            Self::Over(CloseReason::Drained) => 2,
            Self::Over(CloseReason::Aborted) => 3,
            Self::Over(CloseReason::InputTooLong) => 4,
            Self::Over(CloseReason::Misuse(_)) => 5,
            Self::Over(CloseReason::ConnectFailed(_)) => 6,
            Self::Over(CloseReason::Failed(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)) => {
                7
            }
            Self::Over(_) => 8,
            Self::ConnectTimedOut => 9,
            Self::Idle => 10,
            Self::Stalled => 11,
            Self::LingeredOut => 12,
            Self::Cut => 13,
            Self::Unwatched => 14,
            Self::Panicked => 15,
            Self::BuffersFull => 16,
        }
    }
}

fn name(number: usize, finished: &'static str) -> &'static str {
    match NAMES[number] {
        FINISHED => finished,
        name => name,
    }
}

/// The outcomes of the connections of a thread while it serves. The thread writes them, and others may read them
/// at any time.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) opened: Count,
    refused: Count,
    refused_peer: Count,
    refused_memory: Count,
    header_wrong: Count,
    header_missing: Count,
    header_late: Count,
    pub(crate) declined: Count,
    pub(crate) unwatched: Count,
    received: Count,
    sent: Count,
    longest_s: Count,
    closed: [Count; NAMES.len()],
    /// The number of connections that the thread saw begin to linger, and that of those that it saw end. Where
    /// threads share connections these need not be the same ones.
    pub(crate) lingers_begun: Count,
    pub(crate) lingers_ended: Count,
}

impl Outcomes {
    pub(crate) fn refused(&self, refusal: Refusal) {
        match refusal {
            Refusal::Full => self.refused.add(1),
            Refusal::PeerFull => self.refused_peer.add(1),
            Refusal::BuffersFull => self.refused_memory.add(1),
            Refusal::HeaderWrong => self.header_wrong.add(1),
            Refusal::HeaderMissing => self.header_missing.add(1),
            Refusal::HeaderLate => self.header_late.add(1),
        }
    }

    pub(crate) fn closed(&self, closed: Closed, received: u64, sent: u64, lived_s: u64) {
        self.closed[closed.number()].add(1);
        self.received.add(received);
        self.sent.add(sent);
        self.longest_s.raise_to(lived_s);
    }

    /// Notes that a connection which awaited one thing awaits another one, or nothing because it is closed.
    pub(crate) fn awaits(&self, before: Awaits, now: Option<Awaits>) {
        if before == Awaits::Close {
            self.lingers_ended.add(1);
        }
        if now == Some(Awaits::Close) {
            self.lingers_begun.add(1);
        }
    }

    /// Returns everything by name, every reason included.
    pub(crate) fn named(&self, finished: &'static str) -> Stats {
        let mut closed_by_reason = BTreeMap::new();
        for (number, count) in self.closed.iter().enumerate() {
            *closed_by_reason.entry(name(number, finished)).or_default() += count.get();
        }
        Stats {
            opened: self.opened.get(),
            refused: self.refused.get(),
            refused_peer: self.refused_peer.get(),
            refused_memory: self.refused_memory.get(),
            header_wrong: self.header_wrong.get(),
            header_missing: self.header_missing.get(),
            header_late: self.header_late.get(),
            declined: self.declined.get(),
            unwatched: self.unwatched.get(),
            received: self.received.get(),
            sent: self.sent.get(),
            longest_s: self.longest_s.get(),
            closed_by_reason,
        }
    }

    /// Returns everything by name, without the reasons for which no connection was closed.
    pub(crate) fn stats(&self, finished: &'static str) -> Stats {
        let mut stats = self.named(finished);
        stats.closed_by_reason.retain(|_, count| *count > 0);
        stats
    }
}

/// The outcomes of connections.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The number of connections that were accepted and served, and of outgoing ones that were begun.
    pub opened: u64,
    /// The number closed at once because there were as many as there may be.
    pub refused: u64,
    /// The number closed at once because there were as many of their peer's address as there may be.
    pub refused_peer: u64,
    /// The number closed at once because the buffers of all connections took too much memory.
    pub refused_memory: u64,
    /// The number closed because they did not begin with a header of the
    /// [PROXY protocol](crate::Config::proxy_protocol).
    pub header_wrong: u64,
    /// The number that were closed by the peer before that header was complete. Balancers look by such connections
    /// whether a server is alive.
    pub header_missing: u64,
    /// The number closed because that header was not complete in time.
    pub header_late: u64,
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
    /// Logs everything on one line. Reasons for which no connection was closed are left out.
    pub(crate) fn log(&self, what: &'static str) {
        let of = |reason| self.closed_by_reason.get(reason).copied();
        // Whatever the service calls it.
        let others = self.closed_by_reason.iter().filter(|(reason, _)| !NAMES.contains(reason));
        let finished: u64 = others.map(|(_, count)| count).sum();
        tracing::info!(
            target: COUNTERS_TARGET,
            connections = self.opened,
            refused = self.refused,
            refused_peer = self.refused_peer,
            refused_memory = self.refused_memory,
            header_wrong = self.header_wrong,
            header_missing = self.header_missing,
            header_late = self.header_late,
            declined = self.declined,
            unwatched = self.unwatched,
            received = self.received,
            sent = self.sent,
            longest_s = self.longest_s,
            "closed.finished" = (finished > 0).then_some(finished),
            "closed.peer-closed" = of("peer-closed"),
            "closed.drained" = of("drained"),
            "closed.aborted" = of("aborted"),
            "closed.too-long" = of("too-long"),
            "closed.misuse" = of("misuse"),
            "closed.connect-failed" = of("connect-failed"),
            "closed.reset" = of("reset"),
            "closed.failed" = of("failed"),
            "closed.connect-timed-out" = of("connect-timed-out"),
            "closed.idle" = of("idle"),
            "closed.stalled" = of("stalled"),
            "closed.lingered-out" = of("lingered-out"),
            "closed.cut" = of("cut"),
            "closed.unwatched" = of("unwatched"),
            "closed.panicked" = of("panicked"),
            "{what}",
        );
    }
}

/// Logs the counters of a reactor on one line, with what else is known.
pub(crate) fn log_reactor(
    what: &'static str,
    reactor: &Counters,
    thread: Option<usize>,
    accept: Option<AcceptCounters>,
    unseen: Option<usize>,
) {
    tracing::info!(
        target: COUNTERS_TARGET,
        thread,
        reactor.waits = reactor.waits,
        reactor.spins = reactor.spins,
        reactor.events = reactor.events,
        reactor.stale = reactor.stale,
        reactor.adds = reactor.adds,
        reactor.mods = reactor.mods,
        reactor.dels = reactor.dels,
        reactor.revisits = reactor.revisits,
        reactor.wakes = reactor.wakes,
        reactor.rebuilds = reactor.rebuilds,
        reactor.batch_max = reactor.batch_max,
        accept.accepted = accept.map(|accept| accept.accepted),
        accept.aborted = accept.map(|accept| accept.aborted),
        accept.shed = accept.map(|accept| accept.shed),
        accept.pauses = accept.map(|accept| accept.pauses),
        unseen,
        "{what}",
    );
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.opened += other.opened;
        self.refused += other.refused;
        self.refused_peer += other.refused_peer;
        self.refused_memory += other.refused_memory;
        self.header_wrong += other.header_wrong;
        self.header_missing += other.header_missing;
        self.header_late += other.header_late;
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
    /// The counters of its listeners. Where threads share connections any of them accepts, and the first one has
    /// the counters of all listeners.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(factor: u64, reason: &'static str) -> Stats {
        Stats {
            opened: factor,
            refused: 2 * factor,
            refused_peer: 3 * factor,
            refused_memory: 12 * factor,
            header_wrong: 9 * factor,
            header_missing: 10 * factor,
            header_late: 11 * factor,
            declined: 4 * factor,
            unwatched: 5 * factor,
            received: 6 * factor,
            sent: 7 * factor,
            longest_s: 8 * factor,
            closed_by_reason: BTreeMap::from([("both", factor), (reason, factor)]),
        }
    }

    #[test]
    fn the_sums_of_threads_are_those_of_everything_but_the_longest_life() {
        let counters = |waits| Counters { waits, ..Counters::default() };
        let accept = |accepted| AcceptCounters { accepted, ..AcceptCounters::default() };
        let threads = [(1, "one"), (10, "other"), (4, "one")].map(|(factor, reason)| ThreadStats {
            thread: 1,
            stats: stats(factor, reason),
            reactor: counters(factor),
            accept: accept(factor),
            cut: factor,
        });
        let sum = ThreadStats::sum(&threads);
        assert_eq!((sum.reactor, sum.accept, sum.cut), (counters(15), accept(15), 15));
        let Stats { opened, refused, refused_peer, declined, unwatched, .. } = sum.stats;
        assert_eq!([opened, refused, refused_peer, declined, unwatched], [15, 30, 45, 60, 75]);
        let Stats { header_wrong, header_missing, header_late, refused_memory, .. } = sum.stats;
        let counts = [header_wrong, header_missing, header_late, refused_memory];
        assert_eq!(counts, [135, 150, 165, 180]);
        assert_eq!((sum.stats.received, sum.stats.sent, sum.stats.longest_s), (90, 105, 80));
        let reasons = BTreeMap::from([("both", 15), ("one", 5), ("other", 10)]);
        assert_eq!(sum.stats.closed_by_reason, reasons);
    }

    #[test]
    fn each_refusal_has_its_counter_and_the_longest_life_is_kept() {
        let outcomes = Outcomes::default();
        let refuse = |count, refusal| (0..count).for_each(|_| outcomes.refused(refusal));
        refuse(1, Refusal::Full);
        refuse(2, Refusal::PeerFull);
        refuse(3, Refusal::HeaderWrong);
        refuse(4, Refusal::HeaderMissing);
        refuse(5, Refusal::HeaderLate);
        refuse(6, Refusal::BuffersFull);
        for lived_s in [3, 5, 4] {
            outcomes.closed(Closed::Over(CloseReason::Finished), 10, 20, lived_s);
        }
        outcomes.closed(Closed::Idle, 1, 1, 0);
        let stats = outcomes.stats("idle");
        assert_eq!((stats.refused, stats.refused_peer), (1, 2));
        let headers = [stats.header_wrong, stats.header_missing, stats.header_late];
        assert_eq!((headers, stats.refused_memory), ([3, 4, 5], 6));
        assert_eq!((stats.received, stats.sent, stats.longest_s), (31, 61, 5));
        // Even where a protocol takes a name that there is already.
        assert_eq!(stats.closed_by_reason, BTreeMap::from([("idle", 4)]));
        let reasons = BTreeMap::from([("finished", 3), ("idle", 1)]);
        assert_eq!(outcomes.stats("finished").closed_by_reason, reasons);
        let named = outcomes.named("finished").closed_by_reason;
        assert_eq!((named.len(), named["cut"], named["finished"]), (NAMES.len(), 0, 3));
    }

    #[test]
    fn a_connection_lingers_from_the_close_of_our_half_to_its_end() {
        let (one, other) = (Outcomes::default(), Outcomes::default());
        one.awaits(Awaits::Connect, Some(Awaits::Input));
        one.awaits(Awaits::Input, Some(Awaits::Room));
        one.awaits(Awaits::Room, None);
        let lingers = |of: &Outcomes| (of.lingers_begun.get(), of.lingers_ended.get());
        assert_eq!(lingers(&one), (0, 0));
        one.awaits(Awaits::Input, Some(Awaits::Close));
        other.awaits(Awaits::Close, None);
        assert_eq!((lingers(&one), lingers(&other)), ((1, 0), (0, 1)));
    }

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let over = [
            CloseReason::PeerClosed,
            CloseReason::Finished,
            CloseReason::Drained,
            CloseReason::Aborted,
            CloseReason::InputTooLong,
            CloseReason::Misuse(epoll_connection::Misuse::WroteAfterEnd),
            CloseReason::ConnectFailed(ErrorKind::TimedOut),
            CloseReason::Failed(ErrorKind::ConnectionReset),
            CloseReason::Failed(ErrorKind::TimedOut),
        ];
        let others = [
            Closed::ConnectTimedOut,
            Closed::Idle,
            Closed::Stalled,
            Closed::LingeredOut,
            Closed::Cut,
            Closed::Unwatched,
            Closed::Panicked,
            Closed::BuffersFull,
        ];
        let all: Vec<_> = over.map(Closed::Over).into_iter().chain(others).collect();
        let names: std::collections::BTreeSet<_> = all.iter().map(|one| one.name("own")).collect();
        assert_eq!((names.len(), NAMES.len()), (all.len(), all.len()));
        assert!(names.contains("own"));
        let broken = Closed::Over(CloseReason::Failed(ErrorKind::BrokenPipe));
        assert_eq!(broken.name("own"), "reset");
    }
}
