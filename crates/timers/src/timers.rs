//! A wheel behind a timerfd: a descriptor to watch, and timers that fire when it is reported.
//!
//! Kernel facts: (a) the timer is absolute, so neither a late call nor a stopped process moves it;
//! (b) setting it clears what it has reported, so it need not be read as well; (c) setting it costs a system
//! call, which is spent only when the earliest deadline becomes earlier, or after it fired; (d) the
//! kernel makes a timer with `TFD_TIMER_CANCEL_ON_SET` readable when its clock is set, and says
//! `ECANCELED` once, to a read or to the next setting, which sets the timer nevertheless.

use crate::{CompactKey, Fired, Key, Wheel};
use epoll_sys::{Clock, ClockTime, Expiry, Monotonic, TimerFd, errno};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// The longest tick of [`Timers::new`].
pub const TICK: Duration = Duration::from_millis(1);

/// The number of times that setting the timerfd is tried again because the clock was set in between. If it
/// takes more, the cause is another one.
const CLOCK_SETS_MAX: usize = 10;

/// Many timers on the clock `C` behind one descriptor, for any event loop: a [`Wheel`] and a `timerfd`.
///
/// Watch the descriptor for reading, with an edge trigger or a level trigger. When it is reported, call
/// [`next_due`](Self::next_due) until it returns `None`. Do not read the descriptor.
///
/// # Passes
///
/// The calls of `next_due` up to the first `None` are a pass, see [`Wheel`](Wheel#passes). With the `None`
/// the timerfd is set for the next pass. If due timers are left, because the pass has reached
/// [`steps_max`](Self::steps_max), the descriptor is readable again at once, so that the loop comes back
/// after other work.
///
/// A loop that is left before the `None`, by a `break`, a `?` or a panic, does not set the timerfd. The
/// descriptor stays readable, which a level trigger reports again. With an edge trigger call
/// [`rearm`](Self::rearm), or the descriptor is never reported again.
///
/// # Clocks that are set
///
/// Timers on [`Realtime`](crate::Realtime) follow their clock. When it is set, the descriptor is
/// reported, and the pass uses the new time: if it was set forwards, the timers in between fire; if
/// backwards, timers wait until the clock reaches their deadlines again. This costs a `read` for each pass
/// that does not set the timerfd, and O(n) when the clock was set back. The other clocks are never set,
/// and cost nothing.
///
/// # Threads, fork and exec
///
/// One thread uses the timers at a time; they can be sent to another thread if their values can. A forked
/// child shares the timerfd with its parent: if one sets it, it is set for both. Create new timers in the
/// child. `exec` closes the descriptor.
///
/// # Examples
///
/// ```
/// use epoll_timers::epoll_sys::{Epoll, Events, Interest, Watch};
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
///     let now = timers.now();
///     while let Some(fired) = timers.next_due(now)? {
///         done = fired.value == "done";
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Timers<V, C = Monotonic> {
    wheel: Wheel<V, C>,
    timerfd: TimerFd<C>,
    /// The time to which the timerfd is set. It may have expired since.
    armed: Option<ClockTime<C>>,
    settime_calls: u64,
    clock_sets: u64,
}

impl<V> Timers<V> {
    /// Creates timers on `CLOCK_MONOTONIC` with a tick of a millisecond at most.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    pub fn new() -> io::Result<Self> {
        Self::with_clock(Monotonic, TICK)
    }
}

impl<V, C: Clock> Timers<V, C> {
    /// Creates timers like [`new`](Timers::new), on another clock and with another tick.
    ///
    /// [`Boottime`](crate::Boottime) runs on while the system is suspended.
    /// [`Realtime`](crate::Realtime) is set now and then, see [above](#clocks-that-are-set).
    ///
    /// # Errors
    ///
    /// Those of [`new`](Timers::new), and [`InvalidInput`](io::ErrorKind::InvalidInput) for a tick of
    /// zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Realtime, Timers};
    /// use std::time::Duration;
    ///
    /// let mut timers = Timers::with_clock(Realtime, Duration::from_secs(1))?;
    /// let day = Duration::from_secs(86_400);
    /// let tomorrow = timers.now() + day;
    /// timers.insert(tomorrow, "another day")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_clock(clock: C, tick: Duration) -> io::Result<Self> {
        let (mut wheel, timerfd) = (Wheel::with_clock(clock, tick)?, TimerFd::with_clock(clock)?);
        // Seen from the epoch, the first deadline would be in a list of a high level, which begins in the
        // past: the timerfd would expire at once, for no timer.
        wheel.begin_at(ClockTime::now());
        Ok(Self { wheel, timerfd, armed: None, settime_calls: 0, clock_sets: 0 })
    }

    /// Returns the key of one of these timers; see [`CompactKey`].
    #[inline]
    #[must_use]
    pub fn key(&self, stored: CompactKey) -> Key {
        self.wheel.key(stored)
    }

    /// Returns the time of the clock that the timers run on.
    #[inline]
    #[must_use]
    pub fn now(&self) -> ClockTime<C> {
        ClockTime::now()
    }

    /// Inserts a timer that fires when the clock shows `deadline`, in O(1); see [`Wheel::insert`].
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a kernel that refuses to set the timerfd.
    /// Then the timer is not inserted and its value is dropped.
    ///
    /// # Panics
    ///
    /// If there are 32 million timers and worn-out places in all. A place is worn out after 2^24 uses.
    #[inline]
    pub fn insert(&mut self, deadline: ClockTime<C>, value: V) -> io::Result<Key> {
        let key = self.wheel.insert(deadline, value);
        self.arm_for(deadline).map(|()| key).inspect_err(|_| drop(self.wheel.cancel(key)))
    }

    /// Ends a timer and returns its value, in O(1); see [`Wheel::cancel`].
    #[inline]
    pub fn cancel(&mut self, key: Key) -> Option<V> {
        self.wheel.cancel(key)
    }

    /// Gives a timer another deadline, in O(1), and returns whether there is such a timer; see
    /// [`Wheel::reschedule`].
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a kernel that refuses to set the timerfd.
    /// Then the timer has the new deadline and may be late.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::Timers;
    /// use std::time::Duration;
    ///
    /// let mut timers = Timers::new()?;
    /// let deadline = timers.now() + Duration::from_secs(60);
    /// let key = timers.insert(deadline, "idle")?;
    /// let before = timers.settime_calls();
    /// assert!(timers.reschedule(key, deadline + Duration::from_secs(60))?);
    /// assert_eq!(timers.settime_calls(), before, "a later deadline costs no system call");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn reschedule(&mut self, key: Key, deadline: ClockTime<C>) -> io::Result<bool> {
        let is_known = self.wheel.reschedule(key, deadline);
        if is_known {
            self.arm_for(deadline)?;
        }
        Ok(is_known)
    }

    /// Puts a timer back that has fired, with another deadline, and returns its key; see
    /// [`Wheel::restart`].
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a kernel that refuses to set the timerfd,
    /// which a restart outside a pass may do. Then the timer is not restarted and its value is dropped.
    ///
    /// # Panics
    ///
    /// If there are 32 million timers and worn-out places in all. A place is worn out after 2^24 uses.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::Timers;
    /// use std::time::Duration;
    ///
    /// let mut timers = Timers::new()?;
    /// let key = timers.insert(timers.now(), "every second")?;
    /// // Any time will do for a pass, also one that has not come.
    /// let now = timers.now() + Duration::from_secs(1);
    /// while let Some(fired) = timers.next_due(now)? {
    ///     let next = fired.deadline + Duration::from_secs(10);
    ///     assert_eq!(timers.restart(fired, next)?, key);
    /// }
    /// assert_eq!(timers.len(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn restart(&mut self, fired: Fired<V, C>, deadline: ClockTime<C>) -> io::Result<Key> {
        let key = self.wheel.restart(fired, deadline);
        self.arm_for(deadline).map(|()| key).inspect_err(|_| drop(self.wheel.cancel(key)))
    }

    /// Returns the value of a timer; see [`Wheel::get`].
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&V> {
        self.wheel.get(key)
    }

    /// Returns the value of a timer, to change it; see [`Wheel::get_mut`].
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut V> {
        self.wheel.get_mut(key)
    }

    /// Returns the deadline of a timer, as it was given; see [`Wheel::deadline`].
    #[must_use]
    pub fn deadline(&self, key: Key) -> Option<ClockTime<C>> {
        self.wheel.deadline(key)
    }

    /// Iterates over all timers, in no particular order; see [`Wheel::iter`].
    pub fn iter(&self) -> impl Iterator<Item = (Key, ClockTime<C>, &V)> {
        self.wheel.iter()
    }

    /// Iterates over all timers, to change their values; see [`Wheel::iter_mut`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, ClockTime<C>, &mut V)> {
        self.wheel.iter_mut()
    }

    /// Returns the number of timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Returns whether there is no timer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }

    /// Returns the number of timers that fit without an allocation.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.wheel.capacity()
    }

    /// Makes room for `additional` timers; see [`Wheel::reserve`].
    pub fn reserve(&mut self, additional: usize) {
        self.wheel.reserve(additional);
    }

    /// Releases the memory of places that no timer needs; see [`Wheel::shrink_to_fit`].
    pub fn shrink_to_fit(&mut self) {
        self.wheel.shrink_to_fit();
    }

    /// Returns the length of a tick.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.wheel.tick()
    }

    /// Returns how many timers a pass touches at most: [`STEPS_MAX`](crate::STEPS_MAX) at first.
    #[must_use]
    pub fn steps_max(&self) -> usize {
        self.wheel.steps_max()
    }

    /// Sets the largest number of timers that a pass touches; see [`Wheel::set_steps_max`].
    pub fn set_steps_max(&mut self, steps_max: usize) {
        self.wheel.set_steps_max(steps_max);
    }

    /// Returns the time of the next pass, at which the descriptor is reported; see
    /// [`Wheel::next_expiry`].
    ///
    /// For a loop that uses it as the deadline of its wait instead of watching the descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::epoll_sys::{Epoll, Events};
    /// use epoll_timers::Timers;
    /// use std::time::Duration;
    ///
    /// let mut timers = Timers::new()?;
    /// timers.insert(timers.now() + Duration::from_millis(5), ())?;
    /// let (epoll, mut events) = (Epoll::new()?, Events::with_capacity(16));
    /// while let Some(next) = timers.next_expiry() {
    ///     match epoll.wait(&mut events, Some(next - timers.now())) {
    ///         Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
    ///         waited => waited?,
    ///     };
    ///     let now = timers.now();
    ///     while let Some(_fired) = timers.next_due(now)? {}
    /// }
    /// assert!(timers.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn next_expiry(&self) -> Option<ClockTime<C>> {
        self.wheel.next_expiry()
    }

    /// Returns the number of `timerfd_settime` calls so far. It is the only system call that timers make,
    /// except for the `read` on a [clock that can be set](#clocks-that-are-set).
    #[must_use]
    pub fn settime_calls(&self) -> u64 {
        self.settime_calls
    }

    /// Returns the number of times that the timers noticed that their clock was set. Always zero on a
    /// clock that cannot be set.
    ///
    /// Two settings between two passes count as one, and one while there is no timer may go unnoticed.
    #[must_use]
    pub fn clock_sets(&self) -> u64 {
        self.clock_sets
    }

    /// Hands out a timer that is due at `now`. The timer has ended, and its value is the caller's. `None`
    /// ends the [pass](#passes) and sets the timerfd for the next.
    ///
    /// The first call of a pass decides its time; in the others `now` is used for setting the timerfd only.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a kernel that refuses to set or to read
    /// the timerfd. Then the pass has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::Timers;
    ///
    /// let mut timers = Timers::new()?;
    /// let now = timers.now();
    /// for value in ["first", "second"] {
    ///     timers.insert(now, value)?;
    /// }
    /// // A level-triggered loop does this when the descriptor is reported.
    /// let mut values = Vec::new();
    /// while values.len() < 2 {
    ///     let now = timers.now();
    ///     while let Some(fired) = timers.next_due(now)? {
    ///         values.push(fired.value);
    ///     }
    /// }
    /// assert_eq!(values, ["first", "second"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn next_due(&mut self, now: ClockTime<C>) -> io::Result<Option<Fired<V, C>>> {
        match self.wheel.next_due(now) {
            None => self.arm_after(now).map(|()| None),
            fired => Ok(fired),
        }
    }

    /// Sets the timerfd for the earliest deadline, in any case, and ends an open pass.
    ///
    /// For a loop with an edge trigger that was left before [`next_due`](Self::next_due) returned
    /// `None`: if due timers are left, the descriptor is reported at once.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a kernel that refuses to set the timerfd.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::epoll_sys::{Epoll, Events, Interest, Watch};
    /// use epoll_timers::Timers;
    ///
    /// let mut timers = Timers::new()?;
    /// let epoll = Epoll::new()?;
    /// epoll.add(&timers, 0, Watch::edge(Interest::IN))?;
    /// let now = timers.now();
    /// for value in ["first", "second"] {
    ///     timers.insert(now, value)?;
    /// }
    ///
    /// let mut events = Events::with_capacity(1);
    /// epoll.wait(&mut events, None)?;
    /// let first = timers.next_due(timers.now())?.expect("a timer is due");
    /// assert_eq!(first.value, "first");
    /// // Left before the `None`.
    /// timers.rearm()?;
    ///
    /// assert_eq!(epoll.wait(&mut events, None)?, 1);
    /// let second = timers.next_due(timers.now())?.expect("another one is due");
    /// assert_eq!(second.value, "second");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rearm(&mut self) -> io::Result<()> {
        self.wheel.end_pass();
        match self.wheel.next_expiry() {
            Some(next) => self.set(next),
            None => self.disarm(),
        }
    }

    /// Sets the timerfd for the next pass, if it has to be set.
    fn arm_after(&mut self, now: ClockTime<C>) -> io::Result<()> {
        // `now` may have been read before the timerfd expired. The clock decides whether it has, because
        // an edge is reported once: a timerfd that has expired unnoticed would never be set again.
        let latest = now.max(self.now());
        let mut has_fired = self.armed.is_some_and(|armed| armed <= latest);
        if C::CAN_BE_SET && !has_fired && self.armed.is_some() {
            has_fired = self.was_reported()?;
        }
        match self.wheel.next_expiry() {
            Some(next) if has_fired || self.armed.is_none_or(|armed| next < armed) => {
                self.set(next)
            }
            // With a level trigger the expiry would be reported for ever.
            None if has_fired => self.disarm(),
            _ => Ok(()),
        }
    }

    #[inline]
    fn arm_for(&mut self, deadline: ClockTime<C>) -> io::Result<()> {
        if self.armed.is_some_and(|armed| armed <= deadline) { Ok(()) } else { self.arm() }
    }

    #[cold]
    fn arm(&mut self) -> io::Result<()> {
        // The end of the pass sets the timerfd. Following the clock here would give the pass two times.
        if self.wheel.is_in_pass() {
            return Ok(());
        }
        if C::CAN_BE_SET {
            // While there is no timer, the timerfd is not set and does not tell that the clock was set back.
            self.wheel.follow_clock(self.now());
        }
        match self.wheel.next_expiry() {
            Some(next) if self.armed.is_none_or(|armed| next < armed) => self.set(next),
            _ => Ok(()),
        }
    }

    /// Reads the timerfd of a clock that can be set. Returns whether it was readable: it has expired, by
    /// the old or the new time, or the clock was set.
    fn was_reported(&mut self) -> io::Result<bool> {
        match self.timerfd.read() {
            Ok(_) => Ok(true),
            Err(error) if is_clock_set(&error) => {
                // A later pass finds by its time whether that was back. Every timer is ahead of this one.
                self.clock_sets += 1;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn set(&mut self, mut time: ClockTime<C>) -> io::Result<()> {
        let mut retries = CLOCK_SETS_MAX;
        loop {
            self.settime_calls += 1;
            let expiry =
                if C::CAN_BE_SET { Expiry::AtUnlessClockSet(time) } else { Expiry::At(time) };
            match self.timerfd.set(expiry) {
                // The timerfd is set nevertheless, and does not report a second time that the clock was
                // set. If that was back, the lists are hours ahead: do what the next pass would.
                Err(error) if C::CAN_BE_SET && retries > 0 && is_clock_set(&error) => {
                    retries -= 1;
                    self.clock_sets += 1;
                    self.wheel.follow_clock(self.now());
                    time = self.wheel.next_expiry().unwrap_or(time);
                }
                result => {
                    result?;
                    break;
                }
            }
        }
        self.armed = Some(time);
        Ok(())
    }

    fn disarm(&mut self) -> io::Result<()> {
        self.settime_calls += 1;
        self.timerfd.disarm()?;
        self.armed = None;
        Ok(())
    }
}

fn is_clock_set(error: &io::Error) -> bool {
    error.raw_os_error() == Some(errno::ECANCELED)
}

/// The timerfd, to be watched for reading.
impl<V, C> AsFd for Timers<V, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timerfd.as_fd()
    }
}

/// The timerfd, to be watched for reading.
impl<V, C> AsRawFd for Timers<V, C> {
    fn as_raw_fd(&self) -> RawFd {
        self.timerfd.as_raw_fd()
    }
}

impl<V, C: Clock> fmt::Debug for Timers<V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("wheel", &self.wheel)
            .field("timerfd", &self.timerfd)
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}
