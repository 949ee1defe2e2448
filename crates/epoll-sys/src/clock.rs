//! The kernel's clocks, and times on them: 64 bits of nanoseconds, so that a time is one register and
//! comparing two is one instruction. 584 years fit.
//!
//! The clock is part of a time's type. The kernel's clocks differ by years, so a time of one that is
//! compared with a time of another is a timer that never fires, or one that fires at once.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A clock of the kernel,
/// [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html): [`Monotonic`],
/// [`Boottime`] or [`Realtime`].
///
/// Sealed: the clocks are the kernel's.
pub trait Clock:
    sealed::Sealed + Copy + Default + Eq + Hash + fmt::Debug + Send + Sync + 'static
{
    /// The clock's number, as `clock_gettime` and `timerfd_create` take it.
    const ID: i32;
    /// Is `true` if the clock can be set, and so jumps.
    const CAN_BE_SET: bool;
}

mod sealed {
    pub trait Sealed {}
}

/// `CLOCK_MONOTONIC`: never set; stands still while the system is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[doc(alias = "CLOCK_MONOTONIC")]
pub struct Monotonic;

/// `CLOCK_BOOTTIME`: never set; runs on while the system is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[doc(alias = "CLOCK_BOOTTIME")]
pub struct Boottime;

/// `CLOCK_REALTIME`: the time since 1970; jumps when it is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[doc(alias = "CLOCK_REALTIME")]
pub struct Realtime;

impl Clock for Monotonic {
    const ID: i32 = libc::CLOCK_MONOTONIC;
    const CAN_BE_SET: bool = false;
}

impl sealed::Sealed for Monotonic {}

impl Clock for Boottime {
    const ID: i32 = libc::CLOCK_BOOTTIME;
    const CAN_BE_SET: bool = false;
}

impl sealed::Sealed for Boottime {}

impl Clock for Realtime {
    const ID: i32 = libc::CLOCK_REALTIME;
    const CAN_BE_SET: bool = true;
}

impl sealed::Sealed for Realtime {}

/// A time on `CLOCK_MONOTONIC`, the clock of timeouts.
pub type Timestamp = ClockTime<Monotonic>;

/// A time on the clock `C`: the nanoseconds since the clock's epoch.
///
/// Adding a duration clamps at [`MAX`](Self::MAX), subtracting one clamps at [`EPOCH`](Self::EPOCH),
/// and the difference between a time and a later one is zero.
///
/// The epoch of [`Realtime`] is 1970 and means the same on every machine. The epoch of [`Monotonic`]
/// and [`Boottime`] is about when the system was started: their times mean nothing on another machine
/// or after a reboot. All processes of a time namespace share them, so they stay valid across `fork`
/// and `exec`.
///
/// # Examples
///
/// ```
/// use epoll_sys::Timestamp;
/// use std::time::Duration;
///
/// let start = Timestamp::now();
/// let end = start + Duration::from_millis(250);
/// assert_eq!(end - start, Duration::from_millis(250));
/// assert_eq!(start - end, Duration::ZERO);
/// ```
///
/// Times of different clocks are different types. They cannot be compared:
///
/// ```compile_fail,E0308
/// use epoll_sys::{ClockTime, Realtime, Timestamp};
///
/// let _ = Timestamp::now() < ClockTime::<Realtime>::now();
/// ```
///
/// Nor subtracted:
///
/// ```compile_fail,E0277
/// use epoll_sys::{Boottime, ClockTime, Timestamp};
///
/// let _ = ClockTime::<Boottime>::now() - Timestamp::now();
/// ```
///
/// Nor does a timer take a time of another clock:
///
/// ```compile_fail,E0308
/// use epoll_sys::{ClockTime, Expiry, Realtime, TimerFd};
///
/// let timer = TimerFd::new().unwrap();
/// timer.set(Expiry::At(ClockTime::<Realtime>::now()));
/// ```
pub struct ClockTime<C> {
    nanoseconds: u64,
    // A function that returns a clock rather than a clock: `Send` and `Sync` whatever `C` is.
    clock: PhantomData<fn() -> C>,
}

const _: () = assert!(size_of::<Timestamp>() == 8);

impl<C: Clock> ClockTime<C> {
    /// `clock_gettime`: returns the time that the clock shows. No system call where the kernel maps
    /// its vDSO.
    ///
    /// A real-time clock that is set to a time before 1970 shows the first second of its epoch.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{ClockTime, Realtime, Timestamp};
    /// use std::time::Duration;
    ///
    /// let start = Timestamp::now();
    /// assert!(Timestamp::now() >= start);
    ///
    /// let days = ClockTime::<Realtime>::now().since_epoch().as_secs() / 86_400;
    /// assert!(days > 20_000);
    /// ```
    #[doc(alias = "clock_gettime")]
    #[inline]
    #[must_use]
    pub fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // By libc rather than by rustix, whose own search for the vDSO crashes under valgrind.
        // SAFETY: `time` is a valid place for a timespec. The call fails only for a clock that the
        // kernel lacks, and none that has epoll lacks one of these; `time` would stay zero then.
        unsafe { libc::clock_gettime(C::ID, &raw mut time) };
        Self::from_timespec(time)
    }
}

impl<C> ClockTime<C> {
    /// The clock's epoch.
    pub const EPOCH: Self = Self::from_nanos(0);
    /// 584 years after the clock's epoch; later times clamp to this one.
    pub const MAX: Self = Self::from_nanos(u64::MAX);

    /// Returns the time this many nanoseconds after the clock's epoch.
    #[inline]
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self { nanoseconds, clock: PhantomData }
    }

    /// Returns the nanoseconds since the clock's epoch.
    #[inline]
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.nanoseconds
    }

    /// Returns the time `duration` after the clock's epoch, clamped at [`MAX`](Self::MAX).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::Timestamp;
    /// use std::time::Duration;
    ///
    /// let time = Timestamp::after_epoch(Duration::from_millis(1));
    /// assert_eq!(time, Timestamp::from_nanos(1_000_000));
    /// ```
    #[inline]
    #[must_use]
    pub fn after_epoch(duration: Duration) -> Self {
        let seconds = duration.as_secs().saturating_mul(1_000_000_000);
        Self::from_nanos(seconds.saturating_add(duration.subsec_nanos().into()))
    }

    /// Returns the duration since the clock's epoch.
    #[inline]
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// Returns `self + duration`, or `None` beyond [`MAX`](Self::MAX).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::Timestamp;
    /// use std::time::Duration;
    ///
    /// let now = Timestamp::now();
    /// let second = Duration::from_secs(1);
    /// assert_eq!(now.checked_add(second), Some(now + second));
    /// assert_eq!(now.checked_add(Duration::MAX), None);
    /// ```
    #[inline]
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanoseconds = u64::try_from(duration.as_nanos()).ok()?;
        self.nanoseconds.checked_add(nanoseconds).map(Self::from_nanos)
    }

    /// Converts a time as the kernel tells it: its nanoseconds are less than a second. Its seconds are
    /// negative only on a real-time clock that shows a year before 1970, and count as zero.
    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "neither is negative")]
    pub(crate) fn from_timespec(time: libc::timespec) -> Self {
        // No clock shows 584 years; a check would cost every turn of a loop.
        let whole = (time.tv_sec.max(0) as u64).wrapping_mul(1_000_000_000);
        Self::from_nanos(whole.wrapping_add(time.tv_nsec as u64))
    }
}

/// Clamps at [`ClockTime::MAX`].
impl<C> Add<Duration> for ClockTime<C> {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        let added = Self::after_epoch(duration).nanoseconds;
        Self::from_nanos(self.nanoseconds.saturating_add(added))
    }
}

/// Clamps at [`ClockTime::EPOCH`].
impl<C> Sub<Duration> for ClockTime<C> {
    type Output = Self;

    #[inline]
    fn sub(self, duration: Duration) -> Self {
        let removed = Self::after_epoch(duration).nanoseconds;
        Self::from_nanos(self.nanoseconds.saturating_sub(removed))
    }
}

/// The duration from `earlier` to `self`; zero if `earlier` is the later one.
impl<C> Sub for ClockTime<C> {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanoseconds.saturating_sub(earlier.nanoseconds))
    }
}

// By hand below, because `derive` would ask `C` for the same.

impl<C> Clone for ClockTime<C> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for ClockTime<C> {}

/// The clock's epoch.
impl<C> Default for ClockTime<C> {
    fn default() -> Self {
        Self::EPOCH
    }
}

impl<C> PartialEq for ClockTime<C> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.nanoseconds == other.nanoseconds
    }
}

impl<C> Eq for ClockTime<C> {}

impl<C> PartialOrd for ClockTime<C> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<C> Ord for ClockTime<C> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanoseconds.cmp(&other.nanoseconds)
    }
}

impl<C> Hash for ClockTime<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanoseconds.hash(state);
    }
}

/// The duration since the epoch, to the nanosecond.
impl<C> fmt::Debug for ClockTime<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClockTime").field(&self.since_epoch()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    #[test]
    fn what_is_out_of_range_clamps() {
        assert_eq!(Timestamp::after_epoch(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_nanos(5) + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::from_nanos(5) - Duration::MAX, Timestamp::EPOCH);
        assert_eq!(Timestamp::from_nanos(5).checked_add(Duration::MAX), None);
        assert_eq!(Timestamp::MAX.checked_add(Duration::from_nanos(1)), None);
        let before_1970 = libc::timespec { tv_sec: -1, tv_nsec: 999_999_999 };
        assert_eq!(Timestamp::from_timespec(before_1970), Timestamp::from_nanos(999_999_999));
    }

    #[test]
    fn a_checked_sum_is_there_up_to_the_end_of_time_and_not_beyond() {
        let nanosecond = Duration::from_nanos(1);
        let longest = Timestamp::MAX.since_epoch();
        let sums = [
            (Timestamp::EPOCH, longest, Some(Timestamp::MAX)),
            (Timestamp::EPOCH, longest + nanosecond, None),
            (Timestamp::from_nanos(1), longest - nanosecond, Some(Timestamp::MAX)),
            (Timestamp::from_nanos(1), longest, None),
            (Timestamp::MAX, Duration::ZERO, Some(Timestamp::MAX)),
            (Timestamp::MAX, nanosecond, None),
            (Timestamp::EPOCH, Duration::new(1, 2), Some(Timestamp::from_nanos(1_000_000_002))),
            // A multiple of 2^64 nanoseconds is not taken for zero.
            (Timestamp::EPOCH, Duration::new(18_446_744_073, 709_551_616), None),
            (Timestamp::EPOCH, Duration::from_secs(u64::MAX), None),
        ];
        for (time, duration, sum) in sums {
            assert_eq!(time.checked_add(duration), sum, "{time:?} + {duration:?}");
        }
    }

    #[test]
    fn times_are_compared_added_and_subtracted_by_their_nanoseconds() {
        let [early, late] = [5, 7].map(Timestamp::from_nanos);
        assert_eq!((early.as_nanos(), late.as_nanos()), (5, 7));
        assert!(early < late && early != late && early <= early);
        let distance = Duration::from_nanos(2);
        assert_eq!((late - early, early - late), (distance, Duration::ZERO));
        assert_eq!((early + distance).as_nanos(), 7);
        assert_eq!((late - distance).as_nanos(), 5);
    }

    #[test]
    fn times_are_cloned_and_told_apart_by_their_hashes() {
        fn clone_of<T: Clone>(value: &T) -> T {
            value.clone()
        }
        let time = Timestamp::from_nanos(7);
        assert_eq!(clone_of(&time), time);
        let hasher = RandomState::new();
        let hash = |nanoseconds| hasher.hash_one(Timestamp::from_nanos(nanoseconds));
        assert_eq!(hash(7), hash(7));
        assert_ne!(hash(7), hash(8));
    }

    #[test]
    fn a_time_is_its_distance_from_the_epoch() {
        let distance = Duration::new(7, 8);
        assert_eq!(Timestamp::after_epoch(distance).since_epoch(), distance);
        let time = libc::timespec { tv_sec: 7, tv_nsec: 8 };
        assert_eq!(Timestamp::from_timespec(time), Timestamp::after_epoch(distance));
    }
}
