//! Sets of signals, and the questions about signals that the kernel answers with a set.

use crate::Signal;
use crate::errno::check;
use crate::signal::NUMBER_MAX;
use libc::{c_int, sigset_t};
use std::fmt;
use std::io;
use std::mem;
use std::ops::{BitAnd, BitOr, Sub};
use std::ptr;

/// A set of signals. Signal 1 is the lowest bit, as in `/proc/PID/status`; it becomes a `sigset_t`
/// where a call wants one.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Signal, SignalSet};
///
/// let set = SignalSet::from_iter([Signal::TERM, Signal::INT]);
/// assert!(set.contains(Signal::INT));
/// assert_eq!(set - SignalSet::from_iter([Signal::INT]), SignalSet::from_iter([Signal::TERM]));
/// ```
// Invariant: no bit is set that is not a `Signal`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SignalSet(u64);

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// Returns all signals that a program may use.
fn every_signal() -> impl Iterator<Item = Signal> {
    (1..=NUMBER_MAX).filter_map(Signal::from_raw)
}

impl SignalSet {
    /// Returns the set with nothing in it.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Returns the signals among the bits of a mask as `/proc/PID/status` shows it. Bits that are
    /// no [`Signal`] are left out.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Signal, SignalSet};
    ///
    /// let set = SignalSet::from_bits(0x4002);
    /// assert_eq!(set, SignalSet::from_iter([Signal::INT, Signal::TERM]));
    /// ```
    #[must_use]
    pub fn from_bits(mask: u64) -> Self {
        every_signal().filter(|&signal| mask & bit(signal) != 0).collect()
    }

    /// Returns the bits, of which the lowest is signal 1.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Adds `signal`.
    pub fn insert(&mut self, signal: Signal) {
        self.0 |= bit(signal);
    }

    /// Takes `signal` out.
    pub fn remove(&mut self, signal: Signal) {
        self.0 &= !bit(signal);
    }

    /// Returns whether `signal` is in the set.
    #[must_use]
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & bit(signal) != 0
    }

    /// Returns whether no signal is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the signals of the set in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Signal> + Clone {
        (1..=NUMBER_MAX).filter_map(Signal::from_raw).filter(move |&signal| self.contains(signal))
    }

    /// `pthread_sigmask`: returns the signals that the calling thread blocks,
    /// [pthread_sigmask(3)](https://man7.org/linux/man-pages/man3/pthread_sigmask.3.html).
    ///
    /// # Errors
    ///
    /// Does not fail on Linux unless a security filter (seccomp) denies `rt_sigprocmask`.
    #[doc(alias = "pthread_sigmask")]
    pub fn blocked() -> io::Result<Self> {
        let mut blocked = Self::empty().to_raw();
        // SAFETY: the second argument may be null, which changes nothing; the third is valid for
        // writes of a `sigset_t`.
        let errno = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut blocked) };
        check_errno(errno).map(|()| Self::from_raw(&blocked))
    }

    /// `sigpending`: returns the signals that the calling thread blocks and that wait for it or
    /// for the whole process,
    /// [sigpending(2)](https://man7.org/linux/man-pages/man2/sigpending.2.html).
    ///
    /// # Errors
    ///
    /// Does not fail on Linux unless a security filter (seccomp) denies `rt_sigpending`.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Signal, SignalSet};
    ///
    /// let _guard = SignalSet::from_iter([Signal::USR1]).block()?;
    /// Signal::USR1.raise()?;
    /// assert!(SignalSet::pending()?.contains(Signal::USR1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "sigpending")]
    pub fn pending() -> io::Result<Self> {
        let mut pending = Self::empty().to_raw();
        // SAFETY: the argument is valid for writes of a `sigset_t`.
        check(unsafe { libc::sigpending(&mut pending) })?;
        Ok(Self::from_raw(&pending))
    }

    /// `sigaction` of every signal: returns those that this process ignores; see
    /// [`Signal::is_ignored`].
    ///
    /// # Errors
    ///
    /// Those of [`Signal::is_ignored`].
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
        let mut ignored = Self::empty();
        for signal in every_signal() {
            if signal.is_ignored()? {
                ignored.insert(signal);
            }
        }
        Ok(ignored)
    }

    /// Returns the set in the terms of the C library.
    pub(crate) fn to_raw(self) -> sigset_t {
        // SAFETY: it is an array of integers, for which zeroes are a value. What the C library has
        // beyond the 64 signals of the kernel `sigemptyset` may leave as it is.
        let mut raw: sigset_t = unsafe { mem::zeroed() };
        // SAFETY: the argument is valid for writes of a `sigset_t`.
        unsafe { libc::sigemptyset(&mut raw) };
        for signal in self.iter() {
            // It fails for a number of no signal only.
            // SAFETY: the first argument is valid for reads and writes, and initialized above.
            unsafe { libc::sigaddset(&mut raw, signal.as_raw()) };
        }
        raw
    }

    fn from_raw(raw: &sigset_t) -> Self {
        let is_member = |signal: &Signal| {
            // SAFETY: the first argument is an initialized set, by the reference to it.
            unsafe { libc::sigismember(raw, signal.as_raw()) == 1 }
        };
        every_signal().filter(is_member).collect()
    }

    /// `pthread_sigmask`: changes the signals that the calling thread blocks, and returns those
    /// that it blocked before. `how` is `SIG_BLOCK`, `SIG_UNBLOCK` or `SIG_SETMASK`.
    pub(crate) fn change_mask(self, how: c_int) -> io::Result<Self> {
        let (set, mut before) = (self.to_raw(), Self::empty().to_raw());
        set_mask(how, &set, Some(&mut before)).map(|()| Self::from_raw(&before))
    }
}

/// `pthread_sigmask` and nothing besides, so that it may be called between `fork` and `exec`.
pub(crate) fn set_mask(
    how: c_int,
    set: &sigset_t,
    before: Option<&mut sigset_t>,
) -> io::Result<()> {
    let before = before.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the second argument is an initialized set, by the reference to it; the third is null,
    // which is allowed, or valid for writes of a `sigset_t`. That a signal is delivered when it is
    // unblocked breaks no rule of Rust: handlers are the business of whoever installs them.
    check_errno(unsafe { libc::pthread_sigmask(how, set, before) })
}

/// Converts the result of a call that returns the error's number instead of setting `errno`.
fn check_errno(errno: c_int) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// Returns the mask on the line `name` of a status file of `/proc`.
pub(crate) fn mask_in(status: &str, name: &str) -> Option<SignalSet> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(line.trim(), 16).ok().map(SignalSet::from_bits)
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut set = Self::empty();
        set.extend(signals);
        set
    }
}

impl Extend<Signal> for SignalSet {
    fn extend<I: IntoIterator<Item = Signal>>(&mut self, signals: I) {
        signals.into_iter().for_each(|signal| self.insert(signal));
    }
}

impl BitOr for SignalSet {
    type Output = Self;

    /// Returns the signals that are in either set.
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for SignalSet {
    type Output = Self;

    /// Returns the signals that are in both sets.
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for SignalSet {
    type Output = Self;

    /// Returns the signals that are in the first set and not in the second.
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
