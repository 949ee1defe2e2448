//! A reactor inside another loop: its descriptor is readable while it has something to report.
//!
//! Kernel fact: an epoll descriptor is readable while the kernel has events for it. The reports that the
//! reactor itself keeps (the rest of a batch, revisits) do not show there. While it has some, it
//! therefore signals: it writes to its waker's eventfd, which its instance watches. That costs system
//! calls, which only a reactor pays whose descriptor was asked for.

use crate::{Reactor, Source};
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The flags of a turn that is not the usual one. In a cell, because [`AsFd`] has a shared reference.
#[derive(Default)]
pub(crate) struct Nesting(Cell<u8>);

/// The descriptor was asked for, so another loop may be watching it.
const NESTED: u8 = 1;
/// The eventfd was written, so that the descriptor is readable.
const SIGNALLED: u8 = 2;
/// Sources are to be revisited. In the same byte, so that a turn tests one value for all of it.
const REVISITS: u8 = 4;
/// The instance is to be replaced.
const REBUILD: u8 = 8;

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
        // Neither nested nor signalled: the loop that watched the former instance has to ask for the
        // descriptor again.
        self.0.set(self.0.get() & REVISITS);
    }

    fn is_nested(&self) -> bool {
        self.0.get() & NESTED != 0
    }

    /// Sets the flag and returns whether it was set before.
    fn set(&self, flag: u8) -> bool {
        self.0.replace(self.0.get() | flag) & flag != 0
    }

    /// Clears the flag and returns whether it was set before.
    fn clear(&self, flag: u8) -> bool {
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

    fn add_end(&mut self) {
        self.0 |= Self::END;
    }
}

impl<T: Source, S> Reactor<T, S> {
    /// Makes the descriptor readable if another loop may be watching it.
    #[inline]
    pub(crate) fn signal_if_nested(&self) {
        // Written once until it is withdrawn: it is readable, and another write would be a system call for
        // nothing.
        if self.nesting.is_nested() && !self.nesting.set(SIGNALLED) {
            self.waker.signal();
        }
    }

    /// Signals if a wait has brought reports. Returns `false` if it has brought nothing but the signal.
    #[cold]
    pub(crate) fn begin_nested_turn(&mut self) -> bool {
        let count = self.events.len();
        if !self.nesting.is_nested() {
            return true;
        }
        let waker = self.events.iter().position(|event| event.data == WAKER_DATA);
        if let Some(at) = waker {
            // An edge is reported once, so with this event the instance is no longer readable.
            self.nesting.clear(SIGNALLED);
            // The flag tells a wake from a signal, which is no report.
            if !self.waker.is_pending() {
                self.events.swap_remove(at);
            }
        }
        if !self.events.is_empty() || self.has_revisits() {
            self.signal_if_nested();
            // Withdrawn at the end of the turn, when everything has been handed out.
            self.steps_due.add_end();
            return true;
        }
        // An empty wait is over, by its timeout. The signal alone is no reason to return.
        count == 0
    }

    /// Withdraws the signal when nothing is left to report.
    pub(crate) fn end_nested_turn(&mut self) {
        // With revisits the descriptor stays readable: the outer loop has to come back for them.
        if !self.has_revisits() && self.nesting.clear(SIGNALLED) {
            self.waker.withdraw_signal();
        }
    }

    fn has_reports(&self) -> bool {
        self.handed_out < self.events.len() || !self.revisits.is_empty()
    }
}

/// The descriptor of the epoll instance: readable while the reactor has something to report. See
/// "Nesting" at [`Reactor`].
impl<T: Source, S> AsFd for Reactor<T, S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.nesting.set(NESTED);
        // They came before anybody watched, so the descriptor does not show them yet.
        if self.has_reports() {
            self.signal_if_nested();
        }
        self.epoll.as_fd()
    }
}

/// The same descriptor as by [`AsFd`].
impl<T: Source, S> AsRawFd for Reactor<T, S> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A reactor can be a source of another one.
impl<T: Source, S> Source for Reactor<T, S> {
    fn is_nonblocking(&self) -> bool {
        // It is never read.
        true
    }
}
