//! The state of a reactor's turn: the flags of a turn that is not the usual one, and the steps that are left.
//!
//! Invariant: in the usual turn both are zero, so that each is tested by one comparison.

use std::cell::Cell;

/// The flags of a turn that is not the usual one. In a cell, because
/// [`AsFd`](std::os::fd::AsFd) has a shared reference.
#[derive(Default)]
pub(crate) struct Nesting(Cell<u8>);

/// The descriptor was asked for, so another loop may be watching it.
pub(crate) const NESTED: u8 = 1;
/// The eventfd was written, so that the descriptor is readable.
pub(crate) const SIGNALLED: u8 = 2;
/// Sources are to be revisited. In the same byte, so that a turn tests one value for all of it.
const REVISITS: u8 = 4;
/// The instance is to be replaced.
const REBUILD: u8 = 8;
/// Waits look for a while before they sleep.
const BUSY_POLLING: u8 = 16;

/// The data of the waker's events: its slot is the first one, and keeps its first generation.
pub(crate) const WAKER_DATA: u64 = 1 << 32;

impl Nesting {
    /// Returns whether the next turn is not the usual one.
    #[inline]
    pub(crate) fn needs_care(&self) -> bool {
        self.0.get() != 0
    }

    #[inline]
    pub(crate) fn set_revisits_pending(&self) {
        self.set(REVISITS);
    }

    pub(crate) fn set_no_revisits_pending(&self) {
        self.clear(REVISITS);
    }

    /// Makes the next wait replace the epoll instance, unless another loop watches it.
    pub(crate) fn set_rebuild_due(&self) {
        if !self.is_nested() {
            self.set(REBUILD);
        }
    }

    pub(crate) fn set_busy_polling(&self, is_on: bool) {
        if is_on {
            self.set(BUSY_POLLING);
        } else {
            self.clear(BUSY_POLLING);
        }
    }

    pub(crate) fn take_rebuild_due(&self) -> bool {
        // Another loop may have begun to watch it since.
        self.clear(REBUILD) && !self.is_nested()
    }

    /// Notes that the instance is a new one, which nobody watches yet.
    pub(crate) fn set_rebuilt(&self) {
        // Neither nested nor signalled: the loop that watched the former instance has to ask for the
        // descriptor again.
        self.0.set(self.0.get() & (REVISITS | BUSY_POLLING));
    }

    pub(crate) fn is_nested(&self) -> bool {
        self.0.get() & NESTED != 0
    }

    /// Sets the flag and returns whether it was set before.
    pub(crate) fn set(&self, flag: u8) -> bool {
        self.0.replace(self.0.get() | flag) & flag != 0
    }

    /// Clears the flag and returns whether it was set before.
    pub(crate) fn clear(&self, flag: u8) -> bool {
        self.0.replace(self.0.get() & !flag) & flag != 0
    }
}

/// The steps of a turn after its batch: a number of revisits, and the end of the turn if the reactor is
/// nested. Both are in one number, so that a turn tests one value.
#[derive(Clone, Copy, Default)]
pub(crate) struct StepsDue(usize);

impl StepsDue {
    const END: usize = 1;
    const REVISIT: usize = 2;

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has_revisits(self) -> bool {
        self.0 >= Self::REVISIT
    }

    pub(crate) fn set_revisits(&mut self, count: usize) {
        self.0 = (self.0 & Self::END) | (count * Self::REVISIT);
    }

    /// Takes one revisit; `false` if there is none.
    pub(crate) fn take_revisit(&mut self) -> bool {
        let is_due = self.has_revisits();
        if is_due {
            self.0 -= Self::REVISIT;
        }
        is_due
    }

    pub(crate) fn add_end(&mut self) {
        self.0 |= Self::END;
    }
}
