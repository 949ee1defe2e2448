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

/// Returns the number of a new wheel. The numbers of a process come round after 2^32 wheels.
pub(crate) fn next_wheel() -> NonZeroU32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NonZeroU32::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MAX)
}
