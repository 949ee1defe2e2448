//! Names of timers. A key is used up when its timer is gone, and no wheel takes another's.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of one timer of one [`Wheel`](crate::Wheel).
///
/// It outlives its timer harmlessly: a wheel that is given the key of a timer that is gone, or of
/// another wheel's, answers that it has no such timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    /// Never zero, so that an `Option` of a key takes no more room.
    pub(crate) wheel: NonZeroU32,
}

/// A number for each wheel of the process. It comes round after 2^32 wheels.
pub(crate) fn next_wheel() -> NonZeroU32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NonZeroU32::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MAX)
}
