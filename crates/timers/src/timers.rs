//! A wheel behind a timerfd: a descriptor to watch, and timers that fire when it is reported.
//!
//! Kernel facts: (a) the timer is absolute, so neither a late call nor a stopped process moves it;
//! (b) setting it clears what it has reported, so it is never read; (c) setting it costs a system
//! call, which is spent only when the earliest deadline becomes earlier, or after it fired.

use crate::{Key, Pass, Wheel};
use epoll_sys::{Clock, ClockTime, Expiry, Monotonic, TimerFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The longest that the tick of [`Timers::new`] may be.
pub const TICK: Duration = Duration::from_millis(1);

/// Many timers behind one descriptor, for any event loop.
///
/// Watch the descriptor for reading, with an edge trigger or a level trigger, and call
/// [`expire`](Self::expire) when it is reported. It is never to be read.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Epoll, Events, Interest, Watch};
/// use epoll_timers::Timers;
/// use std::time::Duration;
///
/// let mut timers = Timers::new()?;
/// let epoll = Epoll::new()?;
/// epoll.add(&timers, 0, Watch::edge(Interest::IN))?;
///
/// timers.insert(timers.now() + Duration::from_millis(5), "done")?;
/// let mut done = false;
/// while !done {
///     epoll.wait(&mut Events::with_capacity(1), None)?;
///     timers.expire(timers.now(), 1000, |timers, key| {
///         done = timers.get(key) == Some(&"done");
///         None
///     })?;
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Timers<V, C: Clock = Monotonic> {
    wheel: Wheel<V, C>,
    timerfd: TimerFd<C>,
    /// What the timerfd is set to.
    armed: Option<ClockTime<C>>,
    settime_calls: u64,
}

impl<V> Timers<V> {
    /// No timers yet, on `CLOCK_MONOTONIC` with a tick of a millisecond at most.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    pub fn new() -> io::Result<Self> {
        Self::with_clock(Monotonic, TICK)
    }
}

impl<V, C: Clock> Timers<V, C> {
    /// Like [`new`](Timers::new), on another clock and with another tick.
    ///
    /// `CLOCK_BOOTTIME` runs on while the system is suspended. `CLOCK_REALTIME` jumps when it is
    /// set; timers whose deadline is jumped over fire then.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Timers::new), and [`InvalidInput`](io::ErrorKind::InvalidInput) for a tick of
    /// zero.
    pub fn with_clock(clock: C, tick: Duration) -> io::Result<Self> {
        let wheel = Wheel::with_clock(clock, tick)?;
        Ok(Self { wheel, timerfd: TimerFd::with_clock(clock)?, armed: None, settime_calls: 0 })
    }

    /// The time of the clock that the timers run on.
    #[inline]
    #[must_use]
    pub fn now(&self) -> ClockTime<C> {
        ClockTime::now()
    }

    /// A timer that fires when the clock shows `deadline`; see [`Wheel::insert`].
    ///
    /// # Errors
    ///
    /// None that is known. There is no timer then.
    ///
    /// # Panics
    ///
    /// When 2^32 - 1 timers exist.
    #[inline]
    pub fn insert(&mut self, deadline: ClockTime<C>, value: V) -> io::Result<Key> {
        let key = self.wheel.insert(deadline, value);
        match self.arm_for(deadline) {
            Ok(()) => Ok(key),
            Err(error) => {
                self.wheel.cancel(key);
                Err(error)
            }
        }
    }

    /// Ends a timer and gives its value; see [`Wheel::cancel`].
    #[inline]
    pub fn cancel(&mut self, key: Key) -> Option<V> {
        self.wheel.cancel(key)
    }

    /// Gives a timer another deadline; see [`Wheel::reschedule`].
    ///
    /// # Errors
    ///
    /// None that is known.
    #[inline]
    pub fn reschedule(&mut self, key: Key, deadline: ClockTime<C>) -> io::Result<bool> {
        let is_known = self.wheel.reschedule(key, deadline);
        if is_known {
            self.arm_for(deadline)?;
        }
        Ok(is_known)
    }

    /// The value of a timer; `None`: there is no such timer.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&V> {
        self.wheel.get(key)
    }

    /// How many timers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Whether there is no timer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }

    /// How often the timerfd was set so far: calls of `timerfd_settime`, the only system call that
    /// timers cost.
    #[must_use]
    pub fn settime_calls(&self) -> u64 {
        self.settime_calls
    }

    /// Lets timers fire that are due at `now`, and sets the timerfd for the next; see
    /// [`Wheel::expire`].
    ///
    /// A pass that is not complete leaves the descriptor readable, so that the loop comes back to
    /// it after other work; so does one that a panic of `fire` ends.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn expire(
        &mut self,
        now: ClockTime<C>,
        steps_max: usize,
        fire: impl FnMut(&mut Wheel<V, C>, Key) -> Option<ClockTime<C>>,
    ) -> io::Result<Pass> {
        let expiring = Expiring { timers: self, now };
        let pass = expiring.timers.wheel.expire(now, steps_max, fire);
        drop(expiring);
        self.set_after(now)?;
        Ok(pass)
    }

    /// Sets the timerfd for what comes after a pass.
    fn set_after(&mut self, now: ClockTime<C>) -> io::Result<()> {
        // The time may have been read before the timerfd expired, and an edge is reported once: what
        // the clock shows now decides whether it has.
        let latest = now.max(self.now());
        let has_fired = self.armed.is_some_and(|armed| armed <= latest);
        match self.wheel.next_expiry() {
            Some(next) if has_fired || self.armed.is_none_or(|armed| next < armed) => {
                self.set(next)?;
            }
            None if has_fired => {
                // A level trigger would report the last expiry for ever.
                self.settime_calls += 1;
                self.timerfd.disarm()?;
                self.armed = None;
            }
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn arm_for(&mut self, deadline: ClockTime<C>) -> io::Result<()> {
        if self.armed.is_some_and(|armed| armed <= deadline) { Ok(()) } else { self.arm() }
    }

    #[cold]
    fn arm(&mut self) -> io::Result<()> {
        match self.wheel.next_expiry() {
            Some(next) if self.armed.is_none_or(|armed| next < armed) => self.set(next),
            _ => Ok(()),
        }
    }

    fn set(&mut self, time: ClockTime<C>) -> io::Result<()> {
        self.settime_calls += 1;
        self.timerfd.set(Expiry::At(time))?;
        self.armed = Some(time);
        Ok(())
    }
}

/// A pass; one that ends in a panic must set the timerfd as well, or nobody comes back to the rest.
struct Expiring<'a, V, C: Clock> {
    timers: &'a mut Timers<V, C>,
    now: ClockTime<C>,
}

impl<V, C: Clock> Drop for Expiring<'_, V, C> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The panic is what the caller hears of.
            let _ = self.timers.set_after(self.now);
        }
    }
}

/// The timerfd.
impl<V, C: Clock> AsFd for Timers<V, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timerfd.as_fd()
    }
}
