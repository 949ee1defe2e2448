//! `timerfd`: a timer in the kernel that can be waited for.
//!
//! Kernel facts: (a) a timer with an absolute time in the past expires at once; (b) a zero time
//! would disarm, so it is raised to a nanosecond here; (c) with an edge-triggered registration each
//! expiry is a new edge, so the descriptor never has to be read; (d) setting a timer clears the
//! expirations that were not read.

use crate::errno::check;
use crate::eventfd::read_u64;
use crate::{Clock, ClockTime, Monotonic};
use libc::c_int;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// The moment at which a [`TimerFd`] on the clock `C` expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry<C = Monotonic> {
    /// After this time has passed.
    After(Duration),
    /// At this time of the clock, or as soon as it shows a later one.
    At(ClockTime<C>),
    /// `TFD_TIMER_CANCEL_ON_SET`: when the real-time clock shows this time or a later one, or when
    /// it is set, which the next read reports as `ECANCELED`. On another clock the same as
    /// [`At`](Self::At), for no other clock is ever set.
    AtUnlessClockSet(ClockTime<C>),
}

/// A timer in the kernel on the clock `C`,
/// [timerfd_create(2)](https://man7.org/linux/man-pages/man2/timerfd_create.2.html).
///
/// Watched with an edge trigger it is reported once for each expiry and need not be read; with a
/// level trigger it is reported until it is read or set anew.
///
/// Any thread may set and read it. A forked child shares the timer with its parent: if one sets it, it is
/// set for both. `exec` closes it.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Epoll, Events, Expiry, Interest, TimerFd, Watch};
/// use std::time::Duration;
///
/// let timer = TimerFd::new()?;
/// let epoll = Epoll::new()?;
/// epoll.add(&timer, 0, Watch::edge(Interest::IN))?;
///
/// timer.set(Expiry::After(Duration::from_millis(2)))?;
/// assert_eq!(epoll.wait(&mut Events::with_capacity(1), None)?, 1);
/// assert_eq!(timer.read()?, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TimerFd<C = Monotonic> {
    fd: OwnedFd,
    clock: PhantomData<fn() -> C>,
}

impl TimerFd {
    /// `timerfd_create(TFD_CLOEXEC | TFD_NONBLOCK)`: creates a timer on `CLOCK_MONOTONIC` that is not
    /// set.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    #[doc(alias = "timerfd_create")]
    pub fn new() -> io::Result<Self> {
        Self::with_clock(Monotonic)
    }
}

impl<C: Clock> TimerFd<C> {
    /// `timerfd_create(TFD_CLOEXEC | TFD_NONBLOCK)`: creates a timer on `clock` that is not set.
    ///
    /// # Errors
    ///
    /// Those of [`new`](TimerFd::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{ClockTime, Expiry, Realtime, TimerFd};
    /// use std::time::Duration;
    ///
    /// let timer = TimerFd::with_clock(Realtime)?;
    /// let new_year_2100 = ClockTime::after_epoch(Duration::from_secs(4_102_444_800));
    /// timer.set(Expiry::At(new_year_2100))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_clock(clock: C) -> io::Result<Self> {
        // The type says which clock; the value lets the caller write it as an argument.
        let _: C = clock;
        // SAFETY: the call takes two numbers and touches no memory.
        let fd = unsafe { libc::timerfd_create(C::ID, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        check(fd)?;
        // SAFETY: the kernel has just made this descriptor, so it is open and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, clock: PhantomData })
    }

    /// `timerfd_settime`: sets the timer to expire once. The former setting, and expirations that
    /// were not read, are gone.
    ///
    /// Huge times clamp to the largest one that the kernel takes.
    ///
    /// # Errors
    ///
    /// `ECANCELED`: the timer was and is set with [`Expiry::AtUnlessClockSet`], and the clock was set
    /// in between. The timer is set nevertheless; the next read does not report it again.
    #[doc(alias = "timerfd_settime")]
    #[inline]
    pub fn set(&self, expiry: Expiry<C>) -> io::Result<()> {
        self.set_repeating(expiry, Duration::ZERO)
    }

    /// `timerfd_settime`: sets the timer to expire at `first`, then every `interval`; zero means once.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    #[inline]
    pub fn set_repeating(&self, first: Expiry<C>, interval: Duration) -> io::Result<()> {
        let (flags, value) = match first {
            Expiry::After(time) => (0, time),
            Expiry::At(time) => (libc::TFD_TIMER_ABSTIME, time.since_epoch()),
            Expiry::AtUnlessClockSet(time) => {
                (libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET, time.since_epoch())
            }
        };
        let value = value.max(Duration::from_nanos(1));
        self.settime(flags, value, interval)
    }

    /// `timerfd_settime` with zero: stops the timer, until it is set again.
    ///
    /// Does not fail on Linux today; the `Result` leaves room for an error of the kernel.
    pub fn disarm(&self) -> io::Result<()> {
        self.settime(0, Duration::ZERO, Duration::ZERO)
    }

    #[inline]
    fn settime(&self, flags: c_int, value: Duration, interval: Duration) -> io::Result<()> {
        let spec =
            libc::itimerspec { it_interval: to_timespec(interval), it_value: to_timespec(value) };
        // SAFETY: the descriptor is open, by `self`, and `spec` is initialized. The former setting is
        // not asked for, which null says.
        check(unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), flags, &raw const spec, ptr::null_mut())
        })
    }

    /// `timerfd_gettime`: returns the time until the next expiry, or `None` when the timer is not set.
    ///
    /// Does not fail on Linux today; the `Result` leaves room for an error of the kernel.
    #[doc(alias = "timerfd_gettime")]
    pub fn remaining(&self) -> io::Result<Option<Duration>> {
        let zero = to_timespec(Duration::ZERO);
        let mut setting = libc::itimerspec { it_interval: zero, it_value: zero };
        // SAFETY: the descriptor is open, by `self`, and `setting` is a place for the answer.
        check(unsafe { libc::timerfd_gettime(self.fd.as_raw_fd(), &raw mut setting) })?;
        let left = ClockTime::<C>::from_timespec(setting.it_value).since_epoch();
        Ok((!left.is_zero()).then_some(left))
    }

    /// `read`: returns how often the timer has expired since it was set or last read.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): it has not expired. `ECANCELED`: the clock of an
    /// [`Expiry::AtUnlessClockSet`] was set. The timer stays set, for a time that may now be wrong.
    #[inline]
    pub fn read(&self) -> io::Result<u64> {
        read_u64(self.fd.as_fd())
    }
}

/// Converts a time. The kernel clamps the sum of now and a huge time, but refuses a negative number.
#[inline]
#[allow(clippy::cast_lossless, clippy::cast_possible_wrap, reason = "a long has 32 or 64 bits")]
fn to_timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos() as libc::c_long,
    }
}

impl<C> AsFd for TimerFd<C> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<C> AsRawFd for TimerFd<C> {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl<C> From<TimerFd<C>> for OwnedFd {
    fn from(timer: TimerFd<C>) -> Self {
        timer.fd
    }
}

impl<C: Clock> fmt::Debug for TimerFd<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerFd").field("fd", &self.fd).field("clock", &C::default()).finish()
    }
}
