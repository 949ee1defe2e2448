//! A reactor inside another loop: its descriptor is readable while it has something to report.
//!
//! Kernel fact: an epoll descriptor is readable while the kernel has events for it. The reports that the
//! reactor itself keeps (the rest of a batch, revisits) do not show there. While it has some, it
//! therefore signals: it writes to its waker's eventfd, which its instance watches. That costs system
//! calls, which only a reactor pays whose descriptor was asked for.

use crate::turn::{NESTED, SIGNALLED, WAKER_DATA};
use crate::{Reactor, Source};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

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
