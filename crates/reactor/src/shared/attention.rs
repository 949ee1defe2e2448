//! Conditions that a thread checks besides the kernel. They are one word, so that the usual wait checks all of
//! them with one comparison.

use std::sync::atomic::{AtomicU64, Ordering};

/// The reactor was stopped.
const STOPPED: u64 = 1;
/// Waits look for a while before they sleep.
const BUSY_POLLING: u64 = 2;
/// The descriptor was asked for, so another loop may be watching it.
const NESTED: u64 = 4;
/// One source in the run queue; the length of that is the upper part of the word.
const QUEUED: u64 = 1 << 8;

/// Flags, and the length of the run queue.
#[derive(Default)]
pub(crate) struct Attention(AtomicU64);

impl Attention {
    /// Returns whether there is nothing: a wait is the usual one.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    /// Returns whether a wait is not the usual one even while nothing is queued.
    pub(crate) fn has_flags(&self) -> bool {
        self.0.load(Ordering::Acquire) % QUEUED != 0
    }

    pub(crate) fn stop(&self) {
        self.0.fetch_or(STOPPED, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire) & STOPPED != 0
    }

    pub(crate) fn set_busy_polling(&mut self, is_on: bool) {
        let flags = self.0.get_mut();
        *flags &= !BUSY_POLLING;
        if is_on {
            *flags |= BUSY_POLLING;
        }
    }

    /// Notes that another loop may be watching. Returns whether something is queued, of which the descriptor
    /// does not tell yet.
    pub(crate) fn set_nested(&self) -> bool {
        self.0.fetch_or(NESTED, Ordering::AcqRel) >= QUEUED
    }

    pub(crate) fn is_nested(&self) -> bool {
        self.0.load(Ordering::Acquire) & NESTED != 0
    }

    /// Returns the length of the run queue.
    pub(crate) fn queued(&self) -> usize {
        usize::try_from(self.0.load(Ordering::Acquire) / QUEUED).unwrap_or(usize::MAX)
    }

    /// Counts a source that was appended to the queue. Only under its lock. Returns whether another loop may be
    /// watching: either this sees its flag, or [`set_nested`](Self::set_nested) sees the source.
    pub(crate) fn add_queued(&self) -> bool {
        self.0.fetch_add(QUEUED, Ordering::AcqRel) & NESTED != 0
    }

    /// Counts a source that was taken out of the queue. Only under its lock.
    pub(crate) fn remove_queued(&self) {
        self.0.fetch_sub(QUEUED, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(epoll_kit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn flags_and_the_queue_do_not_get_into_each_other() {
        let mut attention = Attention::default();
        assert!(attention.is_none() && !attention.add_queued());
        assert!(!attention.is_none() && !attention.has_flags() && attention.queued() == 1);
        assert!(attention.set_nested() && attention.is_nested() && attention.add_queued());
        attention.set_busy_polling(true);
        attention.set_busy_polling(true);
        attention.stop();
        assert_eq!((attention.queued(), attention.is_stopped()), (2, true));
        attention.set_busy_polling(false);
        attention.remove_queued();
        attention.remove_queued();
        assert!(!attention.set_nested(), "nothing is queued");
        assert!(attention.queued() == 0 && attention.is_nested() && attention.has_flags());
    }
}
