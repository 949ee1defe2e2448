//! The state of a reactor's turn: what makes it another than the usual one, and what is left of it.
//!
//! Invariant: in the usual turn both are zero, so each is one comparison.

use std::cell::Cell;

/// A cell, because a descriptor is asked for through a shared reference.
#[derive(Default)]
pub(crate) struct Nesting(Cell<u8>);

/// Somebody has asked for the descriptor.
pub(crate) const NESTED: u8 = 1;
/// The signal is set.
pub(crate) const SIGNALLED: u8 = 2;
/// Sources are to be revisited. Here, so that a turn asks one question for both.
const REVISITS: u8 = 4;

/// The instance is to be replaced.
const REBUILD: u8 = 8;

/// The data of the waker's events: its slot is the first one, and keeps its first generation.
pub(crate) const WAKER_DATA: u64 = 1 << 32;

impl Nesting {
    /// Tells that a turn is not the usual one.
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

    /// Has the next wait replace the epoll instance, unless another loop watches it.
    pub(crate) fn set_rebuild_due(&self) {
        if !self.is_nested() {
            self.set(REBUILD);
        }
    }

    pub(crate) fn take_rebuild_due(&self) -> bool {
        self.clear(REBUILD)
    }

    /// Notes that the instance is a new one, which nobody watches yet.
    pub(crate) fn set_rebuilt(&self) {
        self.0.set(self.0.get() & REVISITS);
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

/// The steps that are left of a turn when the batch has been handed out: a number of revisits, and the
/// end of the turn where the reactor is nested. One number, so that a turn asks one question for both.
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
