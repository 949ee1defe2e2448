//! Signals, sets of them, and the mask of the calling thread.
//!
//! Kernel facts: (a) the mask belongs to a thread, new threads inherit it, and it survives `exec`;
//! (b) unblocking a signal that is pending delivers it at once, by default with its deadly action:
//! [`MaskGuard`] leaves such a signal blocked; (c) standard signals that are pending twice are
//! pending once; (d) what a process ignores survives `exec` too.

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Nix};
use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;

/// A standard signal, [signal(7)](https://man7.org/linux/man-pages/man7/signal.7.html). Real-time
/// signals are not here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(Nix);

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $nix:ident;)*) => {
        impl Signal {
            $($(#[$doc])* pub const $name: Self = Self(Nix::$nix);)*
        }
    };
}

signals! {
    /// The terminal is gone; for daemons by custom a request to reload.
    HUP = SIGHUP;
    /// Interrupt from the terminal, Ctrl-C.
    INT = SIGINT;
    /// Quit from the terminal, Ctrl-\, with a core dump.
    QUIT = SIGQUIT;
    /// An illegal instruction.
    ILL = SIGILL;
    /// A trap of a debugger.
    TRAP = SIGTRAP;
    /// `abort(3)`.
    ABRT = SIGABRT;
    /// A bad memory access by alignment or mapping.
    BUS = SIGBUS;
    /// An arithmetic fault.
    FPE = SIGFPE;
    /// Kill; it cannot be blocked.
    KILL = SIGKILL;
    /// For the program's own use.
    USR1 = SIGUSR1;
    /// A bad memory access.
    SEGV = SIGSEGV;
    /// For the program's own use.
    USR2 = SIGUSR2;
    /// A write to a pipe or socket that nobody reads.
    PIPE = SIGPIPE;
    /// The timer of `alarm(2)`.
    ALRM = SIGALRM;
    /// A request to end.
    TERM = SIGTERM;
    /// A child has ended or stopped.
    CHLD = SIGCHLD;
    /// Continue after a stop.
    CONT = SIGCONT;
    /// Stop; it cannot be blocked.
    STOP = SIGSTOP;
    /// Stop from the terminal, Ctrl-Z.
    TSTP = SIGTSTP;
    /// A background process reads from the terminal.
    TTIN = SIGTTIN;
    /// A background process writes to the terminal.
    TTOU = SIGTTOU;
    /// Urgent data on a socket.
    URG = SIGURG;
    /// The limit of CPU time is reached.
    XCPU = SIGXCPU;
    /// The limit of a file's size is reached.
    XFSZ = SIGXFSZ;
    /// The virtual timer of `setitimer(2)`.
    VTALRM = SIGVTALRM;
    /// The profiling timer of `setitimer(2)`.
    PROF = SIGPROF;
    /// The terminal's window has another size.
    WINCH = SIGWINCH;
    /// Asynchronous I/O is possible.
    IO = SIGIO;
    /// A bad system call.
    SYS = SIGSYS;
}

impl Signal {
    /// The signal with this number; `None` for real-time signals and for numbers of none.
    #[must_use]
    pub fn from_raw(number: i32) -> Option<Self> {
        Nix::try_from(number).ok().map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn as_raw(self) -> i32 {
        self.0 as i32
    }

    /// Its name, as in `SIGTERM`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.as_str()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of signals, `sigset_t`.
///
/// ```
/// use epoll_sys::{Signal, SignalSet};
///
/// let set = SignalSet::from_iter([Signal::TERM, Signal::INT]);
/// assert!(set.contains(Signal::INT));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignalSet(SigSet);

impl SignalSet {
    /// The set with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self(SigSet::empty())
    }

    /// Adds `signal`.
    pub fn insert(&mut self, signal: Signal) {
        self.0.add(signal.0);
    }

    /// Takes `signal` out.
    pub fn remove(&mut self, signal: Signal) {
        self.0.remove(signal.0);
    }

    /// Whether `signal` is in the set.
    #[must_use]
    pub fn contains(&self, signal: Signal) -> bool {
        self.0.contains(signal.0)
    }

    /// Whether no signal is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The signals of the set, by number.
    pub fn iter(&self) -> impl Iterator<Item = Signal> + '_ {
        self.0.iter().map(Signal)
    }

    /// `pthread_sigmask`: the signals that the calling thread blocks.
    ///
    /// # Errors
    ///
    /// None that is known.
    #[doc(alias = "pthread_sigmask")]
    pub fn blocked() -> io::Result<Self> {
        Ok(Self(SigSet::thread_get_mask()?))
    }

    /// The signals that wait to be delivered to the calling thread or to the whole process, from
    /// `/proc/thread-self/status`.
    ///
    /// # Errors
    ///
    /// What reading the file gives; [`InvalidData`](io::ErrorKind::InvalidData) where it lacks the
    /// lines `SigPnd` and `ShdPnd`.
    #[doc(alias = "sigpending")]
    pub fn pending() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/thread-self/status")?;
        match (mask_in(&status, "SigPnd:"), mask_in(&status, "ShdPnd:")) {
            (Some(thread), Some(process)) => Ok(thread.iter().chain(process.iter()).collect()),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "no pending signals in /proc/thread-self/status",
            )),
        }
    }

    /// The signals that this process ignores, from `/proc/thread-self/status`,
    /// [proc_pid_status(5)](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html).
    ///
    /// A program begins with those that its parent ignored, and a Rust program adds `SIGPIPE`
    /// before `main`.
    ///
    /// # Errors
    ///
    /// What reading the file gives; [`InvalidData`](io::ErrorKind::InvalidData) where it lacks the
    /// line `SigIgn`.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Signal, SignalSet};
    ///
    /// assert!(SignalSet::ignored()?.contains(Signal::PIPE));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SIG_IGN")]
    pub fn ignored() -> io::Result<Self> {
        ignored_in(&fs::read_to_string("/proc/thread-self/status")?)
    }

    /// The standard signals among the bits of a mask as `/proc` shows it: the lowest is signal 1.
    #[must_use]
    pub fn from_bits(mask: u64) -> Self {
        Nix::iterator()
            .filter(|&signal| mask & (1 << (signal as i32 - 1)) != 0)
            .map(Signal)
            .collect()
    }

    /// `pthread_sigmask(SIG_BLOCK)`: blocks these signals in the calling thread, and in threads
    /// that it starts from now on, until the guard is dropped.
    ///
    /// `SIGKILL` and `SIGSTOP` cannot be blocked; the kernel passes over them silently.
    ///
    /// # Errors
    ///
    /// None that is known.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Signal, SignalSet};
    ///
    /// let set = SignalSet::from_iter([Signal::USR1]);
    /// let guard = set.block()?;
    /// assert!(SignalSet::blocked()?.contains(Signal::USR1));
    /// drop(guard);
    /// assert!(!SignalSet::blocked()?.contains(Signal::USR1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "pthread_sigmask")]
    pub fn block(&self) -> io::Result<MaskGuard> {
        let before = self.0.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let added = self.iter().filter(|signal| !before.contains(signal.0)).collect();
        Ok(MaskGuard { added, this_thread: PhantomData })
    }

    /// `pthread_sigmask(SIG_SETMASK)`: blocks just these signals in the calling thread.
    pub(crate) fn set(&self) -> io::Result<()> {
        Ok(self.0.thread_set_mask()?)
    }

    /// The set in nix's terms, for the calls of this crate.
    pub(crate) fn as_nix(&self) -> &SigSet {
        &self.0
    }
}

fn ignored_in(status: &str) -> io::Result<SignalSet> {
    mask_in(status, "SigIgn:").ok_or_else(|| {
        let what = "no ignored signals in /proc/thread-self/status";
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// The mask on the line `name` of a status file of `/proc`.
pub(crate) fn mask_in(status: &str, name: &str) -> Option<SignalSet> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(line.trim(), 16).ok().map(SignalSet::from_bits)
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut set = Self::empty();
        signals.into_iter().for_each(|signal| set.insert(signal));
        set
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Keeps signals blocked in the thread that called [`SignalSet::block`], and unblocks those that
/// the call added to the mask when it is dropped.
///
/// A signal that is pending at that moment stays blocked: unblocking would deliver it, by default
/// with its deadly action. Read it from a [`SignalFd`](crate::SignalFd) first. The guard cannot be
/// sent to another thread, whose mask is another.
#[derive(Debug)]
pub struct MaskGuard {
    added: SignalSet,
    this_thread: PhantomData<*const ()>,
}

impl MaskGuard {
    /// The signals that were not blocked before.
    #[must_use]
    pub fn added(&self) -> SignalSet {
        self.added
    }

    /// Keeps the signals blocked for the rest of the thread's life.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for MaskGuard {
    fn drop(&mut self) {
        // Without /proc nobody can tell what is pending, so nothing is unblocked.
        let Ok(pending) = SignalSet::pending() else { return };
        let harmless: SignalSet =
            self.added.iter().filter(|&signal| !pending.contains(signal)).collect();
        // It fails for no set that it is given here, and a destructor could not report it.
        let _ = harmless.0.thread_unblock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_ignores_is_read() {
        let status = "SigBlk:\t0000000000000001\nSigIgn:\t0000000000004002\n";
        let ignored = SignalSet::from_iter([Signal::INT, Signal::TERM]);
        assert_eq!(ignored_in(status).unwrap(), ignored);
    }

    #[test]
    fn a_status_without_ignored_signals_is_an_error() {
        for status in ["SigBlk:\t0000000000000001\n", "SigIgn:\tnone\n"] {
            assert_eq!(ignored_in(status).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn this_process_ignores_what_rust_has_it_ignore() {
        let ignored = SignalSet::ignored().unwrap();
        // Nobody can ignore SIGKILL.
        assert!(ignored.contains(Signal::PIPE) && !ignored.contains(Signal::KILL), "{ignored:?}");
    }
}
