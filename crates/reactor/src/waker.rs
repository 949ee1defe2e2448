//! Waking a reactor from another thread: an eventfd behind a flag.
//!
//! The eventfd is edge-triggered, so each write is an event and it need not be read. The flag says that a
//! wake is on its way; while it is set, further wakes cost no system call. The reactor clears the flag
//! before it reports the wake, so a thread that wakes later writes again: a wake is never lost, at worst
//! there is one too many.

use epoll_sys::EventFd;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes a [`Reactor`](crate::Reactor) return from its wait, from any thread.
///
/// First hand the data over (through a channel or a mutex), then call [`wake`](Self::wake). Any number
/// of wakes before the reactor reports one are one [`Ready::Woken`](crate::Ready::Woken).
///
/// Clones are the same waker; any thread may use any of them. A waker that outlives its reactor does
/// nothing. After `fork` a child's waker wakes the parent's reactor as well, until the child calls
/// [`Reactor::rebuild`](crate::Reactor::rebuild), which gives all its clones there an eventfd of their
/// own. `exec` closes the descriptor.
///
/// # Examples
///
/// ```
/// use epoll_reactor::{Reactor, Ready};
/// use std::sync::mpsc;
///
/// let mut reactor = Reactor::<epoll_reactor::NoSource>::new()?;
/// let (waker, (sender, jobs)) = (reactor.waker(), mpsc::channel());
/// let worker = std::thread::spawn(move || {
///     sender.send("result").unwrap();
///     waker.wake()
/// });
///
/// reactor.wait(None)?;
/// assert!(matches!(reactor.next_ready(), Some(Ready::Woken)));
/// // Empty the queue after the wake was reported: what is sent from now on wakes again.
/// assert_eq!(jobs.try_iter().collect::<Vec<_>>(), ["result"]);
/// worker.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    eventfd: EventFd,
    /// Set while a wake is on its way.
    pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Shared { eventfd: EventFd::new(0)?, pending: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Wakes the reactor. Makes no system call while an earlier wake is pending.
    ///
    /// Whatever the calling thread wrote before is visible to the reactor's thread when the wake is
    /// reported.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a write that the kernel refuses.
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

    /// Clears the flag, before the reactor reports the wake. Returns `false` if it was clear: then the
    /// event is a [signal](Self::signal), or a wake that was reported already.
    pub(crate) fn take(&self) -> bool {
        self.shared.pending.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.shared.pending.load(Ordering::Acquire)
    }

    /// Makes the epoll instance that watches the eventfd readable, without a wake: [`take`](Self::take)
    /// answers `false` for it.
    pub(crate) fn signal(&self) {
        // EAGAIN: the counter is full, so the instance is readable already. No other error is left
        // for a descriptor that is open.
        let _ = self.shared.eventfd.write(1);
    }

    /// Undoes [`signal`](Self::signal).
    pub(crate) fn withdraw_signal(&self) {
        // EAGAIN: there is nothing to undo.
        let _ = self.shared.eventfd.read();
        // The read may have taken the write of a wake too. A wake sets the flag before it writes: if the
        // flag is clear here, the write is still to come.
        if self.is_pending() {
            self.signal();
        }
    }

    /// Replaces the eventfd by a new one, which a forked child does not share with its parent. A wake
    /// that is pending stays so.
    pub(crate) fn renew(&self) -> io::Result<()> {
        self.shared.eventfd.renew()?;
        if self.is_pending() {
            self.signal();
        }
        Ok(())
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
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
        assert!(waker.take());
        waker.wake().unwrap();
        assert_eq!(waker.shared.eventfd.read().unwrap(), 1);
    }

    #[test]
    fn a_signal_is_no_wake() {
        let waker = Waker::new().unwrap();
        waker.signal();
        assert!(!waker.take());
        waker.withdraw_signal();
        assert_eq!(waker.shared.eventfd.read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_wake_outlasts_the_signal_that_is_withdrawn() {
        let waker = Waker::new().unwrap();
        waker.signal();
        waker.wake().unwrap();
        waker.withdraw_signal();
        assert_eq!(waker.shared.eventfd.read().unwrap(), 1);
        assert!(waker.take());
    }

    #[test]
    fn a_wake_outlasts_the_eventfd_that_is_replaced() {
        let waker = Waker::new().unwrap();
        waker.renew().unwrap();
        assert_eq!(waker.shared.eventfd.read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        waker.wake().unwrap();
        waker.renew().unwrap();
        assert_eq!(waker.shared.eventfd.read().unwrap(), 1);
        assert!(waker.take());
    }

    #[test]
    fn a_full_counter_loses_no_wake() {
        let waker = Waker::new().unwrap();
        waker.shared.eventfd.write(u64::MAX - 1).unwrap();
        waker.wake().unwrap();
        assert_eq!(waker.shared.eventfd.read().unwrap(), 1);
    }
}
