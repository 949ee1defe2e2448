//! What a wheel has to do, said with a sorted map of (tick, sequence of insertion).
//!
//! Where a timer that was re-scheduled comes among those of its new tick is left open.

use epoll_timers::{Key, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub(super) struct Queue {
    /// In nanoseconds.
    tick: u64,
    /// The last tick that a pass was to reach.
    target: u64,
    sequence: u64,
    timers: HashMap<Key, Timer>,
    order: BTreeMap<(u64, u64), Key>,
    firing: Option<Key>,
}

struct Timer {
    due: u64,
    sequence: u64,
    is_moved: bool,
    value: u64,
}

impl Queue {
    pub(super) fn new(tick: Duration) -> Self {
        Self {
            tick: u64::try_from(tick.as_nanos()).unwrap(),
            target: 0,
            sequence: 0,
            timers: HashMap::new(),
            order: BTreeMap::new(),
            firing: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.timers.len()
    }

    pub(super) fn get(&self, key: Key) -> Option<u64> {
        self.timers.get(&key).map(|timer| timer.value)
    }

    /// The deadline that a timer has by now.
    pub(super) fn deadline(&self, key: Key) -> Option<Timestamp> {
        self.timers.get(&key).map(|timer| self.time(timer.due))
    }

    /// When the earliest timer's tick begins.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.order.keys().next().map(|(due, _)| self.time(*due))
    }

    /// One of the earliest timers that are not just firing.
    pub(super) fn early(&self, index: usize) -> Option<Key> {
        self.order.values().nth(index).copied()
    }

    pub(super) fn insert(&mut self, key: Key, deadline: Timestamp, value: u64) {
        let due = self.due(deadline);
        let timer = Timer { due, sequence: 0, is_moved: false, value };
        assert!(self.timers.insert(key, timer).is_none(), "{key:?} names two timers");
        self.file(key, due);
    }

    pub(super) fn cancel(&mut self, key: Key) -> Option<u64> {
        let timer = self.timers.remove(&key)?;
        self.order.remove(&(timer.due, timer.sequence));
        Some(timer.value)
    }

    pub(super) fn reschedule(&mut self, key: Key, deadline: Timestamp) -> bool {
        let due = self.due(deadline);
        let Some(timer) = self.timers.get_mut(&key) else { return false };
        // The pass that it fires in goes on to decide.
        if self.firing == Some(key) {
            return true;
        }
        if due != timer.due {
            self.order.remove(&(timer.due, timer.sequence));
            self.order.insert((due, timer.sequence), key);
            (timer.due, timer.is_moved) = (due, true);
        }
        true
    }

    /// Takes note of a pass: what is inserted or put off from now on is for a later one.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.target = self.target.max(now.as_nanos() / self.tick);
    }

    /// Asserts that it is this timer's turn.
    #[track_caller]
    pub(super) fn fire(&mut self, key: Key) {
        let timer = self.timers.get(&key).expect("a timer that is gone does not fire");
        let (due, sequence) = (timer.due, timer.sequence);
        assert!(due <= self.target, "tick {due} fires at {}", self.target);
        let (earliest, _) = *self.order.keys().next().unwrap();
        assert_eq!(due, earliest, "an earlier tick comes first");
        let mut before = self.order.range((due, 0)..(due, sequence));
        let overtaken = before.find(|(_, key)| !self.timers[key].is_moved);
        assert!(timer.is_moved || overtaken.is_none(), "{key:?} overtakes {overtaken:?}");
        self.order.remove(&(due, sequence));
        self.firing = Some(key);
    }

    /// Takes note of what the handler of the timer that fires has answered.
    pub(super) fn settle(&mut self, answer: Option<Timestamp>) {
        let key = self.firing.take().expect("a timer fires");
        match answer {
            Some(deadline) if self.timers.contains_key(&key) => {
                let due = self.due(deadline);
                self.file(key, due);
            }
            _ => drop(self.timers.remove(&key)),
        }
    }

    /// Asserts that a complete pass has left nothing that is due.
    #[track_caller]
    pub(super) fn assert_nothing_is_due(&self) {
        if let Some((due, _)) = self.order.keys().next() {
            assert!(*due > self.target, "tick {due} is left over at {}", self.target);
        }
    }

    /// The time of the tick that the last pass was to reach.
    pub(super) fn present(&self) -> Timestamp {
        self.time(self.target)
    }

    fn file(&mut self, key: Key, due: u64) {
        self.sequence += 1;
        self.order.insert((due, self.sequence), key);
        let timer = self.timers.get_mut(&key).expect("it is there");
        (timer.due, timer.sequence, timer.is_moved) = (due, self.sequence, false);
    }

    fn due(&self, deadline: Timestamp) -> u64 {
        let last = u64::MAX / self.tick;
        deadline.as_nanos().div_ceil(self.tick).min(last).max(self.target + 1)
    }

    fn time(&self, tick: u64) -> Timestamp {
        Timestamp::from_nanos(tick * self.tick)
    }
}
