//! The cancellable wheel of `hierarchical_hash_wheel_timer`. It finds timers by hash, cannot
//! re-schedule, and moves on by single ticks but where it says that there is nothing to do.

use crate::Keeper;
use hierarchical_hash_wheel_timer::wheels::Skip;
use hierarchical_hash_wheel_timer::wheels::cancellable::{
    CancellableTimerEntry, QuadWheelWithOverflow,
};
use std::rc::Rc;
use std::time::Duration;

/// [`QuadWheelWithOverflow`].
pub struct HashWheel {
    wheel: QuadWheelWithOverflow<Entry>,
    now: u64,
    len: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    value: u64,
}

impl CancellableTimerEntry for Entry {
    type Id = u64;

    fn id(&self) -> &u64 {
        &self.id
    }
}

impl HashWheel {
    #[inline]
    fn put(&mut self, id: u64, deadline: u64, value: u64) {
        let after = Duration::from_millis(deadline - self.now);
        let inserted = self.wheel.insert_ref_with_delay(Rc::new(Entry { id, value }), after);
        inserted.expect("the deadline is in the future");
    }
}

impl Keeper for HashWheel {
    const NAME: &'static str = "hierarchical_hash_wheel_timer";

    type Key = u64;

    fn new() -> Self {
        Self { wheel: QuadWheelWithOverflow::new(), now: 0, len: 0, next: 0 }
    }

    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn insert(&mut self, deadline: u64, value: u64) -> u64 {
        self.next += 1;
        self.put(self.next, deadline, value);
        self.len += 1;
        self.next
    }

    #[inline]
    fn cancel(&mut self, key: u64) -> bool {
        let is_known = self.wheel.cancel(&key).is_ok();
        self.len -= usize::from(is_known);
        is_known
    }

    #[inline]
    fn reschedule(&mut self, key: &mut u64, deadline: u64, value: u64) -> bool {
        let is_known = self.wheel.cancel(key).is_ok();
        if is_known {
            self.put(*key, deadline, value);
        }
        is_known
    }

    #[inline]
    fn expire(&mut self, now: u64, mut fire: impl FnMut(u64)) {
        while self.now < now {
            let left = u32::try_from(now - self.now).unwrap_or(u32::MAX);
            let skipped = match self.wheel.can_skip() {
                Skip::Empty => left,
                Skip::Millis(ticks) => ticks.min(left),
                Skip::None => 0,
            };
            if skipped > 0 {
                self.wheel.skip(skipped);
                self.now += u64::from(skipped);
                continue;
            }
            let fired = self.wheel.tick();
            self.now += 1;
            self.len -= fired.len();
            for entry in fired {
                fire(entry.value);
            }
        }
    }
}
