//! Guards that keep signals blocked in a thread. Invariant: a signal is unblocked when the last
//! guard of its thread that wants it is dropped, whatever the order, if it was not blocked before
//! the first and is not pending.
//!
//! Kernel facts: (a) the mask belongs to a thread, new threads inherit it, and it survives `fork`
//! and `exec`; (b) unblocking a signal that is pending delivers it at once, by default with its
//! deadly action; (c) the mask is a set: it does not count how often a signal was blocked, so the
//! guards of a thread have to.

use crate::signal::NUMBER_MAX;
use crate::{Signal, SignalSet};
use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The guards of a thread, and the mask that it had before them.
#[derive(Clone, Copy)]
struct ThreadGuards {
    /// A number that no other thread ever has; 0 until the first guard.
    thread: u64,
    /// The number of guards that want each signal, by number - 1.
    counts: [u32; NUMBER_MAX as usize],
    /// The signals that are blocked because of guards, those included that were left blocked.
    added: SignalSet,
}

thread_local! {
    // Without a destructor, so that a guard may be dropped by the destructor of another
    // thread-local value.
    static GUARDS: Cell<ThreadGuards> = const {
        Cell::new(ThreadGuards {
            thread: 0,
            counts: [0; NUMBER_MAX as usize],
            added: SignalSet::empty(),
        })
    };
}

/// The kernel uses the id of a thread again, this does not.
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

fn index(signal: Signal) -> usize {
    // A signal's number is positive.
    usize::try_from(signal.as_raw() - 1).unwrap_or_default()
}

impl ThreadGuards {
    fn of_this_thread() -> Self {
        let mut guards = GUARDS.get();
        if guards.thread == 0 {
            guards.thread = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
        }
        guards
    }

    /// Counts a guard that wants `wanted`, where the thread blocked `before`. The answer is the
    /// mask without what guards have added to it.
    fn acquire(&mut self, wanted: SignalSet, before: SignalSet) -> SignalSet {
        let mask_before_guards = before - self.added;
        for signal in wanted.iter() {
            let count = &mut self.counts[index(signal)];
            *count = count.saturating_add(1);
        }
        self.added = self.added | (wanted - before);
        mask_before_guards
    }

    /// Counts a guard less. The answer is what no guard wants any more and only guards have
    /// blocked.
    fn release(&mut self, wanted: SignalSet) -> SignalSet {
        for signal in wanted.iter() {
            let count = &mut self.counts[index(signal)];
            *count = count.saturating_sub(1);
        }
        wanted.iter().filter(|&signal| self.counts[index(signal)] == 0).collect::<SignalSet>()
            & self.added
    }
}

impl SignalSet {
    /// `pthread_sigmask(SIG_BLOCK)`: blocks these signals in the calling thread, and in threads
    /// that it starts from now on, until the guard is dropped,
    /// [pthread_sigmask(3)](https://man7.org/linux/man-pages/man3/pthread_sigmask.3.html).
    ///
    /// `SIGKILL` and `SIGSTOP` cannot be blocked and are left out.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux unless a security filter (seccomp) denies `rt_sigprocmask`. Nothing
    /// has changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Signal, SignalSet};
    ///
    /// let first = SignalSet::from_iter([Signal::USR1]).block()?;
    /// let second = SignalSet::from_iter([Signal::USR1, Signal::USR2]).block()?;
    /// drop(first);
    /// assert!(SignalSet::blocked()?.contains(Signal::USR1));
    /// drop(second);
    /// assert!(!SignalSet::blocked()?.contains(Signal::USR1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "pthread_sigmask")]
    pub fn block(self) -> io::Result<MaskGuard> {
        let mut set = self;
        // The kernel passes over them silently, so they would be counted as blocked.
        set.remove(Signal::KILL);
        set.remove(Signal::STOP);
        let before = set.change_mask(libc::SIG_BLOCK)?;
        let mut guards = ThreadGuards::of_this_thread();
        let mask_before_guards = guards.acquire(set, before);
        GUARDS.set(guards);
        Ok(MaskGuard { set, mask_before_guards, thread: guards.thread })
    }
}

/// A guard that keeps signals blocked in the thread that called [`SignalSet::block`].
///
/// Guards may overlap and be dropped in any order: a signal is unblocked when the last guard of its
/// thread that wants it is dropped. Two exceptions keep it blocked:
///
/// - It was blocked before the first of these guards.
/// - It is pending at that moment: to unblock it would deliver it, by default with its deadly
///   action. Read it from a [`SignalFd`](crate::SignalFd) first, or block it again and then read
///   it: the next guard that is dropped unblocks it.
///
/// **Threads:** a thread inherits the mask of the one that starts it, but not the guards: in the new
/// thread these signals stay blocked. A guard that is dropped in another thread than its own
/// unblocks nothing anywhere, as if it were [forgotten](Self::forget).
///
/// **Fork and exec:** a child inherits the mask, and keeps it across `exec`;
/// [`set_child_mask`](crate::set_child_mask) with [`mask_before_guards`](Self::mask_before_guards)
/// gives it the former one.
#[derive(Debug)]
#[must_use = "the signals are unblocked when the guard is dropped"]
pub struct MaskGuard {
    set: SignalSet,
    mask_before_guards: SignalSet,
    /// The number of its thread in [`ThreadGuards`].
    thread: u64,
}

impl MaskGuard {
    /// Returns the signals that the guard keeps blocked.
    #[must_use]
    pub fn set(&self) -> SignalSet {
        self.set
    }

    /// Returns the signals that the thread blocked when the guard was made, without those that this
    /// and other guards have added.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::{Signal, SignalSet};
    ///
    /// let before = SignalSet::blocked()?;
    /// let _first = SignalSet::from_iter([Signal::USR1]).block()?;
    /// let second = SignalSet::from_iter([Signal::USR2]).block()?;
    /// assert_eq!(second.mask_before_guards(), before);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn mask_before_guards(&self) -> SignalSet {
        self.mask_before_guards
    }

    /// Keeps the signals blocked for the rest of the thread's life.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for MaskGuard {
    fn drop(&mut self) {
        let mut guards = GUARDS.get();
        if guards.thread != self.thread {
            // Another thread's mask is out of reach.
            return;
        }
        let unwanted = guards.release(self.set);
        if !unwanted.is_empty() {
            // Where nobody can tell what is pending, everything stays blocked. Neither call fails
            // but by a security filter, and a destructor could not report it.
            let pending = SignalSet::pending().unwrap_or(unwanted);
            let harmless = unwanted - pending;
            if harmless.change_mask(libc::SIG_UNBLOCK).is_ok() {
                guards.added = guards.added - harmless;
            }
        }
        GUARDS.set(guards);
    }
}
