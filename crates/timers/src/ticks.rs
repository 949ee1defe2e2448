//! Times as ticks. A tick is a power of two of nanoseconds, so that converting is a shift. A deadline is
//! rounded up and the present is rounded down, so a timer never fires early.
//!
//! The last tick begins at the end of time, [`ClockTime::MAX`]: the deadlines in the last whole tick
//! round up to it. One more tick after it can be counted, and never comes.

use epoll_sys::ClockTime;
use std::time::Duration;

/// The length of a tick, and the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    shift: u32,
    end: u64,
}

impl Ticks {
    /// Returns the longest tick that is not longer than `tick`; `None` for zero.
    pub(crate) fn at_most(tick: Duration) -> Option<Self> {
        let nanoseconds = ClockTime::<()>::after_epoch(tick).as_nanos();
        let shift = nanoseconds.checked_ilog2()?;
        // With a tick of a nanosecond the last two times share the last tick, for the one after it.
        Some(Self { shift, end: (u64::MAX >> shift).min(u64::MAX - 2) + 1 })
    }

    pub(crate) fn length(self) -> Duration {
        Duration::from_nanos(1 << self.shift)
    }

    /// Returns the first tick that does not begin before `time`.
    #[inline]
    pub(crate) fn not_before<C>(self, time: ClockTime<C>) -> u64 {
        let whole = time.as_nanos() >> self.shift;
        let is_within = whole << self.shift != time.as_nanos();
        (whole + u64::from(is_within)).min(self.end)
    }

    /// Returns the last tick that does not begin after `time`.
    #[inline]
    pub(crate) fn not_after<C>(self, time: ClockTime<C>) -> u64 {
        if time == ClockTime::MAX {
            return self.end;
        }
        (time.as_nanos() >> self.shift).min(self.end - 1)
    }

    /// Returns when `tick` begins.
    #[inline]
    pub(crate) fn time<C>(self, tick: u64) -> ClockTime<C> {
        if tick >= self.end { ClockTime::MAX } else { ClockTime::from_nanos(tick << self.shift) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_sys::Timestamp;

    fn ticks(nanoseconds: u64) -> Ticks {
        Ticks::at_most(Duration::from_nanos(nanoseconds)).unwrap()
    }

    #[test]
    fn a_tick_is_a_power_of_two_not_longer_than_asked_for() {
        let cases = [(1, 1), (2, 2), (3, 2), (1_000_000, 524_288), (u64::MAX, 1 << 63)];
        for (asked, given) in cases {
            assert_eq!(ticks(asked).length(), Duration::from_nanos(given));
        }
        assert_eq!(Ticks::at_most(Duration::ZERO), None);
    }

    #[test]
    fn deadlines_round_up_and_the_present_rounds_down() {
        let ticks = ticks(8);
        for (time, before, after) in [(0, 0, 0), (1, 1, 0), (7, 1, 0), (8, 1, 1), (9, 2, 1)] {
            let time = Timestamp::from_nanos(time);
            assert_eq!((ticks.not_before(time), ticks.not_after(time)), (before, after));
        }
    }

    #[test]
    fn no_tick_comes_before_a_deadline_however_near_the_end_of_time_that_is() {
        for shift in 0..64 {
            let ticks = ticks(1 << shift);
            // Two ticks back, and each side of where they begin.
            let near: Vec<_> = [0, 1 << shift, 2 << shift]
                .iter()
                .flat_map(|back: &u64| (0..3).map(move |more| back.saturating_add(more)))
                .flat_map(|back| [u64::MAX - back, (u64::MAX - back) >> shift << shift])
                .map(Timestamp::from_nanos)
                .collect();
            for deadline in &near {
                let due = ticks.not_before(*deadline);
                for now in &near {
                    let has_come = ticks.not_after(*now) >= due;
                    assert!(!has_come || now >= deadline, "{deadline:?} at {now:?}, {ticks:?}");
                }
                assert!(ticks.not_after(Timestamp::MAX) >= due, "{deadline:?} never comes");
                assert!(ticks.time::<()>(due).as_nanos() >= deadline.as_nanos());
            }
            assert!(ticks.end < u64::MAX, "there is a tick after the last one");
        }
    }
}
