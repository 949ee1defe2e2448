//! What the threads of a server count, and the file that is written at exit.

use crate::seats::Refusal;
use anyhow::Context;
use epoll_connection::CloseReason;
use epoll_reactor::Counters;
use epoll_reactor::net::AcceptCounters;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::ops::AddAssign;

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The conversation came to its end.
    Over(CloseReason),
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
    /// Its handler has panicked.
    Panicked,
}

impl Closed {
    /// As logs and statistics name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Over(CloseReason::PeerClosed) => "peer-closed",
            Self::Over(CloseReason::Finished) => "quit",
            Self::Over(CloseReason::Drained) => "drained",
            Self::Over(CloseReason::Failed(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)) => {
                "reset"
            }
            Self::Over(_) => "failed",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::LingeredOut => "lingered-out",
            Self::Cut => "cut",
            Self::Unwatched => "unwatched",
            Self::Panicked => "panicked",
        }
    }
}

/// What has become of the connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) opened: u64,
    /// Closed at once because there were as many as there may be.
    pub(crate) refused: u64,
    /// Closed at once because there were as many of their peer's address as there may be.
    pub(crate) refused_peer: u64,
    /// Closed at once because the kernel would not watch them.
    pub(crate) unwatched: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// The longest that a connection has lived, in seconds.
    pub(crate) longest_s: u64,
    pub(crate) closed_by_reason: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// The counter for this refusal.
    pub(crate) fn refusals(&mut self, refusal: Refusal) -> &mut u64 {
        match refusal {
            Refusal::Full => &mut self.refused,
            Refusal::PeerFull => &mut self.refused_peer,
        }
    }

    pub(crate) fn closed(&mut self, closed: Closed, received: u64, sent: u64, lived_s: u64) {
        *self.closed_by_reason.entry(closed.name()).or_default() += 1;
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
        self.unwatched += other.unwatched;
        self.received += other.received;
        self.sent += other.sent;
        self.longest_s = self.longest_s.max(other.longest_s);
        for (reason, count) in other.closed_by_reason {
            *self.closed_by_reason.entry(reason).or_default() += count;
        }
    }
}

/// What one thread has done from beginning to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct ThreadStats {
    pub(crate) thread: usize,
    pub(crate) stats: Stats,
    pub(crate) reactor: Counters,
    pub(crate) accept: AcceptCounters,
    /// How many connections had not finished.
    pub(crate) cut: u64,
}

impl ThreadStats {
    /// All threads together.
    pub(crate) fn sum(threads: &[Self]) -> Self {
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

    fn as_json(&self) -> Value {
        let Self { thread, stats, reactor, accept, cut } = self;
        json!({
            "thread": thread,
            "connections": {
                "opened": stats.opened,
                "refused": stats.refused,
                "refused_peer": stats.refused_peer,
                "unwatched": stats.unwatched,
                "bytes_received": stats.received,
                "bytes_sent": stats.sent,
                "longest_s": stats.longest_s,
                "cut": cut,
                "closed": stats.closed_by_reason,
            },
            "accept": {
                "accepted": accept.accepted,
                "aborted": accept.aborted,
                "shed": accept.shed,
                "pauses": accept.pauses,
            },
            "reactor": {
                "waits": reactor.waits,
                "events": reactor.events,
                "stale": reactor.stale,
                "adds": reactor.adds,
                "mods": reactor.mods,
                "dels": reactor.dels,
                "revisits": reactor.revisits,
                "wakes": reactor.wakes,
                "batch_max": reactor.batch_max,
            },
        })
    }
}

/// Writes everything to `file`, which was opened when the server started: the sums, the CPU time, and
/// each thread's part under `threads`.
pub(crate) fn write_json(file: &mut File, threads: &[ThreadStats]) -> anyhow::Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("failed to read the CPU time")?;
    let mut all = ThreadStats::sum(threads).as_json();
    all.as_object_mut().map(|all| all.remove("thread"));
    all["cpu"] = json!({
        "user_us": microseconds(usage.user_time()),
        "system_us": microseconds(usage.system_time()),
    });
    all["threads"] = threads.iter().map(ThreadStats::as_json).collect();
    let text = format!("{all:#}\n");
    file.write_all(text.as_bytes()).context("failed to write the file of --stats-json")
}

fn microseconds(time: nix::sys::time::TimeVal) -> i64 {
    time.tv_sec() * 1_000_000 + time.tv_usec()
}
