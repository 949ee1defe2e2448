//! The reasons for which figures say more about this program or its machine than about the server.

use crate::failure::Failure;
use crate::stats::Stats;
use std::time::Duration;

/// One request in so many may be sent late by this program; it shows in no percentile up to the 99th.
const LATE_MAX: u64 = 100;

/// Returns the reasons for which the figures are invalid; none if they are valid.
///
/// ```
/// use epoll_load::{Resource, Stats, invalid_because};
/// use std::time::Duration;
///
/// let mut stats = Stats::new()?;
/// assert!(invalid_because(&stats).is_empty());
/// stats.own_delays.waited(Resource::Ports, Duration::from_millis(1500));
/// assert_eq!(invalid_because(&stats), ["connections waited 1.500 s for free ports"]);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[must_use]
pub fn invalid_because(stats: &Stats) -> Vec<String> {
    let delays = &stats.own_delays;
    let has_failed = |kind| stats.failures().any(|(failure, _)| failure == kind);
    let mut reasons = Vec::new();
    for (waited, kind, what) in [
        (delays.ports, Failure::NoAddress, "ports"),
        (delays.descriptors, Failure::NoDescriptor, "descriptors"),
    ] {
        if waited > Duration::ZERO {
            let seconds = waited.as_secs_f64();
            reasons.push(format!("connections waited {seconds:.3} s for free {what}"));
        } else if has_failed(kind) {
            reasons.push(format!("there were no {what} for connections"));
        }
    }
    let sent = stats.answers() + stats.unanswered + stats.datagrams.lost;
    if delays.late.saturating_mul(LATE_MAX) > sent {
        let late = delays.late;
        let longest_ms = delays.late_max.as_secs_f64() * 1e3;
        reasons.push(format!(
            "this program lacked CPU time: it sent {late} of {sent} requests late, by up to \
             {longest_ms:.1} ms"
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Resource;
    use epoll_sys::Timestamp;

    fn stats(answers: u64, late: u64) -> Stats {
        let mut stats = Stats::new().unwrap();
        for _ in 0..answers {
            stats.answered(Timestamp::EPOCH, Timestamp::EPOCH);
        }
        for _ in 0..late {
            stats.sent_late(Duration::from_millis(3), Duration::from_millis(2));
        }
        stats
    }

    #[test]
    fn one_late_request_in_a_hundred_is_tolerated() {
        assert!(invalid_because(&stats(0, 0)).is_empty());
        assert!(invalid_because(&stats(200, 2)).is_empty());
        let reasons = invalid_because(&stats(200, 3));
        assert_eq!(reasons.len(), 1);
        assert!(reasons[0].ends_with("3 of 200 requests late, by up to 3.0 ms"), "{reasons:?}");
    }

    #[test]
    fn each_resource_is_named_once() {
        let mut stats = stats(10, 0);
        stats.failed(Failure::NoAddress, 1, String::new);
        assert_eq!(invalid_because(&stats), ["there were no ports for connections"]);
        stats.own_delays.waited(Resource::Ports, Duration::from_millis(2));
        stats.own_delays.waited(Resource::Descriptors, Duration::from_millis(4));
        let reasons = invalid_because(&stats);
        assert!(reasons[0].contains("0.002 s for free ports"), "{reasons:?}");
        assert!(reasons[1].contains("0.004 s for free descriptors"), "{reasons:?}");
        assert_eq!(reasons.len(), 2);
    }
}
