//! The wheel: levels of 64 lists each. A list of level 0 holds the timers of one tick, a list of
//! level 1 those of 64 ticks, and so on; eleven levels cover every tick there is.
//!
//! A timer's level is that of the highest bits in which its tick differs from the present one. So,
//! on every level, the lists in use lie ahead of the present, the lowest bit of a level's bitmap is
//! its earliest list, and every list of a level is earlier than those of the levels above. When the
//! present reaches a list of a higher level, its timers move to lower ones; timers of one tick stay
//! in the order of their insertion, for they are in one list at any time.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7.

use crate::key::next_wheel;
use crate::nodes::{NO_LIST, NONE, Nodes};
use crate::ticks::Ticks;
use crate::{Key, TickError};
use epoll_sys::{Clock, ClockTime, Monotonic};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::time::Duration;

/// Lists of a level, and bits of its bitmap.
const LISTS: usize = 64;
const LIST_BITS: u32 = 6;
const LEVELS: usize = u64::BITS.div_ceil(LIST_BITS) as usize;

/// Many timers, and which of them are due. Pure: it reads no clock and makes no system call.
///
/// Times are those of whatever clock its owner reads. A timer fires at the
/// first tick that is not before its deadline: never early, and less than a tick late.
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
/// let mut fired = Vec::new();
/// wheel.expire(at(25), 100, |wheel, key| {
///     fired.extend(wheel.get(key).copied());
///     None
/// });
/// assert_eq!(fired, ["soon"]);
/// assert_eq!(wheel.len(), 1);
/// # Ok::<(), epoll_timers::TickError>(())
/// ```
///
/// An idle timeout costs a store for each activity. The owner keeps the time of the last one; when
/// the timer fires, it answers with the deadline that holds by then, and the timer goes on:
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
///     wheel.expire(now, 100, |_, _| {
///         let deadline = last_activity + idle_max;
///         closed = deadline <= now;
///         (!closed).then_some(deadline)
///     });
///     assert_eq!(closed, is_over);
/// }
/// # Ok::<(), epoll_timers::TickError>(())
/// ```
pub struct Wheel<V, C = Monotonic> {
    clock: PhantomData<fn() -> C>,
    id: NonZeroU32,
    ticks: Ticks,
    /// The present: no timer in a list is due before it.
    present: u64,
    /// What the last pass was to reach. Nothing that is inserted now fires before the tick after.
    target: u64,
    /// The list that a pass is emptying, or left unfinished.
    unfinished: Option<u16>,
    /// Which levels have lists in use.
    levels: u16,
    /// Which lists of each level are in use.
    bitmaps: [u64; LEVELS],
    /// The first node of each list.
    lists: Box<[u32; LEVELS * LISTS]>,
    nodes: Nodes<V>,
}

/// What [`Wheel::expire`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a pass that is not complete is to be continued"]
pub struct Pass {
    /// How many timers fired.
    pub fired: usize,
    /// Whether everything that was due has been handled. If not, call again, after other work.
    pub is_complete: bool,
}

/// A timer that is just firing. It is in no list: whatever happens to its handler, it is put into one
/// again or ended.
struct Firing<'a, V, C: Clock> {
    wheel: &'a mut Wheel<V, C>,
    key: Key,
    answer: Option<ClockTime<C>>,
}

impl<V, C: Clock> Drop for Firing<'_, V, C> {
    #[inline]
    fn drop(&mut self) {
        self.wheel.settle(self.key, self.answer);
    }
}

impl<V> Wheel<V> {
    /// A wheel without timers, whose tick is the longest power of two of nanoseconds that is not
    /// longer than `tick`: 0.52 milliseconds for a millisecond.
    ///
    /// # Errors
    ///
    /// [`TickError`]: the tick is zero.
    pub fn new(tick: Duration) -> Result<Self, TickError> {
        Self::with_clock(Monotonic, tick)
    }
}

impl<V, C: Clock> Wheel<V, C> {
    /// Like [`new`](Wheel::new), for times of another clock.
    ///
    /// # Errors
    ///
    /// [`TickError`]: the tick is zero.
    pub fn with_clock(clock: C, tick: Duration) -> Result<Self, TickError> {
        // The type says which clock; the value lets the caller write it as an argument.
        let _: C = clock;
        Ok(Self {
            clock: PhantomData,
            id: next_wheel(),
            ticks: Ticks::at_most(tick).ok_or(TickError(()))?,
            present: 0,
            target: 0,
            unfinished: None,
            levels: 0,
            bitmaps: [0; LEVELS],
            lists: Box::new([NONE; LEVELS * LISTS]),
            nodes: Nodes::new(),
        })
    }

    /// How long a tick is.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.ticks.length()
    }

    /// How many timers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no timer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for `additional` timers, so that inserting them allocates nothing.
    pub fn reserve(&mut self, additional: usize) {
        self.nodes.reserve(additional);
    }

    /// A timer that fires when the time is `deadline`; O(1).
    ///
    /// A deadline that the last pass has reached fires in the next tick. One beyond 584 years clamps
    /// to that. Timers of one tick fire in the order in which they were inserted.
    ///
    /// # Panics
    ///
    /// When 2^32 - 1 timers exist.
    #[inline]
    pub fn insert(&mut self, deadline: ClockTime<C>, value: V) -> Key {
        let due = self.due(deadline);
        let (index, generation) = self.nodes.insert(due, value);
        self.file(index, due);
        Key { index, generation, wheel: self.id }
    }

    /// Ends a timer and gives its value; O(1). `None`: there is no such timer.
    #[inline]
    pub fn cancel(&mut self, key: Key) -> Option<V> {
        let list = self.node_of(key)?.list;
        if list != NO_LIST {
            self.unlink(key.index, list);
        }
        self.nodes.remove(key.index)
    }

    /// Gives a timer another deadline, as [`insert`](Self::insert) would; O(1), and no more than a
    /// store unless it is earlier. `false`: there is no such timer.
    ///
    /// Where it comes among the timers of its new tick is not specified. Of the timer that is just
    /// firing the answer of its handler decides, not this.
    #[inline]
    pub fn reschedule(&mut self, key: Key, deadline: ClockTime<C>) -> bool {
        let (due, present) = (self.due(deadline), self.present);
        let Some(node) = self.node_of(key) else { return false };
        node.due = due;
        let list = node.list;
        // What its list does not come too late for is put right when the list comes up. A timer that
        // is just firing is in none.
        if list != NO_LIST && is_before(due, list, present) {
            self.unlink(key.index, list);
            self.file(key.index, due);
        }
        true
    }

    /// The value of a timer; `None`: there is no such timer.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&V> {
        if key.wheel == self.id { self.nodes.value(key.index, key.generation) } else { None }
    }

    /// When [`expire`](Self::expire) is to be called next: not later than the earliest deadline's
    /// tick. `None`: there is no timer.
    ///
    /// It may be earlier than any deadline, when timers have to be moved to a lower level, or were
    /// re-scheduled to a later deadline.
    #[inline]
    #[must_use]
    pub fn next_expiry(&self) -> Option<ClockTime<C>> {
        let tick = match self.unfinished {
            Some(_) => self.present,
            None => self.next_list()?.1,
        };
        Some(self.ticks.time(tick))
    }

    /// Lets timers fire whose tick has come at `now`, in the order of their ticks.
    ///
    /// `fire` is called with the wheel and the key of each. It answers with a new deadline, for
    /// which the timer goes on under the same key, or with `None`, which ends it. It may insert,
    /// cancel and re-schedule any timer, those included that are due in this pass; none that it
    /// inserts or puts off fires before the next pass.
    ///
    /// Not more than `steps_max` timers are touched (zero counts as one), fired or moved within the
    /// wheel, so that a million that are due at once do not stop everything else. A time before that
    /// of an earlier pass counts as that one.
    ///
    /// When `fire` panics, the timer that it was called for is ended; the next pass goes on with the
    /// others.
    pub fn expire(
        &mut self,
        now: ClockTime<C>,
        steps_max: usize,
        mut fire: impl FnMut(&mut Self, Key) -> Option<ClockTime<C>>,
    ) -> Pass {
        self.target = self.target.max(self.ticks.not_after(now));
        let mut fired = 0;
        for _ in 0..steps_max.max(1) {
            let Some(list) = self.list_in_hand() else {
                return Pass { fired, is_complete: true };
            };
            let index = self.lists[usize::from(list)];
            self.unlink(index, list);
            let node = self.nodes.node(index);
            let (due, generation) = (node.due, node.generation);
            if due > self.present {
                // Of a higher level, or put off.
                self.file_below(index, due);
                continue;
            }
            fired += 1;
            let key = Key { index, generation, wheel: self.id };
            let mut firing = Firing { wheel: self, key, answer: None };
            firing.answer = fire(firing.wheel, key);
        }
        Pass { fired, is_complete: self.list_in_hand().is_none() }
    }

    /// The list that is to be emptied now, if any is due; moves the present to where it begins.
    fn list_in_hand(&mut self) -> Option<u16> {
        if self.unfinished.is_none() {
            let Some((list, begins)) = self.next_list().filter(|list| list.1 <= self.target) else {
                // Every list is ahead of the target. With the present there, timers are filed on
                // the lowest level that will do.
                self.present = self.target;
                return None;
            };
            self.present = begins;
            self.unfinished = Some(list);
        }
        self.unfinished
    }

    /// Files or ends a timer that has fired.
    fn settle(&mut self, key: Key, answer: Option<ClockTime<C>>) {
        let due = answer.map(|deadline| self.due(deadline));
        // The handler may have ended it itself.
        let Some(node) = self.node_of(key) else { return };
        match due {
            Some(due) => {
                node.due = due;
                self.file(key.index, due);
            }
            None => drop(self.nodes.remove(key.index)),
        }
    }

    #[inline]
    fn due(&self, deadline: ClockTime<C>) -> u64 {
        self.ticks.not_before(deadline).max(self.target.saturating_add(1))
    }

    #[inline]
    fn node_of(&mut self, key: Key) -> Option<&mut crate::nodes::Node<V>> {
        if key.wheel == self.id { self.nodes.get(key.index, key.generation) } else { None }
    }

    /// Appends a node to the list where a timer that is due at `due` belongs.
    #[inline]
    fn file(&mut self, index: u32, due: u64) {
        match self.unfinished {
            // While a list is being moved down, what belongs below it goes through it: otherwise it
            // would overtake timers of its tick that are still in there.
            Some(list) if self.is_within(list, due) => {
                let at = usize::from(list);
                self.lists[at] = self.nodes.append(self.lists[at], index, list);
            }
            _ => self.file_below(index, due),
        }
    }

    /// Whether `due` is among the ticks of the list that begins at the present.
    fn is_within(&self, list: u16, due: u64) -> bool {
        let shift = (u32::from(list) >> LIST_BITS) * LIST_BITS;
        due >> shift == self.present >> shift
    }

    #[inline]
    fn file_below(&mut self, index: u32, due: u64) {
        let differs = self.present ^ due;
        let level = (u64::BITS - 1 - (differs | 1).leading_zeros()) / LIST_BITS;
        #[expect(clippy::cast_possible_truncation, reason = "the bits of one level are wanted")]
        let slot = (due >> (level * LIST_BITS)) as usize % LISTS;
        let level = level as usize;
        let list = level * LISTS + slot;
        self.lists[list] = self.nodes.append(self.lists[list], index, number(list));
        self.bitmaps[level] |= 1 << slot;
        self.levels |= 1 << level;
    }

    #[inline]
    fn unlink(&mut self, index: u32, list: u16) {
        let at = usize::from(list);
        let first = self.nodes.unlink(self.lists[at], index);
        self.lists[at] = first;
        if first == NONE {
            let level = at / LISTS;
            self.bitmaps[level] &= !(1 << (at % LISTS));
            if self.bitmaps[level] == 0 {
                self.levels &= !(1 << level);
            }
            if self.unfinished == Some(list) {
                self.unfinished = None;
            }
        }
    }

    /// The earliest list in use, and the tick at which it begins.
    #[inline]
    fn next_list(&self) -> Option<(u16, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let slot = self.bitmaps[level as usize].trailing_zeros();
        let shift = level * LIST_BITS;
        // The bits above this level are the present's; those of the top level have none above.
        let above = self.present.checked_shr(shift + LIST_BITS).unwrap_or(0);
        let begins = above.checked_shl(shift + LIST_BITS).unwrap_or(0) | u64::from(slot) << shift;
        Some((number(level as usize * LISTS + slot as usize), begins))
    }
}

/// Whether a tick is before all those of a list.
#[inline]
fn is_before(tick: u64, list: u16, present: u64) -> bool {
    let shift = (u32::from(list) >> LIST_BITS) * LIST_BITS;
    let slots = LISTS as u64 - 1;
    // The bits above this level are the present's.
    tick >> shift < ((present >> shift) & !slots | u64::from(list) & slots)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "there are 704 lists")]
fn number(list: usize) -> u16 {
    list as u16
}

const _: () = assert!(LEVELS * LISTS < NO_LIST as usize);

impl<V, C: Clock> fmt::Debug for Wheel<V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("tick", &self.tick())
            .field("timers", &self.len())
            .field("next_expiry", &self.next_expiry())
            .finish_non_exhaustive()
    }
}
