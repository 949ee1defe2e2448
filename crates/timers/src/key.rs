//! Names of timers. The key of a timer that is gone names no other, in its own wheel or another one.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of one timer of one [`Wheel`](crate::Wheel).
///
/// Keys may be kept for longer than their timer: a wheel answers that it has no such timer when it is
/// given the key of a timer that is gone, or of a timer of another wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    /// Never zero, so that an `Option` of a key takes no more room.
    pub(crate) wheel: NonZeroU32,
}

/// A [`Key`] without the number of its wheel: 8 bytes instead of 12, for an owner of very many timers who
/// knows which wheel they are in.
///
/// It becomes a key again by [`Wheel::key`](crate::Wheel::key) or [`Timers::key`](crate::Timers::key). Given to
/// another wheel than its own, it may name another timer.
///
/// # Examples
///
/// ```
/// use epoll_timers::{CompactKey, Timestamp, Wheel};
/// use std::time::Duration;
///
/// let mut wheel = Wheel::new(Duration::from_millis(1))?;
/// let deadline = Timestamp::after_epoch(Duration::from_secs(1));
/// let stored: CompactKey = wheel.insert(deadline, "idle").compact();
/// assert_eq!(size_of::<Option<CompactKey>>(), 8);
///
/// assert_eq!(wheel.cancel(wheel.key(stored)), Some("idle"));
/// assert_eq!(wheel.cancel(wheel.key(stored)), None, "it is gone");
/// # Ok::<(), epoll_timers::TickError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompactKey {
    index: u32,
    /// One more than the generation, which is never the last one.
    generation: NonZeroU32,
}

impl Key {
    /// Returns the key without the number of its wheel.
    #[inline]
    #[must_use]
    pub fn compact(self) -> CompactKey {
        CompactKey {
            index: self.index,
            generation: NonZeroU32::MIN.saturating_add(self.generation),
        }
    }
}

impl CompactKey {
    /// Returns the key of the timer in the wheel with this number.
    #[inline]
    pub(crate) fn of_wheel(self, wheel: NonZeroU32) -> Key {
        Key { index: self.index, generation: self.generation.get() - 1, wheel }
    }
}

/// Returns the number of a new wheel. The numbers of a process come round after 2^32 wheels.
pub(crate) fn next_wheel() -> NonZeroU32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NonZeroU32::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_key_becomes_the_same_key_again() {
        for generation in [0, 1, u32::MAX - 1] {
            let key = Key { index: 7, generation, wheel: next_wheel() };
            assert_eq!(key.compact().of_wheel(key.wheel), key);
        }
    }
}
