//! The kernel's clocks, and times on them: 64 bits of nanoseconds, so that a time is one register and
//! comparing two is one instruction. 584 years fit.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A time on a clock: the nanoseconds since the clock's epoch.
///
/// Times of different clocks must not be mixed; the type does not tell them apart. Adding a duration
/// clamps at [`MAX`](Self::MAX), taking one away at [`EPOCH`](Self::EPOCH), and a later time taken
/// from an earlier one is zero.
///
/// ```
/// use epoll_sys::Timestamp;
/// use std::time::Duration;
///
/// let start = Timestamp::after_epoch(Duration::from_secs(10));
/// let end = start + Duration::from_millis(250);
/// assert_eq!(end - start, Duration::from_millis(250));
/// assert_eq!(start - end, Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The clock's epoch.
    pub const EPOCH: Self = Self(0);
    /// 584 years after the clock's epoch; later times clamp to this one.
    pub const MAX: Self = Self(u64::MAX);

    /// The time this many nanoseconds after the clock's epoch.
    #[inline]
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The nanoseconds since the clock's epoch.
    #[inline]
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time `duration` after the clock's epoch.
    #[inline]
    #[must_use]
    pub fn after_epoch(duration: Duration) -> Self {
        let seconds = duration.as_secs().saturating_mul(1_000_000_000);
        Self(seconds.saturating_add(duration.subsec_nanos().into()))
    }

    /// The time since the clock's epoch.
    #[inline]
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// `self + duration`, or `None` beyond [`MAX`](Self::MAX).
    #[inline]
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanoseconds = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanoseconds).map(Self)
    }

    /// As the kernel tells it: less than a second of nanoseconds, and never before the epoch but on
    /// a real-time clock that shows a year before 1970, which counts as the epoch's first second.
    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "neither is negative")]
    pub(crate) fn from_timespec(seconds: i64, nanoseconds: i64) -> Self {
        // No clock shows 584 years; a check would cost every turn of a loop.
        let whole = (seconds.max(0) as u64).wrapping_mul(1_000_000_000);
        Self(whole.wrapping_add(nanoseconds as u64))
    }
}

/// Clamps at [`Timestamp::MAX`].
impl Add<Duration> for Timestamp {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(Self::after_epoch(duration).0))
    }
}

/// Clamps at [`Timestamp::EPOCH`].
impl Sub<Duration> for Timestamp {
    type Output = Self;

    #[inline]
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(Self::after_epoch(duration).0))
    }
}

/// The time from the other to this one; zero if the other is later.
impl Sub for Timestamp {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A clock of the kernel,
/// [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`: never set; stands still while the system is suspended.
    #[default]
    Monotonic,
    /// `CLOCK_BOOTTIME`: never set; runs on while the system is suspended.
    Boottime,
    /// `CLOCK_REALTIME`: the time since 1970; jumps when it is set.
    Realtime,
}

impl Clock {
    /// `clock_gettime`: the time this clock shows. No system call where the kernel maps its vDSO.
    ///
    /// A real-time clock that is set to a time before 1970 shows the first second of its epoch.
    ///
    /// ```
    /// use epoll_sys::Clock;
    ///
    /// let start = Clock::Monotonic.now();
    /// assert!(Clock::Monotonic.now() >= start);
    /// ```
    #[doc(alias = "clock_gettime")]
    #[inline]
    #[must_use]
    pub fn now(self) -> Timestamp {
        let clock = match self {
            Self::Monotonic => libc::CLOCK_MONOTONIC,
            Self::Boottime => libc::CLOCK_BOOTTIME,
            Self::Realtime => libc::CLOCK_REALTIME,
        };
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // By libc rather than by rustix, whose own search for the vDSO crashes under valgrind.
        // SAFETY: `time` is a valid place for a timespec. The call fails only for a clock that the
        // kernel lacks, and none that has epoll lacks one of these; `time` would stay zero then.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        #[allow(clippy::useless_conversion, reason = "they are shorter on 32-bit machines")]
        Timestamp::from_timespec(time.tv_sec.into(), time.tv_nsec.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_clamps() {
        assert_eq!(Timestamp::after_epoch(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_nanos(5) + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::from_nanos(5) - Duration::MAX, Timestamp::EPOCH);
        assert_eq!(Timestamp::from_nanos(5).checked_add(Duration::MAX), None);
        assert_eq!(Timestamp::MAX.checked_add(Duration::from_nanos(1)), None);
        assert!(Timestamp::from_timespec(-1, 999_999_999) < Timestamp::from_timespec(1, 0));
    }

    #[test]
    fn a_time_is_its_distance_from_the_epoch() {
        let distance = Duration::new(7, 8);
        assert_eq!(Timestamp::after_epoch(distance).since_epoch(), distance);
        assert_eq!(Timestamp::from_timespec(7, 8), Timestamp::after_epoch(distance));
    }
}
