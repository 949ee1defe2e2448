//! Ctrl-C during a run: the first ends the load, and what was measured is reported; the next ends the
//! program.
//!
//! The signal is blocked and makes a descriptor readable, which every worker watches and none reads:
//! so all of them see it. Threads inherit the mask, so this comes before any is started.

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
    /// From now on SIGINT does not end the process.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let set = SignalSet::from_iter([Signal::INT]);
        let guard = set.block().context("failed to block SIGINT")?;
        let signals = SignalFd::new(&set).context("failed to watch for SIGINT")?;
        Ok(Self { signals, _guard: guard })
    }

    /// Whether it has come. From now on SIGINT ends the process again.
    pub(crate) fn has_come(self) -> bool {
        // Nothing to read is the only error that is known.
        self.signals.read().is_ok()
    }
}

impl AsFd for Interrupt {
    /// Readable from the first SIGINT on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
