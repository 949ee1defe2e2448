//! `signalfd`: signals that are read like data.
//!
//! Kernel facts: (a) only signals that every thread blocks come here reliably, any thread that does
//! not may get them instead; (b) a read gives the signals of the process and of the thread that
//! reads; (c) in a forked child an inherited descriptor reports the child's own signals, and an
//! inherited epoll instance none; (d) a blocked signal is reported although the process ignores it.

use crate::errno::{self, check};
use crate::{Signal, SignalSet};
use libc::{c_int, signalfd_siginfo};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A signal as `struct signalfd_siginfo` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// The signal.
    pub signal: Signal,
    /// The origin, the `si_code` of `sigaction(2)`: 0 is `kill(2)`, -1 is `sigqueue(3)`, positive is
    /// the kernel.
    pub code: i32,
    /// The process that sent it, or 0.
    pub pid: u32,
    /// The user who owns that process.
    pub uid: u32,
    /// The value that was sent with it, see [`Signal::queue`], or 0.
    pub value: i32,
}

/// The length of `struct signalfd_siginfo`, which is part of the kernel's interface.
const INFO_LEN: usize = 128;

const _: () = assert!(size_of::<signalfd_siginfo>() == INFO_LEN);

/// A descriptor that reports signals,
/// [signalfd(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html).
///
/// The signals must be blocked in every thread, so block them before the first is started. A
/// standard signal that is sent while it is pending is lost: count what was read, not what was
/// sent. Real-time signals are queued and read one by one.
///
/// **Threads:** a read returns signals that were sent to the process, and to the thread that reads.
/// No other thread can read a signal that was sent to one thread, by [`Signal::raise`] for example.
///
/// **Fork:** in the child the descriptor reports the child's own signals, but an epoll instance that
/// watched it before the fork does not learn of them: make a new one.
///
/// **Exec:** it is closed; signals that are pending, and the mask, stay.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Signal, SignalFd, SignalSet};
///
/// let set = SignalSet::from_iter([Signal::USR1]);
/// let _guard = set.block()?;
/// let signals = SignalFd::new(&set)?;
/// assert_eq!(signals.read().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// Signal::USR1.raise()?;
/// assert_eq!(signals.read()?.signal, Signal::USR1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

impl SignalFd {
    /// `signalfd(SFD_CLOEXEC | SFD_NONBLOCK)`: makes a descriptor that reports the signals of
    /// `set`.
    ///
    /// `SIGKILL` and `SIGSTOP` never come; the kernel passes over them silently.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    #[doc(alias = "signalfd")]
    pub fn new(set: &SignalSet) -> io::Result<Self> {
        let fd = signalfd(-1, *set)?;
        // SAFETY: the kernel has just made this descriptor, so it is open and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// `signalfd` on this descriptor: reports the signals of `set` from now on.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux unless a security filter (seccomp) denies the call.
    pub fn set_mask(&self, set: &SignalSet) -> io::Result<()> {
        signalfd(self.fd.as_raw_fd(), *set).map(drop)
    }

    /// `read`: takes one pending signal.
    ///
    /// Of several the kernel gives one that is directed at the thread first, then the lowest
    /// number.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): no signal of the set is pending.
    pub fn read(&self) -> io::Result<SignalInfo> {
        let mut info = [0; INFO_LEN];
        match rustix::io::read(&self.fd, &mut info).map_err(errno::error)? {
            INFO_LEN => parse(&info),
            // The kernel gives whole structures only.
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Returns the descriptor that reports `set`: `fd` itself, or a new one for -1.
fn signalfd(fd: c_int, set: SignalSet) -> io::Result<c_int> {
    // SAFETY: the second argument is an initialized set, by the reference to it. The first is -1, or
    // a signalfd that the caller borrows for the call.
    let fd = unsafe { libc::signalfd(fd, &set.to_raw(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check(fd).map(|()| fd)
}

fn parse(info: &[u8; INFO_LEN]) -> io::Result<SignalInfo> {
    let field = |offset: usize| {
        let mut bytes = [0; size_of::<u32>()];
        bytes.copy_from_slice(&info[offset..][..size_of::<u32>()]);
        bytes
    };
    let signal = i32::from_ne_bytes(field(offset_of!(signalfd_siginfo, ssi_signo)));
    Ok(SignalInfo {
        // A set holds no number that is no signal, so the kernel reports none.
        signal: Signal::from_raw(signal).ok_or(io::ErrorKind::InvalidData)?,
        code: i32::from_ne_bytes(field(offset_of!(signalfd_siginfo, ssi_code))),
        pid: u32::from_ne_bytes(field(offset_of!(signalfd_siginfo, ssi_pid))),
        uid: u32::from_ne_bytes(field(offset_of!(signalfd_siginfo, ssi_uid))),
        value: i32::from_ne_bytes(field(offset_of!(signalfd_siginfo, ssi_int))),
    })
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
