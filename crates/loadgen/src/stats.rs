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

/// Returns an empty histogram of times in nanoseconds.
///
/// # Errors
///
/// Does not fail: the range is valid. The `Result` is that of the histogram's constructor.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    let longest_ns = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_max(longest_ns, DIGITS).context("failed to set up a histogram of times")
}

/// The resource of this machine that a connection had to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A free port of a local address.
    Ports,
    /// A free descriptor.
    Descriptors,
}

/// The times at which this program, rather than the server, was the reason for a delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnDelays {
    /// The sum of the times that connections waited for a port.
    pub ports: Duration,
    /// The sum of the times that connections waited for a descriptor.
    pub descriptors: Duration,
    /// The number of requests of an open loop that were sent late though a connection was free.
    pub late: u64,
    /// The longest time by which one of them was late.
    pub late_max: Duration,
}

impl OwnDelays {
    /// Adds a time of waiting.
    pub fn waited(&mut self, resource: Resource, time: Duration) {
        match resource {
            Resource::Ports => self.ports += time,
            Resource::Descriptors => self.descriptors += time,
        }
    }

    fn merge(&mut self, other: Self) {
        self.ports += other.ports;
        self.descriptors += other.descriptors;
        self.late += other.late;
        self.late_max = self.late_max.max(other.late_max);
    }
}

/// The numbers of datagrams, without those that were due during the warm-up. Each one that was sent is either
/// answered, counted here as lost or wrong, or [`Stats::unanswered`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramCounts {
    /// The datagrams that were sent.
    pub sent: u64,
    /// The datagrams without an answer within the limit, or by the time that nobody listened any more.
    pub lost: u64,
    /// The answers to lost datagrams, which came after the limit.
    pub late: u64,
    /// The answers that came after that of a datagram that was sent later.
    pub reordered: u64,
    /// The answers to datagrams that had been answered.
    pub duplicated: u64,
    /// The answers that were not what was sent.
    pub wrong: u64,
}

impl DatagramCounts {
    fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.late += other.late;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.wrong += other.wrong;
    }
}

/// Counters and latencies.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The latencies of answered requests, in nanoseconds.
    latencies_ns: Histogram<u64>,
    /// The times that connecting took, in nanoseconds.
    connects_ns: Histogram<u64>,
    /// The time from which on a request has to be due to be counted: the end of the warm-up.
    from: Timestamp,
    /// The delays that are this program's own.
    pub own_delays: OwnDelays,
    /// The numbers of datagrams; 0 unless messages are datagrams.
    pub datagrams: DatagramCounts,
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
    /// Does not fail: the ranges of the histograms are valid. The `Result` is that of their constructor.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies_ns: histogram()?,
            connects_ns: histogram()?,
            from: Timestamp::EPOCH,
            own_delays: OwnDelays::default(),
            datagrams: DatagramCounts::default(),
            connects: 0,
            until: None,
            unanswered: 0,
            failures: [0; Failure::ALL.len()],
            first_failure: None,
        })
    }

    /// Leaves out requests that were due before `from`.
    pub fn count_from(&mut self, from: Timestamp) {
        self.from = from;
    }

    /// Returns the time from which on requests count.
    #[must_use]
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// Records the answer at `now` to a request that was due at `due`. Returns the latency in nanoseconds if
    /// the request counts.
    #[inline]
    pub fn answered(&mut self, due: Timestamp, now: Timestamp) -> Option<u64> {
        self.until = Some(now);
        if due < self.from {
            return None;
        }
        let latency_ns = now.as_nanos().saturating_sub(due.as_nanos());
        self.latencies_ns.saturating_record(latency_ns);
        Some(latency_ns)
    }

    /// Records a connection that took so long to be established.
    pub fn connected(&mut self, time: Duration) {
        self.connects_ns.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records a request that was sent so late though a connection was free, if that is more than `tolerance`.
    #[inline]
    pub fn sent_late(&mut self, by: Duration, tolerance: Duration) {
        if by > tolerance {
            self.own_delays.late += 1;
            self.own_delays.late_max = self.own_delays.late_max.max(by);
        }
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
        self.connects_ns
            .add(&other.connects_ns)
            .context("failed to merge the histograms of connect times")?;
        self.own_delays.merge(other.own_delays);
        self.datagrams.merge(other.datagrams);
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

    /// Returns the times that connecting took, in nanoseconds.
    #[must_use]
    pub fn connects_ns(&self) -> &Histogram<u64> {
        &self.connects_ns
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_the_warm_up_are_left_out() {
        let mut stats = Stats::new().unwrap();
        let at = Timestamp::from_nanos;
        stats.count_from(at(100));
        assert_eq!(stats.answered(at(99), at(150)), None);
        assert_eq!(stats.answered(at(100), at(150)), Some(50));
        assert_eq!((stats.answers(), stats.until), (1, Some(at(150))));
    }

    #[test]
    fn only_what_exceeds_the_tolerance_is_late() {
        let ms = Duration::from_millis;
        let mut stats = Stats::new().unwrap();
        for by in [1, 5, 3, 2] {
            stats.sent_late(ms(by), ms(2));
        }
        let mut all = Stats::new().unwrap();
        all.own_delays.waited(Resource::Ports, ms(7));
        all.merge(stats).unwrap();
        let expected = OwnDelays { ports: ms(7), late: 2, late_max: ms(5), ..OwnDelays::default() };
        assert_eq!(all.own_delays, expected);
    }
}
