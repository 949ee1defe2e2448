//! Signals by number and name, and the ways to send one.
//!
//! Kernel facts: (a) a standard signal that is sent while it is pending is lost, a real-time signal
//! is queued with its value; (b) the C library keeps the first real-time signals for itself, so
//! `SIGRTMIN` is known at run time only; (c) which signals a process ignores survives `exec`.

use crate::errno::check;
use libc::c_int;
use std::fmt;
use std::io;
use std::mem;
use std::ops::RangeInclusive;
use std::ptr;

/// A signal, [signal(7)](https://man7.org/linux/man-pages/man7/signal.7.html): one of the standard
/// ones, which have names here, or a [real-time](Self::real_time) one.
///
/// # Examples
///
/// ```
/// use epoll_sys::Signal;
///
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// assert_eq!(Signal::real_time(3).unwrap().to_string(), "SIGRTMIN+3");
/// ```
// Invariant: a number from 1 to 64 for which the C library has a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(c_int);

/// The highest number of a signal that fits a [`SignalSet`](crate::SignalSet), and the highest one
/// on every architecture but MIPS.
pub(crate) const NUMBER_MAX: c_int = 64;

macro_rules! signals {
    ($($(#[cfg($cfg:meta)])? $(#[doc = $doc:expr])* $name:ident = $number:ident;)*) => {
        impl Signal {
            $($(#[cfg($cfg)])? $(#[doc = $doc])* pub const $name: Self = Self(libc::$number);)*
        }

        fn standard_name(number: c_int) -> Option<&'static str> {
            match number {
                $($(#[cfg($cfg)])? libc::$number => Some(stringify!($number)),)*
                _ => None,
            }
        }
    };
}

signals! {
    /// The terminal is gone; for daemons, by custom, a request to reload.
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
    #[cfg(not(any(
        target_arch = "mips", target_arch = "mips64", target_arch = "sparc",
        target_arch = "sparc64"
    )))]
    /// A stack fault of a coprocessor; unused.
    STKFLT = SIGSTKFLT;
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
    /// The power fails.
    PWR = SIGPWR;
    /// A bad system call.
    SYS = SIGSYS;
}

macro_rules! real_time_names {
    ($($offset:literal)*) => {
        /// The names of real-time signals by their distance from `SIGRTMIN`. The kernel has 33 of
        /// them, and each C library takes some away.
        const REAL_TIME_NAMES: [&str; 33] = ["SIGRTMIN", $(concat!("SIGRTMIN+", $offset)),*];
    };
}

real_time_names! {
    1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
}

fn real_time_numbers() -> RangeInclusive<c_int> {
    libc::SIGRTMIN()..=libc::SIGRTMAX().min(NUMBER_MAX)
}

impl Signal {
    /// Returns the real-time signal `SIGRTMIN + offset`, or `None` beyond `SIGRTMAX`.
    ///
    /// The GNU C library leaves 31 of them to programs, so `offset` may be up to 30 there.
    /// Signals of this kind are queued: each that is sent arrives, the lowest number first, and
    /// those of one number in the order in which they were sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::Signal;
    ///
    /// let reload = Signal::real_time(1).unwrap();
    /// assert!(reload > Signal::real_time(0).unwrap());
    /// assert_eq!(Signal::real_time(1000), None);
    /// ```
    #[must_use]
    #[doc(alias = "SIGRTMIN")]
    pub fn real_time(offset: u32) -> Option<Self> {
        let numbers = real_time_numbers();
        let number = numbers.start().checked_add_unsigned(offset)?;
        numbers.contains(&number).then_some(Self(number))
    }

    /// Returns the signal with this number, or `None` if there is none that a program may use.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::Signal;
    ///
    /// assert_eq!(Signal::from_raw(15), Some(Signal::TERM));
    /// assert_eq!(Signal::from_raw(0), None);
    /// ```
    #[must_use]
    pub fn from_raw(number: i32) -> Option<Self> {
        let exists = standard_name(number).is_some() || real_time_numbers().contains(&number);
        exists.then_some(Self(number))
    }

    /// Returns the signal's number.
    #[must_use]
    pub fn as_raw(self) -> i32 {
        self.0
    }

    /// Returns the signal's name, as in `SIGTERM` or `SIGRTMIN+3`.
    #[must_use]
    pub fn name(self) -> &'static str {
        standard_name(self.0).unwrap_or_else(|| {
            let offset = usize::try_from(self.0 - real_time_numbers().start());
            let name = offset.ok().and_then(|offset| REAL_TIME_NAMES.get(offset));
            name.copied().unwrap_or("SIGRT")
        })
    }

    /// `sigaction`: returns whether this process ignores the signal (`SIG_IGN`),
    /// [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html).
    ///
    /// A program begins with the signals ignored that its parent ignored: `nohup` does that with
    /// `SIGHUP`, a shell with `SIGINT` for the background jobs of a script. Rust's runtime adds
    /// `SIGPIPE` before `main`. A signal whose default is to do nothing, such as `SIGCHLD`, is not
    /// ignored in this sense.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux unless a security filter (seccomp) denies the call.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::Signal;
    ///
    /// assert!(Signal::PIPE.is_ignored()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SIG_IGN")]
    #[doc(alias = "sigaction")]
    pub fn is_ignored(self) -> io::Result<bool> {
        // SAFETY: all fields are integers, pointers or an optional function, for each of which
        // zeroes are a value.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        // SAFETY: the second argument may be null, which changes nothing; the third is valid for
        // writes of a `sigaction`.
        check(unsafe { libc::sigaction(self.0, ptr::null(), &mut action) })?;
        Ok(action.sa_sigaction == libc::SIG_IGN)
    }

    /// `raise`: sends the signal to the calling thread,
    /// [raise(3)](https://man7.org/linux/man-pages/man3/raise.3.html).
    ///
    /// Where it is not blocked, it has taken effect before this returns. A
    /// [`SignalFd`](crate::SignalFd) gives it only to a read by this thread.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): it is a real-time signal, and as many signals are
    /// queued as `RLIMIT_SIGPENDING` allows.
    pub fn raise(self) -> io::Result<()> {
        // SAFETY: the call takes no pointer. A handler that it runs is the business of whoever
        // installed it.
        match unsafe { libc::raise(self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// `sigqueue`: sends the signal to a process together with a value,
    /// [sigqueue(3)](https://man7.org/linux/man-pages/man3/sigqueue.3.html).
    ///
    /// A real-time signal is queued with its value. A standard signal that is pending already is
    /// not sent again, and the value is lost.
    ///
    /// # Errors
    ///
    /// - `ESRCH`: there is no process with this id.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it is another user's.
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock): it is a real-time signal, and as many signals
    ///   are queued as `RLIMIT_SIGPENDING` allows.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Signal, SignalFd, SignalSet};
    ///
    /// let signal = Signal::real_time(0).unwrap();
    /// let set = SignalSet::from_iter([signal]);
    /// let _guard = set.block()?;
    /// let signals = SignalFd::new(&set)?;
    /// for value in [1, 2] {
    ///     signal.queue(std::process::id(), value)?;
    /// }
    /// assert_eq!(signals.read()?.value, 1);
    /// assert_eq!(signals.read()?.value, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "sigqueue")]
    pub fn queue(self, process: u32, value: i32) -> io::Result<()> {
        // An id that does not fit would be negative, which is not a process to the kernel either.
        let no_process = |_| io::Error::from_raw_os_error(libc::ESRCH);
        let process = libc::pid_t::try_from(process).map_err(no_process)?;
        // SAFETY: the call takes no pointer but the one in `sigval`, which it does not follow.
        check(unsafe { libc::sigqueue(process, self.0, sigval(value)) })
    }
}

/// Makes the union of an `int` and a pointer that libc declares as the pointer alone.
fn sigval(value: i32) -> libc::sigval {
    let mut bytes = [0; size_of::<usize>()];
    // Both members of the union begin at its first byte, whatever the order of bytes.
    bytes[..size_of::<i32>()].copy_from_slice(&value.to_ne_bytes());
    libc::sigval { sival_ptr: ptr::without_provenance_mut(usize::from_ne_bytes(bytes)) }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_signals_have_names_and_numbers_up_to_the_last() {
        let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
        let count = u32::try_from(last - first + 1).unwrap();
        for offset in 0..count {
            let signal = Signal::real_time(offset).unwrap();
            assert_eq!(signal.as_raw(), first + i32::try_from(offset).unwrap());
            let name = if offset == 0 { "SIGRTMIN".into() } else { format!("SIGRTMIN+{offset}") };
            assert_eq!(signal.name(), name);
            assert_eq!(Signal::from_raw(signal.as_raw()), Some(signal));
        }
        for offset in [count, 64, i32::MAX.unsigned_abs(), u32::MAX] {
            assert_eq!(Signal::real_time(offset), None, "{offset}");
        }
    }

    #[test]
    fn standard_signals_have_the_names_of_the_manual() {
        for number in 1..=31 {
            assert!(Signal::from_raw(number).is_some(), "{number}");
        }
        let named = [Signal::HUP, Signal::KILL, Signal::STKFLT, Signal::SYS];
        let names = named.map(|signal| (signal.as_raw(), signal.to_string()));
        let expected = [(1, "SIGHUP"), (9, "SIGKILL"), (16, "SIGSTKFLT"), (31, "SIGSYS")];
        assert_eq!(names, expected.map(|(number, name)| (number, name.to_owned())));
        assert_eq!(format!("{:>8}", Signal::INT), "  SIGINT");
    }

    #[test]
    fn numbers_of_no_signal_are_none() {
        // The C library keeps those from 32 to SIGRTMIN for itself.
        for number in [i32::MIN, -1, 0, 32, libc::SIGRTMIN() - 1, libc::SIGRTMAX() + 1, i32::MAX] {
            assert_eq!(Signal::from_raw(number), None, "{number}");
        }
    }

    #[test]
    fn a_value_is_the_int_of_the_union() {
        for value in [0, 1, -1, i32::MIN, i32::MAX] {
            let bytes = sigval(value).sival_ptr.addr().to_ne_bytes();
            assert_eq!(bytes[..4], value.to_ne_bytes());
        }
    }
}
