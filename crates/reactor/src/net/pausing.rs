//! The pauses of a listener: a descriptor that is readable when there is something to accept, and is not
//! during a pause, whichever loop watches it.
//!
//! It is an epoll instance that watches the socket and a timer. Kernel facts: (a) an epoll
//! instance is readable while one of its sources is ready, and can be watched like any descriptor, but
//! not exclusively; (b) `EPOLLHUP` and `EPOLLERR` cannot be taken out of an interest, so only a source
//! that was deleted is silent; (c) setting a timer clears expirations that were not read.

use epoll_sys::{Epoll, Expiry, Interest, TimerFd, Watch};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

const READABLE: Watch = Watch::level(Interest::IN);

#[derive(Debug)]
pub(super) struct Gate {
    epoll: Epoll,
    timer: TimerFd,
    is_open: bool,
}

impl Gate {
    pub(super) fn new(socket: impl AsFd) -> io::Result<Self> {
        let (epoll, timer) = (Epoll::new()?, TimerFd::new()?);
        epoll.add(&timer, 0, READABLE)?;
        epoll.add(socket, 0, READABLE)?;
        Ok(Self { epoll, timer, is_open: true })
    }

    /// Silences the socket. The instance is readable again when this time is over.
    pub(super) fn pause(&mut self, socket: impl AsFd, pause: Duration) -> io::Result<()> {
        // First the timer, which might fail: a listener that is silent for ever is worse than one that spins.
        self.timer.set(Expiry::After(pause))?;
        self.shut(socket);
        Ok(())
    }

    /// Watches the socket again, whether or not its pause is over.
    pub(super) fn resume(&mut self, socket: impl AsFd) -> io::Result<()> {
        if !self.is_open {
            self.epoll.add(socket, 0, READABLE)?;
            self.is_open = true;
            // Also takes the expiry back that has ended the pause, which a level trigger would repeat.
            self.timer.disarm()?;
        }
        Ok(())
    }

    /// Silences the socket for good.
    pub(super) fn end(&mut self, socket: impl AsFd) {
        self.shut(socket);
        // Ignored: a timer that expires once more is one extra report, and no harm.
        let _ = self.timer.disarm();
    }

    fn shut(&mut self, socket: impl AsFd) {
        if self.is_open {
            self.is_open = false;
            // Ignored: it fails only if a forked child, which shares the instance, has deleted it.
            let _ = self.epoll.delete(socket);
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Gate {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
