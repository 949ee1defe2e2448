//! The statistics that a thread collects during a run, and how those of several threads are merged.

use crate::failure::Failure;
use anyhow::Context;
use epoll_sys::Timestamp;
use hdrhistogram::Histogram;
use std::time::Duration;

/// The longest latency that is recorded as such; a longer one counts as this. It is far above any limit for
/// an answer.
const LATENCY_MAX: Duration = Duration::from_secs(24 * 3600);

/// Three digits: a recorded latency is off by a thousandth at most.
const DIGITS: u8 = 3;

/// Counters and latencies.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The latencies of answered requests, in nanoseconds.
    latencies_ns: Histogram<u64>,
    /// The number of connections that were opened; of a churn, that were begun.
    pub connects: u64,
    /// The time of the last answer or of the interrupt; `None` without either.
    pub until: Option<Timestamp>,
    /// The number of requests that were due and had no answer when the run ended, except those counted as
    /// [`Failure::Unsent`]. They are no failures in themselves; the failure of their connection is counted
    /// separately.
    pub unanswered: u64,
    failures: [u64; Failure::ALL.len()],
    first_failure: Option<String>,
}

impl Stats {
    /// Returns empty statistics.
    ///
    /// # Errors
    ///
    /// Does not fail: the range of the histogram is valid. The `Result` is that of the histogram's
    /// constructor.
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

    /// Records the answer at `now` to a request that was due at `due`.
    #[inline]
    pub fn answered(&mut self, due: Timestamp, now: Timestamp) {
        let latency_ns = now.as_nanos().saturating_sub(due.as_nanos());
        self.latencies_ns.saturating_record(latency_ns);
        self.until = Some(now);
    }

    /// Counts `count` failures; `what` describes the first failure of all.
    pub fn failed(&mut self, failure: Failure, count: u64, what: impl FnOnce() -> String) {
        self.failures[failure as usize] += count;
        if count > 0 && self.first_failure.is_none() {
            self.first_failure = Some(what());
        }
    }

    /// Adds the statistics of another thread.
    ///
    /// # Errors
    ///
    /// Does not fail: the histograms have the same range.
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

    /// Returns the number of answered requests.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.latencies_ns.len()
    }

    /// Returns the latencies of the answered requests, in nanoseconds.
    #[must_use]
    pub fn latencies_ns(&self) -> &Histogram<u64> {
        &self.latencies_ns
    }

    /// Returns the kinds of failures that occurred, with their counts.
    pub fn failures(&self) -> impl Iterator<Item = (Failure, u64)> + '_ {
        let counted = Failure::ALL.into_iter().map(|kind| (kind, self.failures[kind as usize]));
        counted.filter(|(_, count)| *count > 0)
    }

    /// Returns the number of all failures.
    #[must_use]
    pub fn failures_sum(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Returns the description of the first failure.
    #[must_use]
    pub fn first_failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }
}
