//! Waking a reactor from another thread: an eventfd behind a flag.
//!
//! The eventfd is edge-triggered, so each write is an event and nobody has to read it. The flag says
//! that a wake is on its way; while it is set, further wakes cost no system call. The reactor clears
//! the flag before it tells its caller, so whatever was announced after that writes again: a wake is
//! never lost, at worst there is one too many.

use epoll_sys::EventFd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes a [`Reactor`](crate::Reactor) return from its wait, from any thread.
///
/// Put what the reactor's thread shall see where it can see it, then call [`wake`](Self::wake). Any
/// number of wakes before the reactor takes notice are one [`Ready::Woken`](crate::Ready::Woken).
///
/// A waker that outlives its reactor does nothing.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    eventfd: EventFd,
    pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Shared { eventfd: EventFd::new(0)?, pending: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Wakes the reactor; no system call while an earlier wake is pending.
    ///
    /// What the calling thread wrote before is visible to the reactor's thread when it is told.
    ///
    /// # Errors
    ///
    /// None that is known.
    #[inline]
    pub fn wake(&self) -> io::Result<()> {
        // The swap, not a load, orders what the caller wrote before against the reactor's clearing:
        // either this sees the flag cleared and writes, or the reactor sees what was written.
        if self.shared.pending.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.shared.eventfd.write(1).or_else(|error| self.write_again(error))
    }

    #[cold]
    fn write_again(&self, error: io::Error) -> io::Result<()> {
        let mut result = Err(error);
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            // The counter is full after 2^64 - 2 wakes. Emptying it lets the next write through.
            let _ = self.shared.eventfd.read();
            result = self.shared.eventfd.write(1);
        }
        if result.is_err() {
            self.shared.pending.store(false, Ordering::Release);
        }
        result
    }

    /// Called by the reactor when the eventfd is reported, before it tells its caller.
    pub(crate) fn take(&self) {
        self.shared.pending.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_while_one_is_pending_writes_nothing() {
        let waker = Waker::new().unwrap();
        for _ in 0..1000 {
            waker.wake().unwrap();
        }
        assert_eq!(waker.shared.eventfd.read().unwrap(), 1);
        waker.take();
        waker.wake().unwrap();
        assert_eq!(waker.shared.eventfd.read().unwrap(), 1);
    }

    #[test]
    fn a_full_counter_loses_no_wake() {
        let waker = Waker::new().unwrap();
        waker.shared.eventfd.write(u64::MAX - 1).unwrap();
        waker.wake().unwrap();
        assert_eq!(waker.shared.eventfd.read().unwrap(), 1);
    }
}
