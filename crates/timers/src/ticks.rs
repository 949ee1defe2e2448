//! Times as ticks. A tick is a power of two of nanoseconds, so that the way from one to the other is
//! a shift. A deadline is rounded up and the present is rounded down: never early.

use epoll_sys::ClockTime;
use std::time::Duration;

/// How long a tick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    shift: u32,
}

impl Ticks {
    /// The longest tick that is not longer than `tick`; `None` for zero.
    pub(crate) fn at_most(tick: Duration) -> Option<Self> {
        ClockTime::<()>::after_epoch(tick).as_nanos().checked_ilog2().map(|shift| Self { shift })
    }

    pub(crate) fn length(self) -> Duration {
        Duration::from_nanos(1 << self.shift)
    }

    /// The first tick that is not before `time`.
    #[inline]
    pub(crate) fn not_before<C>(self, time: ClockTime<C>) -> u64 {
        // A tick less than a nanosecond off the end of time would overflow; it is the end of time.
        time.as_nanos().saturating_add((1 << self.shift) - 1) >> self.shift
    }

    /// The last tick that is not after `time`.
    #[inline]
    pub(crate) fn not_after<C>(self, time: ClockTime<C>) -> u64 {
        time.as_nanos() >> self.shift
    }

    /// When `tick` begins.
    #[inline]
    pub(crate) fn time<C>(self, tick: u64) -> ClockTime<C> {
        // The tick after the last one begins where time ends.
        let end = u64::MAX >> self.shift;
        if tick > end { ClockTime::MAX } else { ClockTime::from_nanos(tick << self.shift) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_sys::Timestamp;

    #[test]
    fn a_tick_is_a_power_of_two_not_longer_than_asked_for() {
        let cases = [(1, 1), (2, 2), (3, 2), (1_000_000, 524_288), (u64::MAX, 1 << 63)];
        for (asked, given) in cases {
            let ticks = Ticks::at_most(Duration::from_nanos(asked)).unwrap();
            assert_eq!(ticks.length(), Duration::from_nanos(given));
        }
        assert_eq!(Ticks::at_most(Duration::ZERO), None);
    }

    #[test]
    fn deadlines_round_up_and_the_present_rounds_down() {
        let ticks = Ticks::at_most(Duration::from_nanos(8)).unwrap();
        for (time, before, after) in [(0, 0, 0), (1, 1, 0), (7, 1, 0), (8, 1, 1), (9, 2, 1)] {
            let time = Timestamp::from_nanos(time);
            assert_eq!((ticks.not_before(time), ticks.not_after(time)), (before, after));
        }
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let ticks = Ticks::at_most(Duration::from_millis(1)).unwrap();
        let last = ticks.not_before(Timestamp::MAX);
        assert_eq!(last, u64::MAX >> 19);
        assert!(ticks.time::<()>(last) <= ClockTime::MAX);
    }
}
