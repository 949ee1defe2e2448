//! Ctrl-C, SIGTERM, SIGHUP and SIGQUIT as something to wait for, so that whoever waits for a process
//! hears of them too, returns, and ends what it started on its way out.

use epoll_sys::{Signal, SignalSet};
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
    /// Takes the signals over, but for those that are ignored, as SIGHUP is under nohup.
    pub(crate) fn new() -> io::Result<Self> {
        let (ours, handlers) = UnixStream::pair()?;
        let ignored = SignalSet::ignored()?;
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
            if !ignored.contains(signal) {
                signal_hook::low_level::pipe::register(signal.as_raw(), handlers.try_clone()?)?;
            }
        }
        Ok(Self(ours))
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
