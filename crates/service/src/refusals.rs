//! Refused connections in the logs: each kind at most once a second, with their number, so that a flood of
//! connections does not flood the logs.

use crate::admission::Refusal;
use epoll_timers::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The time between two lines of the same kind.
const PERIOD: Duration = Duration::from_secs(1);

/// Refused connections that are not logged yet.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog([Mutex<OfKind>; Refusal::COUNT]);

#[derive(Debug, Default)]
struct OfKind {
    logged_at: Option<Timestamp>,
    count: u64,
}

impl RefusalLog {
    /// Notes a refusal. Returns how many there were since the last line, if there is to be another one.
    pub(crate) fn note(&self, refusal: Refusal, now: Timestamp) -> Option<u64> {
        // Balancers look whether a server is alive by connecting and closing.
        let of_kind = self.0.get(refusal as usize).filter(|_| refusal != Refusal::HeaderMissing)?;
        let mut of_kind = of_kind.lock().unwrap_or_else(PoisonError::into_inner);
        of_kind.count += 1;
        if of_kind.logged_at.is_some_and(|time| now < time + PERIOD) {
            return None;
        }
        of_kind.logged_at = Some(now);
        Some(std::mem::take(&mut of_kind.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_logged_at_most_once_a_second_with_what_came_since() {
        let log = RefusalLog::default();
        let at = |ms| Timestamp::after_epoch(Duration::from_millis(ms));
        for (ms, refusal, expected) in [
            (0, Refusal::Full, Some(1)),
            (1, Refusal::Full, None),
            (1, Refusal::PeerFull, Some(1)),
            (999, Refusal::Full, None),
            (1000, Refusal::Full, Some(3)),
            (1999, Refusal::Full, None),
            (9000, Refusal::Full, Some(2)),
            (9000, Refusal::HeaderLate, Some(1)),
            (9000, Refusal::HeaderMissing, None),
        ] {
            assert_eq!(log.note(refusal, at(ms)), expected, "{refusal:?} at {ms} ms");
        }
    }
}
