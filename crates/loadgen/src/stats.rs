//! What a thread counts while it runs, and how the counts of several become one.

use crate::failure::Failure;
use anyhow::Context;
use epoll_sys::Timestamp;
use hdrhistogram::Histogram;
use std::time::Duration;

/// The longest latency that is told from a longer one. Far above any limit of an answer's time.
const LATENCY_MAX: Duration = Duration::from_secs(24 * 3600);

/// Three digits: a latency is off by a thousandth at most.
const DIGITS: u8 = 3;

/// Counts and latencies.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Of answered requests, in nanoseconds.
    latencies_ns: Histogram<u64>,
    /// Connections that were opened; those of a churn, begun.
    pub connects: u64,
    /// When the last answer came, or the interrupt; `None` without either.
    pub until: Option<Timestamp>,
    /// Requests that were due and had no answer when the run ended, but for those that were given up
    /// as [`Failure::Unsent`]. They are no failures of their own: what ended their connection is one.
    pub unanswered: u64,
    failures: [u64; Failure::ALL.len()],
    first_failure: Option<String>,
}

impl Stats {
    /// Nothing has happened yet.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn new() -> anyhow::Result<Self> {
        let longest_ns = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        let latencies_ns = Histogram::new_with_max(longest_ns, DIGITS)
            .context("failed to set up the histogram of latencies")?;
        Ok(Self {
            latencies_ns,
            connects: 0,
            until: None,
            unanswered: 0,
            failures: [0; Failure::ALL.len()],
            first_failure: None,
        })
    }

    /// A request that was due at `due` was answered at `now`.
    #[inline]
    pub fn answered(&mut self, due: Timestamp, now: Timestamp) {
        let latency_ns = now.as_nanos().saturating_sub(due.as_nanos());
        self.latencies_ns.saturating_record(latency_ns);
        self.until = Some(now);
    }

    /// Something failed `count` times; `what` says how the first of all failures came about.
    pub fn failed(&mut self, failure: Failure, count: u64, what: impl FnOnce() -> String) {
        self.failures[failure as usize] += count;
        if count > 0 && self.first_failure.is_none() {
            self.first_failure = Some(what());
        }
    }

    /// Adds the counts of another thread.
    ///
    /// # Errors
    ///
    /// None that is known: the histograms have the same range.
    pub fn merge(&mut self, other: Self) -> anyhow::Result<()> {
        self.latencies_ns
            .add(&other.latencies_ns)
            .context("failed to merge the histograms of latencies")?;
        self.connects += other.connects;
        self.until = self.until.max(other.until);
        self.unanswered += other.unanswered;
        for (sum, count) in self.failures.iter_mut().zip(other.failures) {
            *sum += count;
        }
        self.first_failure = self.first_failure.take().or(other.first_failure);
        Ok(())
    }

    /// How many requests were answered.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.latencies_ns.len()
    }

    /// Latencies of the answered requests, in nanoseconds.
    #[must_use]
    pub fn latencies_ns(&self) -> &Histogram<u64> {
        &self.latencies_ns
    }

    /// The kinds of failures that occurred, and how often.
    pub fn failures(&self) -> impl Iterator<Item = (Failure, u64)> + '_ {
        let counted = Failure::ALL.into_iter().map(|kind| (kind, self.failures[kind as usize]));
        counted.filter(|(_, count)| *count > 0)
    }

    /// All failures together.
    #[must_use]
    pub fn failures_sum(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// How the first failure came about.
    #[must_use]
    pub fn first_failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }
}
