//! The wheel: timers in lists by the tick at which they are due.
//!
//! When the present reaches a list of a higher level, its timers move to lower ones. Timers of one tick
//! keep the order of their insertion, because they are in one list at any time. A pass moves the present
//! towards its target, the tick of the time that it was given, and hands out the timers that are due.
//!
//! A timer that is inserted after its deadline, for instance by a handler, must not fire in the same pass,
//! which might never end. It goes into a list of its own, the deferred timers. When the target moves on,
//! those that are in it become late, and the pass begins with them.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7.

mod contents;

use crate::key::next_wheel;
use crate::levels::{DEFERRED, GATHERED, Levels, is_above_lowest, is_before, is_within};
use crate::nodes::{Node, Nodes};
use crate::place::Place;
use crate::ticks::Ticks;
use crate::{CompactKey, Fired, Key, TickError};
use epoll_sys::{Clock, ClockTime, Monotonic};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::time::Duration;

/// The most timers that one pass of a [`Wheel`] or of [`Timers`](crate::Timers) touches, unless
/// `set_steps_max` says otherwise.
pub const STEPS_MAX: usize = 1024;

/// A hierarchical timer wheel for times of the clock `C`. Pure: it reads no clock and makes no system call.
///
/// A timer fires at the first tick that does not begin before its deadline: never early, and at most a
/// tick late. One thread uses a wheel at a time; it can be sent to another thread if its values can. A
/// forked child has a copy of its own.
///
/// # Passes
///
/// The calls of [`next_due`](Self::next_due) up to the first `None` are a pass, and the time that the
/// first of them was given is the time of the whole pass. Nothing is borrowed between two calls: the
/// owner may insert, cancel and re-schedule any timer, those included that are due in this pass.
///
/// - No timer that is inserted, re-scheduled or restarted during a pass fires in it.
/// - A pass touches at most [`steps_max`](Self::steps_max) timers, fired or moved within the wheel, so
///   that a million due timers do not stop everything else. If some are left, the time of
///   [`next_expiry`](Self::next_expiry) has come already, and the next pass goes on with them.
/// - A loop that is left before the `None` leaves its pass open: the next call continues it.
///
/// # Memory
///
/// A timer takes 16 bytes and its value, and some 5 for its place in a list: 29 in all with a value of 8 bytes, at a
/// million timers. Where most timers of a list have been cancelled, each that is left may keep up to 140 bytes more
/// until the list comes up. The first timer reserves 4.6 MB of address space; pages of it that are not used take
/// no memory.
///
/// # Clocks that are set
///
/// On a clock that can be set ([`Realtime`](crate::Realtime)), a pass at an earlier time than the one
/// before means that the clock was set back. All timers are linked anew by the new time, once, in O(n).
/// On other clocks an earlier time counts as the time of the pass before.
///
/// # Examples
///
/// ```
/// use epoll_timers::{Timestamp, Wheel};
/// use std::time::Duration;
///
/// let at = |ms| Timestamp::after_epoch(Duration::from_millis(ms));
/// let mut wheel = Wheel::new(Duration::from_millis(1))?;
/// wheel.insert(at(30), "later");
/// let cancelled = wheel.insert(at(20), "never");
/// wheel.insert(at(10), "soon");
/// assert_eq!(wheel.cancel(cancelled), Some("never"));
///
/// let mut values = Vec::new();
/// while let Some(fired) = wheel.next_due(at(25)) {
///     values.push(fired.value);
/// }
/// assert_eq!(values, ["soon"]);
/// assert_eq!(wheel.len(), 1);
/// # Ok::<(), epoll_timers::TickError>(())
/// ```
///
/// An idle timeout costs a store for each activity. The owner keeps the time of the last one; when
/// the timer fires, it is restarted for the deadline that holds by then:
///
/// ```
/// use epoll_timers::{Timestamp, Wheel};
/// use std::time::Duration;
///
/// let at = |seconds| Timestamp::after_epoch(Duration::from_secs(seconds));
/// let idle_max = Duration::from_secs(60);
/// let mut wheel = Wheel::new(Duration::from_millis(1))?;
/// let mut last_activity = at(0);
/// wheel.insert(last_activity + idle_max, ());
///
/// last_activity = at(45);
/// for (now, is_over) in [(at(61), false), (at(106), true)] {
///     let mut closed = false;
///     while let Some(fired) = wheel.next_due(now) {
///         let deadline = last_activity + idle_max;
///         if deadline <= now {
///             closed = true;
///         } else {
///             wheel.restart(fired, deadline);
///         }
///     }
///     assert_eq!(closed, is_over);
/// }
/// # Ok::<(), epoll_timers::TickError>(())
/// ```
pub struct Wheel<V, C = Monotonic> {
    id: NonZeroU32,
    ticks: Ticks,
    steps_max: usize,
    /// The present: no timer in a list is due before it.
    present: u64,
    /// The tick of the time of the last pass.
    target: u64,
    /// The list that a pass is emptying, or has left unfinished.
    current: Option<u16>,
    /// The number of timers that the open pass may still touch; `None` if no pass is open.
    pass: Option<usize>,
    /// The node of the timer that has just fired, reserved for its restart.
    reserved: Option<u32>,
    levels: Levels,
    nodes: Nodes<V>,
    clock: PhantomData<fn() -> C>,
}

impl<V> Wheel<V> {
    /// Creates an empty wheel for times of `CLOCK_MONOTONIC`. Its tick is the longest power of two of
    /// nanoseconds that is not longer than `tick`: 0.52 milliseconds for a millisecond.
    ///
    /// # Errors
    ///
    /// [`TickError`]: the tick is zero.
    pub fn new(tick: Duration) -> Result<Self, TickError> {
        Self::with_clock(Monotonic, tick)
    }
}

impl<V, C: Clock> Wheel<V, C> {
    /// Creates an empty wheel like [`new`](Wheel::new), for times of another clock.
    ///
    /// # Errors
    ///
    /// [`TickError`]: the tick is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{ClockTime, Realtime, Wheel};
    /// use std::time::Duration;
    ///
    /// let mut wheel = Wheel::with_clock(Realtime, Duration::from_secs(1))?;
    /// let new_year_2100 = ClockTime::after_epoch(Duration::from_secs(4_102_444_800));
    /// wheel.insert(new_year_2100, "a new century");
    /// assert_eq!(wheel.next_due(ClockTime::now()), None);
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    ///
    /// A wheel takes no times of another clock:
    ///
    /// ```compile_fail,E0308
    /// use epoll_timers::{ClockTime, Realtime, Wheel};
    /// use std::time::Duration;
    ///
    /// let mut wheel = Wheel::new(Duration::from_secs(1)).unwrap();
    /// wheel.insert(ClockTime::<Realtime>::now(), "of the other clock");
    /// ```
    pub fn with_clock(clock: C, tick: Duration) -> Result<Self, TickError> {
        // The type says which clock; the value lets the caller write it as an argument.
        let _: C = clock;
        Ok(Self {
            id: next_wheel(),
            ticks: Ticks::at_most(tick).ok_or(TickError(()))?,
            steps_max: STEPS_MAX,
            present: 0,
            target: 0,
            current: None,
            pass: None,
            reserved: None,
            levels: Levels::new(),
            nodes: Nodes::new(),
            clock: PhantomData,
        })
    }

    /// Returns the key of a timer of this wheel; see [`CompactKey`].
    #[inline]
    #[must_use]
    pub fn key(&self, stored: CompactKey) -> Key {
        stored.of_wheel(self.id)
    }

    /// Returns the length of a tick.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.ticks.length()
    }

    /// Returns how many timers a pass touches at most: [`STEPS_MAX`] at first.
    #[must_use]
    pub fn steps_max(&self) -> usize {
        self.steps_max
    }

    /// Sets the largest number of timers that a pass touches, from the next pass on; zero counts as one.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let at = |ms| Timestamp::after_epoch(Duration::from_millis(ms));
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// wheel.set_steps_max(100);
    /// for value in 0..150 {
    ///     wheel.insert(at(10), value);
    /// }
    /// let now = at(11);
    /// let pass = |wheel: &mut Wheel<i32>| std::iter::from_fn(|| wheel.next_due(now)).count();
    /// assert_eq!(pass(&mut wheel), 100);
    /// assert!(wheel.next_expiry().is_some_and(|next| next <= now));
    /// assert_eq!(pass(&mut wheel), 50);
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    pub fn set_steps_max(&mut self, steps_max: usize) {
        self.steps_max = steps_max.max(1);
    }

    /// Inserts a timer that fires when the time is `deadline`, in O(1).
    ///
    /// A timer whose deadline is not after the last pass fires in the next tick. Timers whose deadlines are
    /// in one tick fire in the order of their insertion. A deadline after [`ClockTime::MAX`] clamps to it.
    /// That time is not expected to come: a timer that is inserted after a pass has reached it never fires.
    ///
    /// # Panics
    ///
    /// If there are 32 million timers and worn-out places in all. A place is worn out after 2^24 uses.
    #[inline]
    pub fn insert(&mut self, deadline: ClockTime<C>, value: V) -> Key {
        let levels = &mut self.levels;
        let index = self.nodes.reserve_one(|room| levels.reserve(room));
        let place = self.put_in(index, self.ticks.not_before(deadline));
        let generation = self.nodes.put(index, deadline.as_nanos(), place, value);
        Key { index, generation, wheel: self.id }
    }

    /// Ends a timer and returns its value, in O(1). `None`: there is no such timer, or it has fired.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// let key = wheel.insert(Timestamp::after_epoch(Duration::from_secs(1)), "timeout");
    /// assert_eq!(wheel.cancel(key), Some("timeout"));
    /// // The place may be used again. The old key does not name the new timer.
    /// wheel.insert(Timestamp::after_epoch(Duration::from_secs(2)), "another");
    /// assert_eq!(wheel.cancel(key), None);
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    #[inline]
    pub fn cancel(&mut self, key: Key) -> Option<V> {
        let place = self.node_mut(key)?.place();
        // Before the list, while the node is at hand.
        let (_, value) = self.nodes.take(key.index)?;
        self.nodes.release(key.index);
        self.unlink(place);
        Some(value)
    }

    /// Gives a timer another deadline, as [`insert`](Self::insert) would, in O(1); a later one costs a
    /// store. Returns whether there is such a timer.
    ///
    /// Among the timers of its new tick, a timer that was re-scheduled fires in no particular order.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let at = |ms| Timestamp::after_epoch(Duration::from_millis(ms));
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// let key = wheel.insert(at(10), "put off");
    /// assert!(wheel.reschedule(key, at(20)));
    /// assert_eq!(wheel.next_due(at(15)), None);
    /// assert_eq!(wheel.next_due(at(25)).map(|fired| fired.deadline), Some(at(20)));
    /// assert!(!wheel.reschedule(key, at(30)));
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    #[inline]
    pub fn reschedule(&mut self, key: Key, deadline: ClockTime<C>) -> bool {
        let (due, present, target) = (self.ticks.not_before(deadline), self.present, self.target);
        let Some(node) = self.node_mut(key) else { return false };
        node.deadline = deadline.as_nanos();
        let place = node.place();
        // If the list comes no later than the new tick, leave the timer there: it is linked anew when
        // that list is reached.
        if due <= target || place.list() == DEFERRED || is_before(due, place.list(), present) {
            self.relink(key.index, place, due);
        }
        true
    }

    /// Puts a timer back that has fired, with another deadline, as [`insert`](Self::insert) would; in
    /// O(1). Returns its key.
    ///
    /// Before the next call of [`next_due`](Self::next_due) the timer goes on under the key that it
    /// had. After that, or in another wheel, it is a new timer with a key of its own.
    ///
    /// # Panics
    ///
    /// If there are 32 million timers and worn-out places in all. A place is worn out after 2^24 uses.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let at = |ms| Timestamp::after_epoch(Duration::from_millis(ms));
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// let key = wheel.insert(at(1000), "every second");
    /// for now in [1001, 2001, 3001] {
    ///     while let Some(fired) = wheel.next_due(at(now)) {
    ///         let next = fired.deadline + Duration::from_secs(1);
    ///         assert_eq!(wheel.restart(fired, next), key);
    ///     }
    /// }
    /// assert_eq!(wheel.deadline(key), Some(at(4000)));
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    #[inline]
    pub fn restart(&mut self, fired: Fired<V, C>, deadline: ClockTime<C>) -> Key {
        let Fired { key, value, .. } = fired;
        // A key that was made from a compact one of another wheel may name a vacant node.
        let is_reserved = key.wheel == self.id
            && self.reserved == Some(key.index)
            && self.nodes.is_reserved(key.index, key.generation);
        if !is_reserved {
            return self.insert(deadline, value);
        }
        self.reserved = None;
        let place = self.put_in(key.index, self.ticks.not_before(deadline));
        self.nodes.put(key.index, deadline.as_nanos(), place, value);
        key
    }

    /// Returns the time of the next pass, not later than the tick of the earliest deadline. `None`: there
    /// is no timer.
    ///
    /// It may be earlier than any deadline, if timers have to be moved to a lower level or were
    /// re-scheduled to a later deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let at = |ms| Timestamp::after_epoch(Duration::from_millis(ms));
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// assert_eq!(wheel.next_expiry(), None);
    /// wheel.insert(at(10), ());
    /// let next = wheel.next_expiry().unwrap();
    /// assert!(next <= at(10) + wheel.tick());
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn next_expiry(&self) -> Option<ClockTime<C>> {
        let listed = match self.current {
            Some(_) => Some(self.present),
            None => self.levels.next(self.present).map(|(_, begins)| begins),
        };
        let deferred = if self.levels.has_late() {
            Some(self.present)
        } else {
            self.levels.has_deferred().then_some(self.target + 1)
        };
        let tick = match (listed, deferred) {
            (Some(listed), Some(deferred)) => listed.min(deferred),
            (listed, deferred) => listed.or(deferred)?,
        };
        Some(self.ticks.time(tick))
    }

    /// Hands out a timer whose tick has come at `now`, in the order of the ticks. The timer has ended, and
    /// its value is the caller's. `None` ends the [pass](#passes).
    ///
    /// The first call of a pass decides its time; in the others `now` is ignored.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let at = |ms| Timestamp::after_epoch(Duration::from_millis(ms));
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// wheel.insert(at(20), "second");
    /// wheel.insert(at(10), "first");
    /// while let Some(fired) = wheel.next_due(at(30)) {
    ///     // A timer that is inserted during the pass does not fire in it, although it is due.
    ///     wheel.insert(at(15), fired.value);
    /// }
    /// assert_eq!(wheel.len(), 2);
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    #[inline]
    pub fn next_due(&mut self, now: ClockTime<C>) -> Option<Fired<V, C>> {
        if let Some(index) = self.reserved.take() {
            self.nodes.release(index);
        }
        let mut steps = match self.pass {
            Some(steps) => steps,
            None => self.begin_pass(now),
        };
        while let Some(list) = self.next_list() {
            if steps == 0 {
                break;
            }
            if is_above_lowest(list) {
                match self.move_down(list, &mut steps) {
                    None => continue,
                    Some(index) => {
                        self.pass = Some(steps);
                        return self.fire(index);
                    }
                }
            }
            steps -= 1;
            let index = self.pop(list);
            let due = self.due(index);
            if list == DEFERRED && due >= self.present {
                // Appended behind the timers of its tick that were inserted before it and that a pass may
                // have left.
                let place = self.link(index, due);
                self.nodes.node(index).set_place(place);
            } else if due > self.present {
                // Re-scheduled to a later deadline.
                let place = self.levels.link(index, due, self.present);
                self.nodes.node(index).set_place(place);
            } else {
                self.pass = Some(steps);
                return self.fire(index);
            }
        }
        self.pass = None;
        None
    }

    /// Moves timers of a list above the lowest level down, at most `steps`, up to one that is due now or is the
    /// only one; returns that, out of its list.
    #[inline(never)]
    fn move_down(&mut self, list: u16, steps: &mut usize) -> Option<u32> {
        let mut first = self.levels.first(list);
        let is_alone = first.is_one() && self.levels.is_only(list);
        let mut due_now = None;
        while *steps > 0 {
            let Some(index) = self.levels.take_one(&mut first) else { break };
            *steps -= 1;
            let node = self.nodes.node(index);
            let due = self.ticks.not_before(ClockTime::<C>::from_nanos(node.deadline));
            // No other timer is due before the next list.
            if is_alone && due <= self.target && is_within(due, list, self.present) {
                self.present = self.present.max(due);
            }
            if due <= self.present {
                due_now = Some(index);
                break;
            }
            node.set_place(self.levels.link(index, due, self.present));
        }
        if self.levels.leave(&self.nodes, list, first) {
            self.current = None;
        }
        due_now
    }

    /// Returns the list of the next timer to touch, if one is left that is due by the target.
    #[inline]
    fn next_list(&mut self) -> Option<u16> {
        if self.levels.has_late() { Some(DEFERRED) } else { self.current_list() }
    }

    fn begin_pass(&mut self, now: ClockTime<C>) -> usize {
        let tick = self.ticks.not_after(now);
        if tick > self.target {
            self.target = tick;
            self.levels.mark_deferred_late();
        } else if C::CAN_BE_SET && tick < self.target {
            self.turn_back(tick);
        }
        self.steps_max
    }

    fn fire(&mut self, index: u32) -> Option<Fired<V, C>> {
        let deadline = ClockTime::from_nanos(self.nodes.node(index).deadline);
        let (generation, value) = self.nodes.take(index)?;
        self.reserved = Some(index);
        Some(Fired { key: Key { index, generation, wheel: self.id }, deadline, value })
    }

    /// Returns whether a pass is open.
    #[inline]
    pub(crate) fn is_in_pass(&self) -> bool {
        self.pass.is_some()
    }

    /// Ends an open pass. The next one goes on with the timers that are left.
    pub(crate) fn end_pass(&mut self) {
        self.pass = None;
    }

    /// Moves the present of a wheel without timers.
    pub(crate) fn begin_at(&mut self, now: ClockTime<C>) {
        self.target = self.ticks.not_after(now);
        self.present = self.target;
    }

    /// Links all timers anew if the clock was set back to a time before the last pass.
    pub(crate) fn follow_clock(&mut self, now: ClockTime<C>) {
        let tick = self.ticks.not_after(now);
        if tick < self.target {
            self.turn_back(tick);
        }
    }

    #[cold]
    fn turn_back(&mut self, tick: u64) {
        // In the order of the lists, so that timers of one tick keep theirs. The rest of a list that was
        // being moved down comes after the timers that have moved already.
        self.levels.gather(self.present);
        (self.present, self.target, self.current) = (tick, tick, None);
        while let Some(mut gathered) = self.levels.gathered() {
            while let Some(index) = self.levels.take_one(&mut gathered) {
                self.link_from(index, tick);
            }
            self.levels.leave(&self.nodes, GATHERED, gathered);
        }
    }

    /// Links a timer at its tick, or at `earliest`.
    fn link_from(&mut self, index: u32, earliest: u64) {
        let due = self.due(index).max(earliest);
        let place = self.link(index, due);
        self.nodes.node(index).set_place(place);
    }

    /// Returns the list to be emptied now, if one is due, and moves the present to its beginning.
    #[inline]
    fn current_list(&mut self) -> Option<u16> {
        if self.current.is_none() {
            let next = self.levels.next(self.present);
            let Some((list, begins)) = next.filter(|(_, begins)| *begins <= self.target) else {
                // Every list is ahead of the target. The present moves there, so that new timers are
                // linked on the lowest level possible.
                self.present = self.target;
                return None;
            };
            self.present = begins;
            self.current = Some(list);
            self.levels.read_ahead(&self.nodes, list);
        }
        self.current
    }

    /// Returns the tick at which a timer is due.
    #[inline]
    fn due(&mut self, index: u32) -> u64 {
        let deadline = self.nodes.node(index).deadline;
        self.ticks.not_before(ClockTime::<C>::from_nanos(deadline))
    }

    /// Links a node that is in no list, for a timer that is due at `due`, and returns its place.
    #[inline]
    fn put_in(&mut self, index: u32, due: u64) -> Place {
        if due > self.target { self.link(index, due) } else { self.levels.push(index, DEFERRED) }
    }

    #[inline]
    fn node_mut(&mut self, key: Key) -> Option<&mut Node<V>> {
        if key.wheel == self.id { self.nodes.get_mut(key.index, key.generation) } else { None }
    }

    /// Appends a node to the list where a timer that is due at `due` belongs, and returns its place.
    #[inline]
    fn link(&mut self, index: u32, due: u64) -> Place {
        match self.current {
            // While a list is being moved down, new timers of its ticks are appended to it. On a lower
            // level they would overtake timers of their tick that are still in it.
            Some(list) if is_within(due, list, self.present) => self.levels.push(index, list),
            _ => self.levels.link(index, due, self.present),
        }
    }

    #[inline]
    fn pop(&mut self, list: u16) -> u32 {
        let (index, is_empty) = self.levels.pop(&self.nodes, list);
        if is_empty && self.current == Some(list) {
            self.current = None;
        }
        index
    }

    #[inline]
    fn unlink(&mut self, place: Place) {
        if self.levels.unlink(place) && self.current == Some(place.list()) {
            self.current = None;
        }
    }

    #[inline(never)]
    fn relink(&mut self, index: u32, place: Place, due: u64) {
        self.unlink(place);
        let place = self.put_in(index, due);
        self.nodes.node(index).set_place(place);
    }
}

impl<V, C: Clock> fmt::Debug for Wheel<V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("clock", &C::default())
            .field("tick", &self.tick())
            .field("timers", &self.len())
            .field("next_expiry", &self.next_expiry())
            .finish_non_exhaustive()
    }
}
