//! Signals behind a descriptor. Invariant: from the first moment to the last, a signal of the set is
//! either blocked in every thread or has its former disposition, and none is unblocked while it is
//! pending.

use epoll_sys::{MaskGuard, Signal, SignalFd, SignalInfo, SignalSet, set_child_mask, thread_masks};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;

/// Signals that are blocked in every thread and read from a descriptor instead.
///
/// Watch the descriptor for reading and [`read`](Self::read) until it gives `None`. Standard signals
/// coalesce: one that is sent again while it is pending is read once.
///
/// Dropping it gives the thread its former mask back, but for signals that are pending at that
/// moment: unblocking these would deliver them, by default with their deadly action. It stays in the
/// thread that made it, for the mask belongs to a thread.
///
/// # Examples
///
/// See [the crate's page](crate).
#[derive(Debug)]
pub struct Signals {
    // In this order: closed first, then unblocked.
    fd: SignalFd,
    _guard: MaskGuard,
    set: SignalSet,
    /// What the thread blocked before.
    mask_before: SignalSet,
}

/// Why [`Signals::block`] refuses.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockError {
    /// This signal cannot be caught, blocked or ignored.
    Uncatchable(Signal),
    /// This signal reports a fault of the instruction that is running; blocked, it kills the process.
    Synchronous(Signal),
    /// Another thread has this signal unblocked and would get it instead.
    Unblocked {
        /// The signal.
        signal: Signal,
        /// The thread's name.
        thread: String,
        /// The thread's kernel id.
        id: u32,
    },
    /// A system call failed.
    Io(io::Error),
}

impl Signals {
    /// Blocks `signals` in this thread and makes the descriptor that reports them.
    ///
    /// Call it before any other thread is started: threads inherit the mask.
    ///
    /// # Errors
    ///
    /// [`BlockError`]; nothing is blocked then, but for a signal that came meanwhile, which stays
    /// pending. `SIGKILL` and `SIGSTOP` cannot be caught; `SIGSEGV`,
    /// `SIGBUS`, `SIGFPE`, `SIGILL`, `SIGTRAP` and `SIGSYS` are synchronous.
    pub fn block(signals: impl IntoIterator<Item = Signal>) -> Result<Self, BlockError> {
        let set: SignalSet = signals.into_iter().collect();
        set.iter().try_for_each(refuse)?;
        let mask_before = SignalSet::blocked()?;
        let guard = set.block()?;
        for thread in thread_masks()? {
            if let Some(signal) = set.iter().find(|&signal| !thread.blocked.contains(signal)) {
                return Err(BlockError::Unblocked { signal, thread: thread.name, id: thread.id });
            }
        }
        Ok(Self { fd: SignalFd::new(&set)?, _guard: guard, set, mask_before })
    }

    /// The next signal that has come; `None`: none has.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn read(&self) -> io::Result<Option<SignalInfo>> {
        match self.fd.read() {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The signals that are reported.
    #[must_use]
    pub fn set(&self) -> SignalSet {
        self.set
    }

    /// Makes the program that `command` starts begin with the mask that this thread had before
    /// [`block`](Self::block). Without this a child inherits the blocked signals: it could not be
    /// ended with `SIGTERM`, and neither could what it starts.
    pub fn restore_in<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        set_child_mask(command, self.mask_before)
    }
}

fn refuse(signal: Signal) -> Result<(), BlockError> {
    match signal {
        Signal::KILL | Signal::STOP => Err(BlockError::Uncatchable(signal)),
        Signal::SEGV | Signal::BUS | Signal::FPE | Signal::ILL | Signal::TRAP | Signal::SYS => {
            Err(BlockError::Synchronous(signal))
        }
        _ => Ok(()),
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uncatchable(signal) => write!(f, "{signal} cannot be caught"),
            Self::Synchronous(signal) => {
                write!(f, "{signal} reports a fault and cannot be waited for")
            }
            Self::Unblocked { signal, thread, id } => {
                write!(f, "{signal} is not blocked in the thread {thread:?} ({id})")
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BlockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for BlockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<BlockError> for io::Error {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::Io(error) => error,
            refused => Self::new(io::ErrorKind::InvalidInput, refused),
        }
    }
}
