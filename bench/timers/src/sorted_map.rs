//! A sorted map of (deadline, number of the timer).

use crate::Keeper;
use std::collections::BTreeMap;

/// [`BTreeMap`].
pub struct SortedMap {
    timers: BTreeMap<(u64, u64), u64>,
    /// Timers of one deadline differ in this.
    next: u64,
}

impl Keeper for SortedMap {
    const NAME: &'static str = "BTreeMap";

    type Key = (u64, u64);

    fn new() -> Self {
        Self { timers: BTreeMap::new(), next: 0 }
    }

    fn len(&self) -> usize {
        self.timers.len()
    }

    #[inline]
    fn insert(&mut self, deadline: u64, value: u64) -> (u64, u64) {
        self.next += 1;
        self.timers.insert((deadline, self.next), value);
        (deadline, self.next)
    }

    #[inline]
    fn cancel(&mut self, key: (u64, u64)) -> bool {
        self.timers.remove(&key).is_some()
    }

    #[inline]
    fn reschedule(&mut self, key: &mut (u64, u64), deadline: u64, value: u64) -> bool {
        let is_known = self.timers.remove(key).is_some();
        *key = (deadline, key.1);
        self.timers.insert(*key, value);
        is_known
    }

    #[inline]
    fn expire(&mut self, now: u64, mut fire: impl FnMut(u64)) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > now {
                return;
            }
            fire(first.remove());
        }
    }
}
