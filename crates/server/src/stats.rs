//! What a server counts, and the file it writes at exit.

use anyhow::Context;
use epoll_echo::Reason;
use epoll_reactor::Counters;
use epoll_reactor::net::AcceptCounters;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The conversation came to its end.
    Over(Reason),
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
}

impl Closed {
    /// As logs and statistics name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Over(Reason::PeerClosed) => "peer-closed",
            Self::Over(Reason::Quit) => "quit",
            Self::Over(Reason::Ended) => "drained",
            Self::Over(Reason::Failed(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)) => {
                "reset"
            }
            Self::Over(Reason::Failed(_)) => "failed",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::LingeredOut => "lingered-out",
            Self::Cut => "cut",
            Self::Unwatched => "unwatched",
        }
    }
}

/// What has become of the connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) opened: u64,
    /// Closed at once because the limit was reached.
    pub(crate) refused: u64,
    /// Closed at once because the kernel would not watch them.
    pub(crate) unwatched: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// The longest that a connection has lived, in seconds.
    pub(crate) longest_s: u64,
    pub(crate) closed_by_reason: BTreeMap<&'static str, u64>,
}

impl Stats {
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
            received = self.received,
            sent = self.sent,
            longest_s = self.longest_s,
            reasons = ?self.closed_by_reason,
            "{what}",
        );
    }
}

/// Writes everything to `file`, which was opened when the server started.
pub(crate) fn write_json(
    file: &mut File,
    stats: &Stats,
    reactor: &Counters,
    accept: &AcceptCounters,
) -> anyhow::Result<()> {
    let text = format!("{:#}\n", as_json(stats, reactor, accept)?);
    file.write_all(text.as_bytes()).context("failed to write the file of --stats-json")
}

fn as_json(stats: &Stats, reactor: &Counters, accept: &AcceptCounters) -> anyhow::Result<Value> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("failed to read the CPU time")?;
    Ok(json!({
        "connections": {
            "opened": stats.opened,
            "refused": stats.refused,
            "unwatched": stats.unwatched,
            "bytes_received": stats.received,
            "bytes_sent": stats.sent,
            "longest_s": stats.longest_s,
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
        "cpu": {
            "user_us": microseconds(usage.user_time()),
            "system_us": microseconds(usage.system_time()),
        },
    }))
}

fn microseconds(time: nix::sys::time::TimeVal) -> i64 {
    time.tv_sec() * 1_000_000 + time.tv_usec()
}
