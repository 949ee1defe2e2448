//! Limits that a run has to keep, for scripts that have to decide.

use crate::stats::Stats;
use std::time::Duration;

/// Limits for the figures of a run. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The longest 99th percentile of the latencies. A run without an answer fails it.
    pub p99_max: Option<Duration>,
    /// The largest number of failures.
    pub errors_max: Option<u64>,
}

impl Thresholds {
    /// Returns the limits that the run has not kept, as sentences with the figure and the flag.
    ///
    /// ```
    /// use epoll_load::{Failure, Stats, Thresholds};
    ///
    /// let mut stats = Stats::new()?;
    /// let thresholds = Thresholds { errors_max: Some(0), ..Thresholds::default() };
    /// assert!(thresholds.failed(&stats).is_empty());
    /// stats.failed(Failure::Closed, 2, || "connection 0: the server closed it".to_owned());
    /// assert_eq!(thresholds.failed(&stats), ["2 errors are more than --max-errors 0"]);
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    #[must_use]
    pub fn failed(&self, stats: &Stats) -> Vec<String> {
        let mut failed = Vec::new();
        if let Some(limit) = self.p99_max {
            let text = humantime::format_duration(limit);
            let p99_ns = stats.latencies_ns().value_at_percentile(99.0);
            if stats.answers() == 0 {
                failed.push(format!("no request was answered, so none within --max-p99 {text}"));
            } else if u128::from(p99_ns) > limit.as_nanos() {
                let p99 = humantime::format_duration(Duration::from_micros(p99_ns / 1000));
                failed.push(format!("p99 {p99} is longer than --max-p99 {text}"));
            }
        }
        let count = stats.failures_sum();
        if let Some(limit) = self.errors_max.filter(|limit| count > *limit) {
            failed.push(format!("{count} errors are more than --max-errors {limit}"));
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use epoll_sys::Timestamp;

    fn answered_in(latencies_us: &[u64]) -> Stats {
        let mut stats = Stats::new().unwrap();
        for latency in latencies_us {
            stats.answered(Timestamp::EPOCH, Timestamp::from_nanos(latency * 1000));
        }
        stats
    }

    fn p99(max_us: u64) -> Thresholds {
        Thresholds { p99_max: Some(Duration::from_micros(max_us)), ..Thresholds::default() }
    }

    #[test]
    fn the_percentile_is_compared() {
        let stats = answered_in(&[10, 20, 500]);
        assert!(p99(501).failed(&stats).is_empty());
        let failed = p99(499).failed(&stats);
        assert_eq!(failed, ["p99 500us is longer than --max-p99 499us"]);
        assert_eq!(p99(1).failed(&answered_in(&[])).len(), 1);
    }

    #[test]
    fn each_limit_that_is_not_kept_is_told() {
        let mut stats = answered_in(&[9]);
        stats.failed(Failure::Reset, 3, String::new);
        let thresholds = Thresholds { errors_max: Some(2), ..p99(1) };
        assert_eq!(thresholds.failed(&stats).len(), 2);
        let thresholds = Thresholds { errors_max: Some(3), ..p99(100) };
        assert!(thresholds.failed(&stats).is_empty());
        assert!(Thresholds::default().failed(&stats).is_empty());
    }
}
