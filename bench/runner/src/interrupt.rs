//! Ctrl-C, SIGTERM, SIGHUP and SIGQUIT as a descriptor to wait for, so that a wait for a process ends
//! with them too, and the guards on the way out end what was started.

use epoll_sys::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;

/// Readable from the first signal to end on; it is never read.
pub(crate) struct Interrupt(UnixStream);

/// A signal asked for the end.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupt {
    /// Handles the signals from now on, except those that are ignored, as SIGHUP is under nohup.
    pub(crate) fn new() -> io::Result<Self> {
        let (ours, handlers) = UnixStream::pair()?;
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
            if !signal.is_ignored()? {
                signal_hook::low_level::pipe::register(signal.as_raw(), handlers.try_clone()?)?;
            }
        }
        Ok(Self(ours))
    }

    /// Returns whether a signal has come.
    pub(crate) fn is_set(&self) -> bool {
        let mut readable = [PollFd::new(&self.0, PollFlags::IN)];
        // A failure to ask is no signal.
        poll(&mut readable, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
