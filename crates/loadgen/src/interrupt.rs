//! Ctrl-C during a run: the first ends the load, and the measurements so far are reported; the next
//! ends the program.
//!
//! The signal is blocked and makes a descriptor readable, which every worker watches and none reads:
//! so all of them see it. Threads inherit the mask, so it is blocked before any is started.
//!
//! Kernel facts: (a) a signal that is ignored survives `exec` as such: a shell starts the background
//! jobs of a script with SIGINT ignored; (b) where it is blocked too, it is kept and reported all the
//! same, so to leave it ignored is not to block it.

use anyhow::Context;
use epoll_sys::{MaskGuard, Signal, SignalFd, SignalSet};
use std::os::fd::{AsFd, BorrowedFd};

#[derive(Debug)]
pub(crate) struct Interrupt {
    signals: SignalFd,
    /// Dropped last: what is pending by then stays blocked.
    _guard: MaskGuard,
}

impl Interrupt {
    /// Keeps SIGINT from ending the process. If it is ignored, it stays so and never comes.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let is_ignored =
            Signal::INT.is_ignored().context("failed to ask whether SIGINT is ignored")?;
        let mut set = SignalSet::empty();
        if !is_ignored {
            set.insert(Signal::INT);
        }
        let guard = set.block().context("failed to block SIGINT")?;
        let signals = SignalFd::new(&set).context("failed to watch for SIGINT")?;
        Ok(Self { signals, _guard: guard })
    }

    /// Returns whether SIGINT has come. From now on it ends the process again.
    pub(crate) fn has_come(self) -> bool {
        // WouldBlock is the only error of a read on Linux.
        self.signals.read().is_ok()
    }
}

impl AsFd for Interrupt {
    /// Readable from the first SIGINT on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
