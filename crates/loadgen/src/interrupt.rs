//! Ctrl-C (SIGINT) and SIGTERM during a run: the first signal ends the load, and the results so far are
//! reported; the second one ends the program.
//!
//! The signals are blocked and make a descriptor readable. Every worker watches that descriptor and none
//! reads it, so all of them see it. Threads inherit the mask, so the signals are blocked before any thread is
//! started.
//!
//! Kernel facts: (a) an ignored signal stays ignored over `exec`; a shell starts the background jobs of a
//! script with SIGINT ignored; (b) a signal that is ignored and blocked is queued and reported
//! nevertheless, so one that is to stay ignored must not be blocked.

use anyhow::Context;
use epoll_sys::{MaskGuard, Signal, SignalFd, SignalSet};
use std::os::fd::{AsFd, BorrowedFd};

#[derive(Debug)]
pub(crate) struct Interrupt {
    signals: SignalFd,
    /// Dropped last: a signal that is pending by then stays blocked.
    _guard: MaskGuard,
}

impl Interrupt {
    /// Keeps SIGINT and SIGTERM from ending the process. One that is ignored stays ignored and is never
    /// reported.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let mut set = SignalSet::empty();
        for signal in [Signal::INT, Signal::TERM] {
            let is_ignored = signal
                .is_ignored()
                .with_context(|| format!("failed to ask whether {signal} is ignored"))?;
            if !is_ignored {
                set.insert(signal);
            }
        }
        let guard = set.block().context("failed to block SIGINT and SIGTERM")?;
        let signals = SignalFd::new(&set).context("failed to watch for SIGINT and SIGTERM")?;
        Ok(Self { signals, _guard: guard })
    }

    /// Returns whether a signal has come. From this call on, both end the process again.
    pub(crate) fn has_come(self) -> bool {
        // WouldBlock is the only error of a read on Linux.
        self.signals.read().is_ok()
    }
}

impl AsFd for Interrupt {
    /// Readable from the first signal on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
