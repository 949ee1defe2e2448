//! The ownership of a source: one word, changed by compare-and-swap. Pure: it knows no kernel and no
//! source.
//!
//! A slot is vacant, idle or held. A thread that claims an idle source holds it, and no other thread gets
//! it until it is released. A claim of a held source leaves a [`Pending`] in the word, and the release
//! finds it there: then the source stays held, for the thread that serves what is pending. So no report
//! is lost, however a report and a release meet, and no thread ever waits for a holder.

use crate::shared::sync::{AtomicU64, Ordering};
use crate::slots::Generation;
use epoll_sys::Readiness;

// The word has the generation in the upper half. In the lower half are these flags and a `Pending`.

/// The slot has a source.
const OCCUPIED: u64 = 1 << 31;
/// A thread, or the run queue, has the source.
const HELD: u64 = 1 << 30;
/// The source is parked. Only its holder changes this.
const PARKED: u64 = 1 << 24;

pub(crate) struct Ownership {
    word: AtomicU64,
}

/// Reports and requests for the holder of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending(u32);

impl Pending {
    pub(crate) const NONE: Self = Self(0);
    /// A request to close it.
    pub(crate) const CLOSE: Self = Self(1 << 29);
    /// A notification, unrelated to readiness.
    pub(crate) const NOTIFY: Self = Self(1 << 28);
    /// The kernel has refused to watch it any longer.
    pub(crate) const UNWATCHED: Self = Self(1 << 27);
    /// A request to unpark it.
    pub(crate) const UNPARK: Self = Self(1 << 26);
    /// The epoll instance is a new one, to which it has to be added.
    pub(crate) const REARM: Self = Self(1 << 25);
    /// A revisit that the holder has asked for. Never in the word: the source stays held for it.
    pub(crate) const REVISIT: Self = Self(1 << 23);
    /// The bits that epoll reports.
    const READINESS: u32 = 0xffff;
    /// The bits of the word that are pending.
    const MASK: u64 = (Self::READINESS
        | Self::CLOSE.0
        | Self::NOTIFY.0
        | Self::UNWATCHED.0
        | Self::UNPARK.0
        | Self::REARM.0) as u64;

    #[inline]
    pub(crate) fn ready(readiness: Readiness) -> Self {
        Self(readiness.bits() & Self::READINESS)
    }

    #[inline]
    pub(crate) fn readiness(self) -> Readiness {
        Readiness::from_bits_retain(self.0 & Self::READINESS)
    }

    #[inline]
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn without_readiness(self) -> Self {
        Self(self.0 & !Self::READINESS)
    }

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Returns whether the holder has to learn of it although the source is parked.
    pub(crate) fn is_request(self) -> bool {
        self.has(Self::CLOSE) || self.has(Self::NOTIFY) || self.has(Self::UNWATCHED)
    }

    #[inline]
    fn in_word(word: u64) -> Self {
        Self(lower(word & Self::MASK))
    }
}

/// The outcome of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The caller holds the source now.
    Held(Generation),
    /// Another thread holds it, and will find what is pending.
    Deferred,
    /// There is no source of that generation any more.
    Gone,
}

/// The outcome of an attempt to leave a report to a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deferral {
    /// No thread holds the source.
    Idle,
    /// No thread holds the source, which is parked.
    Parked,
    /// Another thread holds it, and will find the report.
    Deferred,
    /// There is no source of that generation any more.
    Gone,
}

impl Ownership {
    pub(crate) fn vacant() -> Self {
        Self { word: AtomicU64::new(word(Generation::MIN)) }
    }

    /// Makes a vacant slot a held one. Only for the one thread that was given the vacancy.
    pub(crate) fn occupy(&self) -> Generation {
        // One step: a vacant slot's events are stale, a held one's are deferred, and none is idle between.
        let word = self.word.fetch_or(OCCUPIED | HELD, Ordering::AcqRel);
        debug_assert!(word & OCCUPIED == 0, "an occupied slot was given away");
        generation(word)
    }

    /// Claims the source, or leaves `pending` for its holder.
    #[inline]
    pub(crate) fn claim(&self, wanted: u32, pending: Pending) -> Claim {
        self.change(wanted, |word| {
            if word & HELD == 0 { word | HELD } else { word | u64::from(pending.0) }
        })
    }

    /// Leaves `pending` for the holder, if another thread holds the source. An idle one stays idle.
    #[inline]
    pub(crate) fn defer(&self, wanted: u32, pending: Pending) -> Deferral {
        // Acquire, here and below: the changes of the last holder come before its release.
        let mut present = self.word.load(Ordering::Acquire);
        loop {
            if lower(present >> 32) != wanted || present & OCCUPIED == 0 {
                return Deferral::Gone;
            }
            // Read, not changed: most events find their source idle, and the claim changes the word.
            if present & HELD == 0 {
                return if present & PARKED == 0 { Deferral::Idle } else { Deferral::Parked };
            }
            let next = present | u64::from(pending.0);
            match self.word.compare_exchange_weak(
                present,
                next,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Deferral::Deferred,
                Err(changed) => present = changed,
            }
        }
    }

    /// Claims the source if nobody holds it.
    pub(crate) fn claim_idle(&self, wanted: u32) -> Claim {
        self.change(wanted, |word| word | HELD)
    }

    #[inline]
    fn change(&self, wanted: u32, next: impl Fn(u64) -> u64) -> Claim {
        // Generation, flags and pending bits are one word, so that the generation that was compared is the
        // one that is changed.
        let mut present = self.word.load(Ordering::Acquire);
        loop {
            if lower(present >> 32) != wanted || present & OCCUPIED == 0 {
                return Claim::Gone;
            }
            match self.word.compare_exchange_weak(
                present,
                next(present),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) if present & HELD == 0 => return Claim::Held(generation(present)),
                Ok(_) => return Claim::Deferred,
                Err(changed) => present = changed,
            }
        }
    }

    /// Releases the source. If something is pending, returns it instead, and the source stays held.
    #[inline]
    pub(crate) fn release(&self) -> Option<Pending> {
        // Relaxed: the exchange below checks what was loaded.
        let mut present = self.word.load(Ordering::Relaxed);
        loop {
            debug_assert!(present & (OCCUPIED | HELD) == OCCUPIED | HELD, "released, but not held");
            // With something pending the source stays held. Released and claimed again, it might be
            // another thread's in between, and the report would have to be left to that one.
            let next = if present & Pending::MASK == 0 {
                present & !HELD
            } else {
                present & !Pending::MASK
            };
            match self.word.compare_exchange_weak(
                present,
                next,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return (present & Pending::MASK != 0).then(|| Pending::in_word(present)),
                Err(changed) => present = changed,
            }
        }
    }

    /// Takes what is pending; the source stays held.
    pub(crate) fn take_pending(&self) -> Pending {
        Pending::in_word(self.word.fetch_and(!Pending::MASK, Ordering::AcqRel))
    }

    /// Vacates the slot, after its holder has taken the source out. Returns `false` if the slot has no
    /// generation left and must not be used again.
    pub(crate) fn vacate(&self) -> bool {
        // Relaxed: other threads change the pending bits only, and the generation alone is used.
        let present = self.word.load(Ordering::Relaxed);
        debug_assert!(present & (OCCUPIED | HELD) == OCCUPIED | HELD, "vacated, but not held");
        let next = generation(present).saturating_add(1);
        // Events and requests that are pending end with the source.
        self.word.swap(word(next), Ordering::AcqRel);
        next != Generation::MAX
    }

    /// Returns whether the source is parked.
    #[inline]
    pub(crate) fn is_parked(&self) -> bool {
        self.word.load(Ordering::Relaxed) & PARKED != 0
    }

    /// Parks or unparks the source. Only for its holder.
    pub(crate) fn set_parked(&self, is_parked: bool) {
        if is_parked {
            self.word.fetch_or(PARKED, Ordering::AcqRel);
        } else {
            self.word.fetch_and(!PARKED, Ordering::AcqRel);
        }
    }

    /// Returns the generation of the source, if there is one.
    pub(crate) fn occupant(&self) -> Option<Generation> {
        let word = self.word.load(Ordering::Acquire);
        (word & OCCUPIED != 0).then(|| generation(word))
    }
}

fn word(generation: Generation) -> u64 {
    u64::from(generation.get()) << 32
}

fn generation(word: u64) -> Generation {
    Generation::new(lower(word >> 32)).unwrap_or(Generation::MIN)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn lower(word: u64) -> u32 {
    word as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const IN: Pending = Pending(1);
    const OUT: Pending = Pending(4);

    #[test]
    fn what_comes_while_it_is_held_comes_back_at_the_release() {
        let ownership = Ownership::vacant();
        let first = ownership.occupy();
        assert_eq!(ownership.claim(first.get(), IN), Claim::Deferred);
        assert_eq!(ownership.claim(first.get(), OUT), Claim::Deferred);
        assert_eq!(ownership.claim(first.get(), Pending::CLOSE), Claim::Deferred);
        let pending = ownership.release().unwrap();
        assert_eq!(pending, IN.and(OUT).and(Pending::CLOSE));
        assert_eq!(pending.readiness(), Readiness::IN | Readiness::OUT);
        assert!(pending.has(Pending::CLOSE) && !pending.has(Pending::NOTIFY));
        assert_eq!(ownership.claim_idle(first.get()), Claim::Deferred, "it is still held");
        assert_eq!(ownership.release(), None);
        assert_eq!(ownership.claim(first.get(), IN), Claim::Held(first));
        assert_eq!(ownership.release(), None, "it went with the claim");
    }

    #[test]
    fn what_was_taken_does_not_come_back() {
        let ownership = Ownership::vacant();
        let first = ownership.occupy();
        assert_eq!(ownership.claim(first.get(), Pending::NOTIFY), Claim::Deferred);
        assert_eq!(ownership.take_pending(), Pending::NOTIFY);
        assert_eq!(ownership.take_pending(), Pending::NONE);
        assert_eq!(ownership.release(), None);
    }

    #[test]
    fn a_claim_of_an_idle_source_leaves_nothing_where_it_is_held() {
        let ownership = Ownership::vacant();
        let first = ownership.occupy();
        assert_eq!(ownership.claim_idle(first.get()), Claim::Deferred);
        assert_eq!(ownership.release(), None);
    }

    #[test]
    fn a_generation_that_is_over_is_gone_for_good() {
        let ownership = Ownership::vacant();
        let first = ownership.occupy();
        assert!(ownership.vacate());
        assert_eq!(ownership.claim(first.get(), IN), Claim::Gone);
        assert_eq!(ownership.claim(first.get() + 1, IN), Claim::Gone, "nobody is there yet");
        assert_eq!(ownership.occupant(), None);
        let second = ownership.occupy();
        assert_ne!(first, second);
        assert_eq!(ownership.claim(first.get(), Pending::CLOSE), Claim::Gone);
        assert_eq!(ownership.release(), None, "the request was for another source");
        assert_eq!(ownership.occupant(), Some(second));
    }

    #[test]
    fn a_slot_without_generations_left_is_not_to_be_used_again() {
        let ownership = Ownership::vacant();
        ownership.word.store(word(Generation::new(u32::MAX - 1).unwrap()), Ordering::Relaxed);
        let last = ownership.occupy();
        assert!(!ownership.vacate());
        assert_eq!(ownership.claim(last.get(), IN), Claim::Gone);
    }
}
