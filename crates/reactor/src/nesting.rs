//! A reactor inside another loop: its descriptor is readable while it has something to report.
//!
//! Kernel fact: an epoll descriptor is readable while the kernel has events for it. What the reactor
//! keeps for itself (reports that are left of a batch, revisits) does not show there, so the reactor
//! then writes to an eventfd that its instance watches: its waker's. That costs system calls, which
//! only a reactor pays whose descriptor somebody has asked for.

use crate::turn::{NESTED, SIGNALLED, WAKER_DATA};
use crate::{Reactor, Source};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

impl<T: Source, S> Reactor<T, S> {
    /// Makes the descriptor readable if somebody may be watching it.
    #[inline]
    pub(crate) fn signal_if_nested(&self) {
        if self.nesting.is_nested() && !self.nesting.set(SIGNALLED) {
            self.waker.signal();
        }
    }

    /// Sets the signal for what a wait has brought. Returns `false` if that is nothing but the signal.
    #[cold]
    pub(crate) fn begin_nested_turn(&mut self) -> bool {
        let count = self.events.len();
        if !self.nesting.is_nested() {
            return true;
        }
        let waker = self.events.iter().position(|event| event.data == WAKER_DATA);
        if let Some(at) = waker {
            // The kernel reports the eventfd by edges, and has just done so.
            self.nesting.clear(SIGNALLED);
            if !self.waker.is_pending() {
                self.events.swap_remove(at);
            }
        }
        if !self.events.is_empty() || self.has_revisits() {
            self.signal_if_nested();
            // The signal is withdrawn when everything has been handed out.
            self.steps_due.add_end();
            return true;
        }
        // A wait that found nothing is over; one that found the signal alone goes on.
        count == 0
    }

    /// Withdraws the signal when nothing is left to report.
    pub(crate) fn end_nested_turn(&mut self) {
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
