//! The wheel of epoll-timers.

use crate::Keeper;
use epoll_timers::{Key, Timestamp};

/// 2^20 nanoseconds are a tick, as near to a millisecond as a power of two comes.
const TICK_BITS: u32 = 20;

/// [`epoll_timers::Wheel`].
pub struct Wheel {
    wheel: epoll_timers::Wheel<u64>,
}

#[inline]
fn time(tick: u64) -> Timestamp {
    Timestamp::from_nanos(tick << TICK_BITS)
}

impl Keeper for Wheel {
    const NAME: &'static str = "epoll-timers";

    type Key = Key;

    fn new() -> Self {
        let wheel = epoll_timers::Wheel::new(time(1).since_epoch());
        let mut wheel = wheel.expect("the tick is not zero");
        // All that is due in one pass, as with the other contestants.
        wheel.set_steps_max(usize::MAX);
        Self { wheel }
    }

    fn len(&self) -> usize {
        self.wheel.len()
    }

    #[inline]
    fn insert(&mut self, deadline: u64, value: u64) -> Key {
        self.wheel.insert(time(deadline), value)
    }

    #[inline]
    fn cancel(&mut self, key: Key) -> bool {
        self.wheel.cancel(key).is_some()
    }

    #[inline]
    fn reschedule(&mut self, key: &mut Key, deadline: u64, _value: u64) -> bool {
        self.wheel.reschedule(*key, time(deadline))
    }

    #[inline]
    fn expire(&mut self, now: u64, mut fire: impl FnMut(u64)) {
        while let Some(fired) = self.wheel.next_due(time(now)) {
            fire(fired.value);
        }
    }
}
