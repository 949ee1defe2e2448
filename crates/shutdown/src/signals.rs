//! Signals behind a descriptor. Invariant: from the first moment to the last, a signal of the set is
//! either blocked in every thread or has its former disposition, and none is unblocked while it is
//! pending.
//!
//! Kernel facts: (a) a signal that any thread leaves unblocked may be delivered to that thread
//! instead; (b) a signal that is blocked is kept and reported even if the process ignores it, so a signal
//! that should stay ignored must not be blocked; (c) a child inherits the mask, also through `exec`.

use epoll_sys::{
    MaskGuard, Signal, SignalFd, SignalInfo, SignalSet, poll_readable, set_child_mask, thread_masks,
};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::process::Command;
use std::time::{Duration, Instant};

/// Signals that are blocked in every thread and read from a descriptor instead.
///
/// An event loop watches the descriptor for reading and [reads](Self::read) until there is `None`; a
/// program without one [waits](Self::wait). Standard signals coalesce: one that is sent again while
/// it is pending is read once. Real-time signals are queued and read one by one, with their values.
///
/// Values may overlap and be dropped in any order, as in `signals = Signals::block(others)?`. A signal is
/// unblocked when the last value of its thread that holds it is dropped, unless it was blocked before the
/// first or is pending at that moment: unblocking a pending signal would deliver it, and its default
/// action may kill the process.
///
/// **Threads:** create it before the first thread is started, since threads inherit the mask. It may be
/// sent to another thread and used there. It unblocks signals in the mask of the thread that created it, so
/// if another thread drops it, nothing is unblocked.
///
/// **Fork:** in the child it reports the child's own signals, but an epoll instance that watched it
/// before the fork does not learn of them: create a new one.
///
/// **Exec:** the descriptor is closed, and the program begins with the signals blocked unless
/// [`restore_mask_in`](Self::restore_mask_in) has prepared the command.
///
/// # Examples
///
/// ```
/// use epoll_shutdown::{Signal, Signals};
/// use std::time::Duration;
///
/// let signals = Signals::block([Signal::TERM, Signal::USR1])?;
/// Signal::USR1.queue(std::process::id(), 0)?;
/// let info = signals.wait(Some(Duration::from_secs(5)))?.expect("the signal");
/// assert_eq!((info.signal, info.pid), (Signal::USR1, std::process::id()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Signals {
    // Dropped in this order: the descriptor is closed first, then the signals are unblocked.
    fd: SignalFd,
    guard: MaskGuard,
}

/// The reason for which [`Signals::block`] refuses.
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
    /// Blocks `signals` in this thread and creates the descriptor that reports them.
    ///
    /// Call it before any other thread is started: threads inherit the mask.
    ///
    /// A signal that the process ignores at this moment stays ignored, and is not in the
    /// [set](Self::set): the parent has asked for that, as `nohup` does with `SIGHUP` and a shell with
    /// `SIGINT` for the background jobs of a script. Rust's runtime ignores `SIGPIPE` before `main`, so it
    /// is not reported either. [`block_even_ignored`](Self::block_even_ignored) reports ignored signals
    /// too.
    ///
    /// The masks of other threads are read from `/proc`. If it is missing, as in a bare chroot, or a
    /// security module denies it, they are not checked.
    ///
    /// # Errors
    ///
    /// [`BlockError`]. Then nothing stays blocked, except a signal that has come meanwhile, which stays
    /// pending. `SIGKILL` and `SIGSTOP` cannot be caught; `SIGSEGV`, `SIGBUS`, `SIGFPE`, `SIGILL`,
    /// `SIGTRAP` and `SIGSYS` are synchronous.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Signal, Signals};
    ///
    /// let signals = Signals::block([Signal::TERM, Signal::PIPE])?;
    /// assert!(signals.set().contains(Signal::TERM));
    /// assert!(!signals.set().contains(Signal::PIPE), "Rust's runtime ignores it");
    /// # Ok::<(), epoll_shutdown::BlockError>(())
    /// ```
    pub fn block(signals: impl IntoIterator<Item = Signal>) -> Result<Self, BlockError> {
        let mut set: SignalSet = signals.into_iter().collect();
        set.iter().try_for_each(refuse)?;
        for signal in set.iter() {
            if signal.is_ignored()? {
                set.remove(signal);
            }
        }
        Self::block_set(set)
    }

    /// Blocks `signals` as [`block`](Self::block) does, and reports also those that the process
    /// ignores.
    ///
    /// # Errors
    ///
    /// Those of [`block`](Self::block).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Signal, Signals};
    ///
    /// let signals = Signals::block_even_ignored([Signal::PIPE])?;
    /// Signal::PIPE.queue(std::process::id(), 0)?;
    /// assert_eq!(signals.read()?.map(|info| info.signal), Some(Signal::PIPE));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn block_even_ignored(
        signals: impl IntoIterator<Item = Signal>,
    ) -> Result<Self, BlockError> {
        let set: SignalSet = signals.into_iter().collect();
        set.iter().try_for_each(refuse)?;
        Self::block_set(set)
    }

    fn block_set(set: SignalSet) -> Result<Self, BlockError> {
        let guard = set.block()?;
        // After the mask is set, so that the guard undoes it if this fails.
        check_other_threads(set)?;
        Ok(Self { fd: SignalFd::new(&set)?, guard })
    }

    /// Takes the next pending signal; `None` if there is none.
    ///
    /// Any thread may call it. It takes signals that were sent to the process or directed at the calling
    /// thread.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux unless a security filter (seccomp) denies the call.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Signal, Signals};
    ///
    /// let reload = Signal::real_time(0).unwrap();
    /// let signals = Signals::block([reload])?;
    /// for value in [1, 2] {
    ///     reload.queue(std::process::id(), value)?;
    /// }
    /// let mut values = Vec::new();
    /// while let Some(info) = signals.read()? {
    ///     values.push(info.value);
    /// }
    /// assert_eq!(values, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(&self) -> io::Result<Option<SignalInfo>> {
        match self.fd.read() {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until a signal comes and takes it, or returns `None` when `timeout` has passed.
    ///
    /// `None` waits without end. Any thread may call it; as with [`read`](Self::read), a signal that is
    /// directed at one thread is taken by that thread only. If several threads wait, each signal is taken
    /// by one of them. Signal handlers that run meanwhile do not end the wait.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory): the kernel lacks memory for the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Signal, Signals};
    /// use std::time::Duration;
    ///
    /// let signals = Signals::block([Signal::TERM])?;
    /// assert_eq!(signals.wait(Some(Duration::from_millis(1)))?, None);
    /// // It may be sent to the thread that waits.
    /// let waiting = std::thread::spawn(move || signals.wait(None));
    /// Signal::TERM.queue(std::process::id(), 0)?;
    /// let info = waiting.join().unwrap()?.expect("the signal");
    /// assert_eq!(info.signal, Signal::TERM);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<SignalInfo>> {
        // A deadline beyond the end of time is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // Before the poll, so that a timeout of zero takes a pending signal. After a poll another
            // thread may have taken the signal, so the loop goes by the time and not by the polls.
            if let Some(info) = self.read()? {
                return Ok(Some(info));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            match poll_readable(&self.fd, left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }

    /// Returns the signals that are reported.
    #[must_use]
    pub fn set(&self) -> SignalSet {
        self.guard.set()
    }

    /// Restores in a child process the mask that the thread had before its first guard: the program that
    /// `command` starts begins with it.
    ///
    /// Guards are [`Signals`] and [`MaskGuard`]s, and the thread is the one that created this value.
    /// Otherwise a child inherits the blocked signals, and `SIGTERM` ends neither the child nor its own
    /// children.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Signal, Signals};
    /// use std::process::Command;
    ///
    /// let signals = Signals::block([Signal::TERM])?;
    /// let mut command = Command::new("grep");
    /// command.args(["-q", "^SigBlk:\t0*$", "/proc/self/status"]);
    /// assert!(!command.status()?.success());
    /// assert!(signals.restore_mask_in(&mut command).status()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore_mask_in<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        set_child_mask(command, self.guard.mask_before_guards())
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

fn check_other_threads(set: SignalSet) -> Result<(), BlockError> {
    use io::ErrorKind::{NotFound, PermissionDenied};
    let threads = match thread_masks() {
        Ok(threads) => threads,
        // Ignored: without /proc the check is left out. It finds mistakes of the program, and a program
        // that makes none does not need it.
        Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for thread in threads {
        if let Some(signal) = (set - thread.blocked).iter().next() {
            return Err(BlockError::Unblocked { signal, thread: thread.name, id: thread.id });
        }
    }
    Ok(())
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn an_error_of_a_call_keeps_its_source_and_a_refusal_has_none() {
        /// An error with a source.
        #[derive(Debug)]
        struct Outer(fmt::Error);

        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outer")
            }
        }

        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }

        let error = BlockError::from(io::Error::other(Outer(fmt::Error)));
        assert_eq!(error.to_string(), "outer");
        assert!(error.source().is_some_and(<dyn Error>::is::<fmt::Error>));
        assert!(BlockError::Uncatchable(Signal::KILL).source().is_none());
    }

    #[test]
    fn they_may_be_sent_and_shared() {
        fn is_sent_and_shared<T: Send + Sync>() {}
        is_sent_and_shared::<Signals>();
    }
}
