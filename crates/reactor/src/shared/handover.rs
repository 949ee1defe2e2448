//! Who holds a source: one word, changed by compare-and-swap. Pure: it knows no kernel and no source.
//!
//! A source is vacant, idle or held. Whoever claims an idle one holds it, and nobody else gets it until
//! it is released. What is claimed of a held one is noted in the word, and the release finds it there:
//! then the source stays held, for whoever serves what was noted. So nothing that was reported is lost,
//! no matter how a report and a release meet; and nobody ever waits for a holder.

use crate::shared::sync::{AtomicU64, Ordering};
use crate::slots::Generation;
use epoll_sys::Readiness;

/// The word: the generation in the upper half, in the lower what follows and a [`Note`].
const OCCUPIED: u64 = 1 << 31;
const HELD: u64 = 1 << 30;

pub(crate) struct Handover {
    word: AtomicU64,
}

/// What is to be told to whoever holds a source: what it is ready for, and what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note(u32);

impl Note {
    pub(crate) const NOTHING: Self = Self(0);
    /// Somebody asks for the close.
    pub(crate) const CLOSE: Self = Self(1 << 29);
    /// Somebody asks for attention.
    pub(crate) const CALL: Self = Self(1 << 28);
    /// The kernel has refused to watch it any longer.
    pub(crate) const UNWATCHED: Self = Self(1 << 27);
    /// The bits that epoll reports.
    const READINESS: u32 = 0xffff;
    /// The bits of the word that are a note.
    const MASK: u64 = (Self::READINESS | Self::CLOSE.0 | Self::CALL.0 | Self::UNWATCHED.0) as u64;

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

    #[inline]
    fn in_word(word: u64) -> Self {
        Self(lower(word & Self::MASK))
    }
}

/// What has become of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The caller holds the source now.
    Held(Generation),
    /// Somebody else holds it, and will find the note.
    Noted,
    /// There is no source of that generation any more.
    Gone,
}

impl Handover {
    pub(crate) fn vacant() -> Self {
        Self { word: AtomicU64::new(word(Generation::MIN)) }
    }

    /// Makes a vacant slot a held one. Only for the one thread that was given the vacancy.
    pub(crate) fn occupy(&self) -> Generation {
        let word = self.word.fetch_or(OCCUPIED | HELD, Ordering::AcqRel);
        debug_assert!(word & OCCUPIED == 0, "an occupied slot was given away");
        generation(word)
    }

    /// Claims the source, or leaves a note for its holder.
    #[inline]
    pub(crate) fn claim(&self, wanted: u32, note: Note) -> Claim {
        self.change(
            wanted,
            |word| if word & HELD == 0 { word | HELD } else { word | u64::from(note.0) },
        )
    }

    /// Claims the source if nobody holds it.
    pub(crate) fn claim_idle(&self, wanted: u32) -> Claim {
        self.change(wanted, |word| word | HELD)
    }

    #[inline]
    fn change(&self, wanted: u32, next: impl Fn(u64) -> u64) -> Claim {
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
                Ok(_) => return Claim::Noted,
                Err(changed) => present = changed,
            }
        }
    }

    /// The holder lets go. If something was noted meanwhile, that comes back and the source stays held.
    #[inline]
    pub(crate) fn release(&self) -> Option<Note> {
        let mut present = self.word.load(Ordering::Relaxed);
        loop {
            debug_assert!(present & (OCCUPIED | HELD) == OCCUPIED | HELD, "released, but not held");
            let next =
                if present & Note::MASK == 0 { present & !HELD } else { present & !Note::MASK };
            match self.word.compare_exchange_weak(
                present,
                next,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return (present & Note::MASK != 0).then(|| Note::in_word(present)),
                Err(changed) => present = changed,
            }
        }
    }

    /// What was noted so far; the source stays held.
    pub(crate) fn take_note(&self) -> Note {
        Note::in_word(self.word.fetch_and(!Note::MASK, Ordering::AcqRel))
    }

    /// The holder has taken the source out. `false`: the slot has no generation left and must not be
    /// used again.
    pub(crate) fn vacate(&self) -> bool {
        let present = self.word.load(Ordering::Relaxed);
        debug_assert!(present & (OCCUPIED | HELD) == OCCUPIED | HELD, "vacated, but not held");
        let next = generation(present).saturating_add(1);
        // What was noted meanwhile goes with the source.
        self.word.swap(word(next), Ordering::AcqRel);
        next != Generation::MAX
    }

    /// The generation of the source, if there is one.
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

    const IN: Note = Note(1);
    const OUT: Note = Note(4);

    #[test]
    fn what_is_noted_while_it_is_held_comes_back_at_the_release() {
        let handover = Handover::vacant();
        let first = handover.occupy();
        assert_eq!(handover.claim(first.get(), IN), Claim::Noted);
        assert_eq!(handover.claim(first.get(), OUT), Claim::Noted);
        assert_eq!(handover.claim(first.get(), Note::CLOSE), Claim::Noted);
        let note = handover.release().unwrap();
        assert_eq!(note, IN.and(OUT).and(Note::CLOSE));
        assert_eq!(note.readiness(), Readiness::IN | Readiness::OUT);
        assert!(note.has(Note::CLOSE) && !note.has(Note::CALL));
        assert_eq!(handover.claim_idle(first.get()), Claim::Noted, "it is still held");
        assert_eq!(handover.release(), None);
        assert_eq!(handover.claim(first.get(), IN), Claim::Held(first));
        assert_eq!(handover.release(), None, "the note went with the claim");
    }

    #[test]
    fn a_note_that_was_taken_does_not_come_back() {
        let handover = Handover::vacant();
        let first = handover.occupy();
        assert_eq!(handover.claim(first.get(), Note::CALL), Claim::Noted);
        assert_eq!(handover.take_note(), Note::CALL);
        assert_eq!(handover.take_note(), Note::NOTHING);
        assert_eq!(handover.release(), None);
    }

    #[test]
    fn who_finds_it_held_without_a_note_leaves_none() {
        let handover = Handover::vacant();
        let first = handover.occupy();
        assert_eq!(handover.claim_idle(first.get()), Claim::Noted);
        assert_eq!(handover.release(), None);
    }

    #[test]
    fn a_generation_that_is_over_is_gone_for_good() {
        let handover = Handover::vacant();
        let first = handover.occupy();
        assert!(handover.vacate());
        assert_eq!(handover.claim(first.get(), IN), Claim::Gone);
        assert_eq!(handover.occupant(), None);
        let second = handover.occupy();
        assert_ne!(first, second);
        assert_eq!(handover.claim(first.get(), Note::CLOSE), Claim::Gone);
        assert_eq!(handover.release(), None, "the note was for another one");
        assert_eq!(handover.occupant(), Some(second));
    }

    #[test]
    fn a_slot_without_generations_left_is_not_to_be_used_again() {
        let handover = Handover::vacant();
        handover.word.store(word(Generation::new(u32::MAX - 1).unwrap()), Ordering::Relaxed);
        let last = handover.occupy();
        assert!(!handover.vacate());
        assert_eq!(handover.claim(last.get(), IN), Claim::Gone);
    }
}
