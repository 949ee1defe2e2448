//! A model of a wheel: a sorted map of (tick, sequence of insertion).
//!
//! The model leaves two orders open: the place of a re-scheduled timer among those of its new tick, and the place
//! of a timer that was inserted after its deadline, as long as it is not in the same pass.

use epoll_timers::{Clock, ClockTime, Key};
use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::time::Duration;

pub(super) struct Queue<C> {
    /// The length of a tick in nanoseconds.
    tick: u64,
    /// The last tick that a pass was to reach.
    target: u64,
    sequence: u64,
    timers: HashMap<Key, Timer>,
    order: BTreeMap<(u64, u64), Key>,
    clock: PhantomData<C>,
}

#[derive(Clone, Copy)]
struct Timer {
    deadline: u64,
    /// The tick at which it fires at the latest.
    due: u64,
    sequence: u64,
    is_moved: bool,
    is_deferred: bool,
    value: u64,
}

impl<C: Clock> Queue<C> {
    pub(super) fn new(tick: Duration) -> Self {
        Self {
            tick: u64::try_from(tick.as_nanos()).unwrap(),
            target: 0,
            sequence: 0,
            timers: HashMap::new(),
            order: BTreeMap::new(),
            clock: PhantomData,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.timers.len()
    }

    pub(super) fn get(&self, key: Key) -> Option<u64> {
        self.timers.get(&key).map(|timer| timer.value)
    }

    /// The deadline that a timer has by now.
    pub(super) fn deadline(&self, key: Key) -> Option<ClockTime<C>> {
        self.timers.get(&key).map(|timer| ClockTime::from_nanos(timer.deadline))
    }

    /// Returns the time at which the earliest timer's tick begins.
    pub(super) fn first(&self) -> Option<ClockTime<C>> {
        self.order.keys().next().map(|(due, _)| self.time(*due))
    }

    /// One of the earliest timers.
    pub(super) fn early(&self, index: usize) -> Option<Key> {
        self.order.values().nth(index).copied()
    }

    pub(super) fn insert(&mut self, key: Key, deadline: ClockTime<C>, value: u64) {
        self.sequence += 1;
        let ((due, is_deferred), sequence) = (self.due(deadline), self.sequence);
        let deadline = deadline.as_nanos();
        let timer = Timer { deadline, due, sequence, is_moved: false, is_deferred, value };
        assert!(self.timers.insert(key, timer).is_none(), "{key:?} names two timers");
        self.order.insert((due, sequence), key);
    }

    pub(super) fn cancel(&mut self, key: Key) -> Option<u64> {
        let timer = self.timers.remove(&key)?;
        self.order.remove(&(timer.due, timer.sequence));
        Some(timer.value)
    }

    pub(super) fn reschedule(&mut self, key: Key, deadline: ClockTime<C>) -> bool {
        let (due, is_deferred) = self.due(deadline);
        let Some(timer) = self.timers.get_mut(&key) else { return false };
        self.order.remove(&(timer.due, timer.sequence));
        self.order.insert((due, timer.sequence), key);
        timer.is_moved |= timer.due != due || timer.is_deferred || is_deferred;
        (timer.deadline, timer.due) = (deadline.as_nanos(), due);
        timer.is_deferred = is_deferred;
        true
    }

    /// Takes note of a pass: what is inserted or put off from now on is for a later one.
    pub(super) fn begin(&mut self, now: ClockTime<C>) {
        let last = self.last_tick();
        let is_last = now == ClockTime::MAX;
        let tick = if is_last { last } else { (now.as_nanos() / self.tick).min(last - 1) };
        if tick > self.target {
            self.target = tick;
        } else if tick < self.target && C::CAN_BE_SET {
            self.target = tick;
            let keys: Vec<_> = self.timers.keys().copied().collect();
            for key in keys {
                let Timer { due, sequence, is_deferred, .. } = self.timers[&key];
                let deadline = self.deadline(key).unwrap();
                self.order.remove(&(due, sequence));
                let own = self.own_tick(deadline);
                let timer = self.timers.get_mut(&key).unwrap();
                // What is due all the same fires in this pass.
                timer.due = own.max(tick);
                timer.is_moved |= is_deferred || own < tick;
                timer.is_deferred = false;
                self.order.insert((timer.due, sequence), key);
            }
        }
    }

    /// Asserts that it is this timer's turn, and ends it.
    #[track_caller]
    pub(super) fn fire(&mut self, key: Key) {
        let timer = self.timers.remove(&key).expect("a timer that is gone does not fire");
        let Timer { due, sequence, deadline, .. } = timer;
        self.order.remove(&(due, sequence));
        assert!(due <= self.target, "tick {due} fires at {}", self.target);
        if timer.is_moved {
            return;
        }
        let mut others = self.order.values().map(|key| self.timers[key]);
        let is_overtaken = |other: &Timer| !other.is_moved && other.sequence < sequence;
        if timer.is_deferred {
            // What has the same deadline and came before is gone, in any case.
            let mut before = others.take_while(|other| other.due <= due);
            let overtaken = before.find(|other| other.deadline == deadline && is_overtaken(other));
            assert!(overtaken.is_none(), "{key:?} overtakes {}", overtaken.unwrap().sequence);
            return;
        }
        if let Some(earliest) = self.order.keys().next() {
            assert!(due <= earliest.0, "{key:?} is of {due}, and tick {} comes first", earliest.0);
        }
        let overtaken = others.by_ref().take_while(|other| other.due == due).find(is_overtaken);
        assert!(overtaken.is_none(), "{key:?} overtakes {}", overtaken.unwrap().sequence);
    }

    /// Asserts that a complete pass has left nothing that is due.
    #[track_caller]
    pub(super) fn assert_nothing_is_due(&self) {
        if let Some((due, _)) = self.order.keys().next() {
            assert!(*due > self.target, "tick {due} is left over at {}", self.target);
        }
    }

    /// The time of the tick that the last pass was to reach.
    pub(super) fn present(&self) -> ClockTime<C> {
        self.time(self.target)
    }

    /// The tick at which a timer of this deadline fires at the latest, and whether that is later than
    /// its own.
    fn due(&self, deadline: ClockTime<C>) -> (u64, bool) {
        let due = self.own_tick(deadline);
        if due <= self.target { (self.target + 1, true) } else { (due, false) }
    }

    fn own_tick(&self, deadline: ClockTime<C>) -> u64 {
        deadline.as_nanos().div_ceil(self.tick).min(self.last_tick())
    }

    fn last_tick(&self) -> u64 {
        (u64::MAX / self.tick).min(u64::MAX - 2) + 1
    }

    fn time(&self, tick: u64) -> ClockTime<C> {
        tick.checked_mul(self.tick).map_or(ClockTime::MAX, ClockTime::from_nanos)
    }
}
