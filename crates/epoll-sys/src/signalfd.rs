//! `signalfd`: signals that are read like data.
//!
//! Kernel facts: (a) only signals that every thread blocks come here reliably, any thread that does
//! not may get them instead; (b) a read gives the signals of the thread that reads; (c) in a forked
//! child an inherited descriptor reports the child's own signals, and an inherited epoll instance
//! none.

use crate::{Signal, SignalSet};
use nix::sys::signalfd::{SfdFlags, SignalFd as Nix};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// One signal, as `struct signalfd_siginfo` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// Which signal.
    pub signal: Signal,
    /// Why it was sent, the `si_code` of `sigaction(2)`: 0 is `kill(2)`, positive is the kernel.
    pub code: i32,
    /// The process that sent it, or 0.
    pub pid: u32,
    /// The user who owns that process.
    pub uid: u32,
}

/// A descriptor that reports signals,
/// [signalfd(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html).
///
/// The signals must be blocked in every thread, so block them before the first is started. A second
/// delivery of a signal that is pending is lost: count what was read, not what was sent.
///
/// ```
/// use epoll_sys::{Signal, SignalFd, SignalSet};
///
/// let set = SignalSet::from_iter([Signal::USR1]);
/// let _guard = set.block()?;
/// let signals = SignalFd::new(&set)?;
/// assert_eq!(signals.read().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SignalFd {
    fd: Nix,
}

impl SignalFd {
    /// `signalfd(SFD_CLOEXEC | SFD_NONBLOCK)`: reports the signals of `set`.
    ///
    /// `SIGKILL` and `SIGSTOP` never come; the kernel passes over them silently.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    #[doc(alias = "signalfd")]
    pub fn new(set: &SignalSet) -> io::Result<Self> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { fd: Nix::with_flags(set.as_nix(), flags)? })
    }

    /// `signalfd` on this descriptor: reports the signals of `set` from now on.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn set_mask(&self, set: &SignalSet) -> io::Result<()> {
        Ok(self.fd.set_mask(set.as_nix())?)
    }

    /// `read`: takes one signal that is pending.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): none is.
    pub fn read(&self) -> io::Result<SignalInfo> {
        let info = self.fd.read_signal()?.ok_or(io::ErrorKind::WouldBlock)?;
        let signal = i32::try_from(info.ssi_signo).ok().and_then(Signal::from_raw);
        Ok(SignalInfo {
            // A set holds standard signals only, so the kernel reports no other.
            signal: signal.ok_or(io::ErrorKind::InvalidData)?,
            code: info.ssi_code,
            pid: info.ssi_pid,
            uid: info.ssi_uid,
        })
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
