//! A value that one thread at a time uses, with a word that records whether one does.
//!
//! A lock with a word of its own beside the state that it guards costs one more atomic operation for each
//! use, and a thread that leaves a note for the holder has to check two words. Here one word is both: one bit of it
//! is the claim, the other bits are the caller's.

#[cfg(all(epoll_kit_loom, test))]
mod model;

#[cfg(not(epoll_kit_loom))]
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
#[cfg(not(epoll_kit_loom))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(epoll_kit_loom)]
use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, Ordering},
};

/// A value beside a word that any thread may read and change. The thread that sets the bit
/// [`CLAIMED`](Self::CLAIMED) of the word has the value until it clears the bit.
///
/// The other 63 bits are the caller's: a version that a claim requires, or notes for the holder, which finds
/// them in the same step in which it releases the value. No thread waits: a claim that fails returns at once.
///
/// # Examples
///
/// The release finds a note that was left while the value was in use:
///
/// ```
/// use epoll_sys::ClaimCell;
///
/// const NOTE: u64 = 1;
/// let cell = ClaimCell::new(0, String::from("one"));
/// let mut claim = cell.claim_at(0).expect("nobody else has it");
/// claim.push_str(" two");
///
/// assert!(cell.claim_at(0).is_none(), "it is in use");
/// cell.update(|word| Some(word | NOTE)).expect("no word is refused");
///
/// // Released if there is no note; otherwise the note is taken and the value kept.
/// let settle = |word| if word & NOTE == 0 { word & !ClaimCell::<()>::CLAIMED } else { word & !NOTE };
/// let (claim, before) = claim.release_with(settle).expect_err("there is a note");
/// assert_eq!(before & NOTE, NOTE);
/// assert!(claim.release_with(settle).is_ok());
/// assert_eq!((cell.word(), cell.into_inner().as_str()), (0, "one two"));
/// ```
pub struct ClaimCell<T> {
    word: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: a shared reference to the cell gives access to the value through a `ClaimGuard` only, of which
// there is one at a time (see `ClaimGuard::new`), and which stays on the thread that has claimed it. So the
// value is used by several threads, one after the other, for which it has to be `Send`; as with `Mutex`.
unsafe impl<T: Send> Sync for ClaimCell<T> {}

// A holder that panics leaves the value claimed, or says in the word what it thinks of it.
impl<T> UnwindSafe for ClaimCell<T> {}
impl<T> RefUnwindSafe for ClaimCell<T> {}

/// The outcome of [`ClaimCell::update`].
#[derive(Debug)]
pub enum Updated<'a, T> {
    /// The update has claimed the value. With the word that it replaced.
    Claimed(ClaimGuard<'a, T>, u64),
    /// The update has changed the word. With the word that it replaced.
    Changed(u64),
}

impl<T> ClaimCell<T> {
    /// The bit of the word that is set while the value is in use. Below the middle, so that the upper half can be
    /// a number.
    pub const CLAIMED: u64 = 1 << 30;

    /// Creates a cell that nobody has claimed: that bit of `word` is cleared.
    #[must_use]
    pub fn new(word: u64, value: T) -> Self {
        Self { word: AtomicU64::new(word & !Self::CLAIMED), value: UnsafeCell::new(value) }
    }

    /// Returns the word, which may be another one by now.
    #[inline]
    #[must_use]
    pub fn word(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// Claims the value if the word is just `word`. One atomic operation.
    #[inline]
    pub fn claim_at(&self, word: u64) -> Option<ClaimGuard<'_, T>> {
        if word & Self::CLAIMED != 0 {
            return None;
        }
        let claimed = word | Self::CLAIMED;
        // Acquire: what the last holder has done to the value comes before its release.
        self.word.compare_exchange(word, claimed, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        // The exchange has set the bit.
        Some(ClaimGuard::new(self))
    }

    /// Replaces the word by what `next` makes of it, which is asked again if another thread was faster. A value
    /// that is not claimed is claimed by setting the bit. One that is claimed stays so: only its holder
    /// clears the bit.
    ///
    /// # Errors
    ///
    /// The word, if `next` refuses it with `None`.
    #[inline]
    pub fn update(&self, mut next: impl FnMut(u64) -> Option<u64>) -> Result<Updated<'_, T>, u64> {
        let mut present = self.word.load(Ordering::Acquire);
        loop {
            let wanted = next(present).ok_or(present)? | present & Self::CLAIMED;
            match self.word.compare_exchange_weak(
                present,
                wanted,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) if (wanted & !present) & Self::CLAIMED != 0 => {
                    // The exchange has set the bit.
                    return Ok(Updated::Claimed(ClaimGuard::new(self), present));
                }
                Ok(_) => return Ok(Updated::Changed(present)),
                Err(changed) => present = changed,
            }
        }
    }

    /// Returns the value.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T> fmt::Debug for ClaimCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimCell")
            .field("word", &format_args!("{:#x}", self.word()))
            .finish_non_exhaustive()
    }
}

/// The value of a [`ClaimCell`], for one thread alone.
///
/// It stays on its thread, and a guard of a value that is not `Send` cannot be shared:
///
/// ```compile_fail
/// use epoll_sys::ClaimCell;
/// use std::sync::{Mutex, MutexGuard};
///
/// static LOCK: Mutex<u32> = Mutex::new(0);
/// fn share(_: impl Sync) {}
///
/// let cell: ClaimCell<Option<MutexGuard<'static, u32>>> = ClaimCell::new(0, LOCK.lock().ok());
/// share(cell.claim_at(0).expect("nobody else has it"));
/// ```
///
/// It ends with a release. One that is dropped leaves the value claimed for ever: the cell does not know
/// what its word should be then.
#[must_use = "the value stays claimed until it is released"]
pub struct ClaimGuard<'a, T> {
    cell: &'a ClaimCell<T>,
    /// Loom's own note that the value is in use, which finds out if it is used twice.
    #[cfg(epoll_kit_loom)]
    access: loom::cell::MutPtr<T>,
    /// Keeps the guard on its thread, and lets it be shared only if the value may be.
    value: PhantomData<*mut T>,
}

// SAFETY: a shared reference to the guard gives a shared reference to the value, for which that has to be `Sync`,
// and to the cell, which may be shared only if the value is `Send`.
unsafe impl<T: Send + Sync> Sync for ClaimGuard<'_, T> {}

impl<'a, T> ClaimGuard<'a, T> {
    /// Makes the guard of the caller whose exchange has set the bit. No other guard exists then: the bit was
    /// clear, and while a guard exists nothing clears it. `update` of the cell keeps it, and the releases end the
    /// guard.
    #[inline]
    fn new(cell: &'a ClaimCell<T>) -> Self {
        Self {
            cell,
            #[cfg(epoll_kit_loom)]
            access: cell.value.get_mut(),
            value: PhantomData,
        }
    }

    /// Returns the cell of the value.
    #[inline]
    #[must_use]
    pub fn cell(&self) -> &'a ClaimCell<T> {
        self.cell
    }

    /// Ends the use of the value, and of this guard.
    #[inline]
    fn end(self) -> &'a ClaimCell<T> {
        self.cell
    }

    /// Releases the value if the word is just `word`, apart from the claim, and leaves that word. One atomic
    /// operation.
    ///
    /// # Errors
    ///
    /// The guard, if the word is another one.
    #[inline]
    pub fn release_at(self, word: u64) -> Result<(), Self> {
        let released = word & !ClaimCell::<T>::CLAIMED;
        let claimed = word | ClaimCell::<T>::CLAIMED;
        let cell = self.end();
        // Release: what was done to the value comes before the next claim.
        match cell.word.compare_exchange(claimed, released, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            // The bit is still set, and this was its guard.
            Err(_) => Err(Self::new(cell)),
        }
    }

    /// Replaces the word by what `next` makes of it, which is asked again if another thread was faster. The
    /// value is released if that has the bit of the claim clear. Returns the word before.
    ///
    /// # Errors
    ///
    /// The guard and the word before, if the bit is still set.
    #[inline]
    pub fn release_with(self, mut next: impl FnMut(u64) -> u64) -> Result<u64, (Self, u64)> {
        let cell = self.end();
        let mut present = cell.word.load(Ordering::Acquire);
        loop {
            let wanted = next(present);
            match cell.word.compare_exchange_weak(
                present,
                wanted,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) if wanted & ClaimCell::<T>::CLAIMED == 0 => return Ok(present),
                // The bit is still set, and this was its guard.
                Ok(_) => return Err((Self::new(cell), present)),
                Err(changed) => present = changed,
            }
        }
    }
}

impl<T> Deref for ClaimGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        #[cfg(not(epoll_kit_loom))]
        let value = self.cell.value.get();
        #[cfg(epoll_kit_loom)]
        let value = self.access.with(|value| value);
        // SAFETY: the pointer is that of a live value, for the cell is borrowed. This guard is the only one of
        // the cell, and it is borrowed for as long as the reference lives: nobody changes the value.
        unsafe { &*value }
    }
}

impl<T> DerefMut for ClaimGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        #[cfg(not(epoll_kit_loom))]
        let value = self.cell.value.get();
        #[cfg(epoll_kit_loom)]
        let value = self.access.with(|value| value);
        // SAFETY: the pointer is that of a live value, for the cell is borrowed. This guard is the only one of
        // the cell, and it is borrowed exclusively for as long as the reference lives.
        unsafe { &mut *value }
    }
}

impl<T: fmt::Debug> fmt::Debug for ClaimGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClaimGuard").field(&**self).finish()
    }
}

#[cfg(all(test, not(epoll_kit_loom)))]
mod tests {
    use super::*;
    use std::rc::Rc;
    use std::thread;

    const CLAIMED: u64 = ClaimCell::<()>::CLAIMED;

    fn release(word: u64) -> u64 {
        word & !CLAIMED
    }

    #[test]
    fn one_has_the_value_at_a_time() {
        let cell = ClaimCell::new(7, 0);
        let mut claim = cell.claim_at(7).unwrap();
        *claim += 1;
        assert!(cell.claim_at(7).is_none() && cell.claim_at(7 | CLAIMED).is_none());
        // It is not cleared by anybody else, however hard one tries.
        assert!(
            matches!(cell.update(|_| Some(8)), Ok(Updated::Changed(before)) if before == 7 | CLAIMED)
        );
        assert!(matches!(cell.update(|word| Some(word | CLAIMED)), Ok(Updated::Changed(_))));
        assert_eq!(cell.word(), 8 | CLAIMED);
        assert_eq!(claim.release_with(release).unwrap(), 8 | CLAIMED);
        let claim = cell.claim_at(8).unwrap();
        assert_eq!((*claim, cell.word()), (1, 8 | CLAIMED));
    }

    #[test]
    fn a_claim_insists_on_its_word_and_a_release_too() {
        let cell = ClaimCell::new(CLAIMED | 1, ());
        assert!(cell.claim_at(0).is_none());
        let claim = cell.claim_at(1).unwrap();
        let claim = claim.release_at(0).unwrap_err();
        assert_eq!(cell.word(), 1 | CLAIMED, "it is still claimed");
        claim.release_at(1).unwrap();
        assert_eq!(cell.word(), 1);
        assert!(matches!(cell.update(|_| None), Err(1)));
    }

    #[test]
    fn a_guard_that_is_dropped_leaves_the_value_claimed() {
        let cell = ClaimCell::new(0, Rc::new(()));
        assert!(cell.claim_at(0).is_some());
        assert!(cell.claim_at(0).is_none());
        assert_eq!(Rc::strong_count(&cell.into_inner()), 1);
    }

    #[test]
    fn threads_count_together() {
        const ROUNDS: u32 = 10_000;
        let cell = ClaimCell::new(0, 0);
        let count = || {
            let mut claims = 0;
            while claims < ROUNDS {
                let claimed = |word| (word & CLAIMED == 0).then_some(word | CLAIMED);
                if let Ok(Updated::Claimed(mut guard, _)) = cell.update(claimed) {
                    *guard += 1;
                    claims += 1;
                    guard.release_with(release).unwrap();
                }
            }
        };
        thread::scope(|threads| {
            [(); 3].map(|()| threads.spawn(count)).map(|thread| thread.join().unwrap())
        });
        assert_eq!(cell.into_inner(), 3 * ROUNDS);
    }
}
