//! The ownership of a source: one word, changed by compare-and-swap. It knows no kernel and no source.
//!
//! A slot is vacant, idle or held: by a thread, or by the run queue. A thread that claims an idle source holds
//! it, and no other thread gets it until it is released. A claim of a held source leaves a [`Pending`] in the
//! word, and the release finds it there: then the source stays held, for the thread that serves what is
//! pending. So no report is lost, however a report and a release meet, and no thread ever waits for a holder.
//!
//! The word of an idle source is its generation and nothing else, so its claim and its release are one
//! compare-and-swap each, with a word that both know without looking.

use crate::slots::Generation;
use epoll_sys::{ClaimCell, ClaimGuard, Readiness, Updated};
use std::ops::{Deref, DerefMut};

// The word has the generation in the upper half. In the lower half are these flags and a `Pending`.

/// A thread has the source.
const CLAIMED: u64 = ClaimCell::<()>::CLAIMED;
/// The slot has no source.
const VACANT: u64 = 1 << 31;
/// The source is parked. Only its holder changes this.
const PARKED: u64 = 1 << 24;
/// The run queue has the source.
const QUEUED: u64 = 1 << 22;
/// Nobody else gets the source.
const HELD: u64 = CLAIMED | QUEUED;

/// No two of them share a bit, nor with what is pending or the generation.
const _: () = {
    let flags = [CLAIMED, VACANT, PARKED, QUEUED, Pending::MASK, Pending::REVISIT.0 as u64];
    let (mut at, mut all) = (0, !0 << u32::BITS);
    while at < flags.len() {
        assert!(all & flags[at] == 0);
        all |= flags[at];
        at += 1;
    }
};

/// A slot: the word, and the value that it is about.
pub(crate) struct Ownership<V> {
    cell: ClaimCell<V>,
}

/// The value of a slot, for the thread that has it. It ends by a release, with the slot, or in the run queue.
#[must_use = "it stays held"]
pub(crate) struct Held<'a, V> {
    guard: ClaimGuard<'a, V>,
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

    fn in_word(word: u64) -> Self {
        Self(lower(word & Self::MASK))
    }
}

/// The outcome of a claim.
pub(crate) enum Claim<'a, V> {
    /// The caller holds the source now.
    Held(Held<'a, V>),
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

impl<V> Ownership<V> {
    pub(crate) fn vacant(value: V) -> Self {
        Self { cell: ClaimCell::new(vacant(Generation::MIN), value) }
    }

    /// Makes a vacant slot a held one. Only for the one thread that was given the vacancy.
    pub(crate) fn occupy(&self) -> (Held<'_, V>, Generation) {
        // One step: a vacant slot's events are stale, a held one's are deferred, and none is idle between.
        let occupied =
            self.cell.update(|word| (word & VACANT != 0).then_some(word & !VACANT | CLAIMED));
        match occupied {
            Ok(Updated::Claimed(guard, before)) => (Held { guard }, generation(before)),
            _ => unreachable!("an occupied slot was given away"),
        }
    }

    /// Returns whether the source with these data of an event is idle and not parked.
    #[inline]
    pub(crate) fn is_idle(&self, data: u64) -> bool {
        self.cell.word() == idle(data)
    }

    /// Claims the source with these data of an event if it is idle and not parked.
    #[inline]
    pub(crate) fn claim_event(&self, data: u64) -> Option<Held<'_, V>> {
        let guard = self.cell.claim_at(idle(data))?;
        Some(Held { guard })
    }

    /// Claims the source, or leaves `pending` for its holder.
    pub(crate) fn claim(&self, wanted: u32, pending: Pending) -> Claim<'_, V> {
        let claimed = self.cell.update(|word| {
            let held = if word & HELD == 0 { CLAIMED } else { u64::from(pending.0) };
            is_of(word, wanted).then_some(word | held)
        });
        match claimed {
            Ok(Updated::Claimed(guard, _)) => Claim::Held(Held { guard }),
            Ok(Updated::Changed(_)) => Claim::Deferred,
            Err(_) => Claim::Gone,
        }
    }

    /// Leaves `pending` for the holder, if another thread holds the source. An idle one stays idle.
    pub(crate) fn defer(&self, wanted: u32, pending: Pending) -> Deferral {
        // Refused, not changed, where it is idle: the claim changes the word.
        let deferred = self.cell.update(|word| {
            (is_of(word, wanted) && word & HELD != 0).then_some(word | u64::from(pending.0))
        });
        match deferred {
            Ok(_) => Deferral::Deferred,
            Err(word) if !is_of(word, wanted) => Deferral::Gone,
            Err(word) if word & PARKED == 0 => Deferral::Idle,
            Err(_) => Deferral::Parked,
        }
    }

    /// Claims the source if nobody holds it.
    pub(crate) fn claim_idle(&self, wanted: u32) -> Claim<'_, V> {
        self.claim(wanted, Pending::NONE)
    }

    /// Claims a source that the run queue has, and takes what is pending. `None`: it has none of that
    /// generation.
    pub(crate) fn claim_queued(&self, wanted: u32) -> Option<(Held<'_, V>, Pending)> {
        let claimed = self.cell.update(|word| {
            let is_queued = is_of(word, wanted) && word & HELD == QUEUED;
            is_queued.then_some(word & !QUEUED & !Pending::MASK | CLAIMED)
        });
        match claimed {
            Ok(Updated::Claimed(guard, word)) => Some((Held { guard }, Pending::in_word(word))),
            _ => None,
        }
    }

    /// Returns the generation of the source, if there is one.
    pub(crate) fn occupant(&self) -> Option<Generation> {
        let word = self.cell.word();
        (word & VACANT == 0).then(|| generation(word))
    }

    pub(crate) fn into_value(self) -> V {
        self.cell.into_inner()
    }
}

impl<V> Held<'_, V> {
    /// Releases a source that is not parked. If something is pending, it stays held.
    #[inline]
    pub(crate) fn release_event(self, data: u64) -> Result<(), Self> {
        self.guard.release_at(idle(data)).map_err(|guard| Self { guard })
    }

    /// Releases the source. If something is pending, takes that instead, and the source stays held.
    pub(crate) fn release(self) -> Result<(), (Self, Pending)> {
        // With something pending the source stays held. Released and claimed again, it might be another
        // thread's in between, and the report would have to be left to that one.
        let released = self.guard.release_with(|word| {
            if word & Pending::MASK == 0 { word & !CLAIMED } else { word & !Pending::MASK }
        });
        match released {
            Ok(_) => Ok(()),
            Err((guard, word)) => Err((Self { guard }, Pending::in_word(word))),
        }
    }

    /// Leaves the source to the run queue, which holds it from now on. The caller then appends it there.
    pub(crate) fn enqueue(self) {
        // Nothing stays claimed: the bit is cleared in any case.
        let _ = self.guard.release_with(|word| word & !CLAIMED | QUEUED);
    }

    /// Vacates the slot, after its holder has taken the source out. Returns `false` if the slot has no
    /// generation left and must not be used again.
    pub(crate) fn vacate(self) -> bool {
        let next = |present| generation(present).saturating_add(1);
        // Events and requests that are pending end with the source.
        match self.guard.release_with(|present| vacant(next(present))) {
            Ok(before) => next(before) != Generation::MAX,
            Err(_) => unreachable!("the word of a vacant slot has no claim"),
        }
    }

    /// Leaves `pending` to the own release.
    pub(crate) fn leave(&self, pending: Pending) {
        let _ = self.guard.cell().update(|word| Some(word | u64::from(pending.0)));
    }

    /// Returns whether the source is parked.
    pub(crate) fn is_parked(&self) -> bool {
        self.guard.cell().word() & PARKED != 0
    }

    /// Parks or unparks the source.
    pub(crate) fn set_parked(&mut self, is_parked: bool) {
        let parked = |word| if is_parked { word | PARKED } else { word & !PARKED };
        let _ = self.guard.cell().update(|word| Some(parked(word)));
    }
}

impl<V> Deref for Held<'_, V> {
    type Target = V;

    #[inline]
    fn deref(&self) -> &V {
        &self.guard
    }
}

impl<V> DerefMut for Held<'_, V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut V {
        &mut self.guard
    }
}

/// Returns the word of an idle source that is not parked, from the data of its events, which have the
/// generation in the upper half as well.
#[inline]
fn idle(data: u64) -> u64 {
    data >> 32 << 32
}

/// Returns whether there is a source of that generation.
fn is_of(word: u64, generation: u32) -> bool {
    lower(word >> 32) == generation && word & VACANT == 0
}

/// Returns the word of a slot whose next source has that generation.
fn vacant(generation: Generation) -> u64 {
    u64::from(generation.get()) << 32 | VACANT
}

fn generation(word: u64) -> Generation {
    Generation::new(lower(word >> 32)).unwrap_or(Generation::MIN)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn lower(word: u64) -> u32 {
    word as u32
}

#[cfg(all(test, not(epoll_kit_loom)))]
mod tests {
    use super::*;

    const IN: Pending = Pending(1);
    const OUT: Pending = Pending(4);

    impl<V> Claim<'_, V> {
        fn is_deferred(&self) -> bool {
            matches!(self, Self::Deferred)
        }

        fn is_gone(&self) -> bool {
            matches!(self, Self::Gone)
        }

        fn is_held(&self) -> bool {
            matches!(self, Self::Held(_))
        }
    }

    fn pending<V>(released: Result<(), (Held<'_, V>, Pending)>) -> Option<(Held<'_, V>, Pending)> {
        released.err()
    }

    #[test]
    fn what_comes_while_it_is_held_comes_back_at_the_release() {
        let slot = Ownership::vacant(());
        let (held, first) = slot.occupy();
        assert!(slot.claim(first.get(), IN).is_deferred());
        assert!(slot.claim(first.get(), OUT).is_deferred());
        assert!(slot.claim(first.get(), Pending::CLOSE).is_deferred());
        let (held, found) = pending(held.release()).unwrap();
        assert_eq!(found, IN.and(OUT).and(Pending::CLOSE));
        assert_eq!(found.readiness(), Readiness::IN | Readiness::OUT);
        assert!(found.has(Pending::CLOSE) && !found.has(Pending::NOTIFY));
        assert!(slot.claim_idle(first.get()).is_deferred(), "it is still held");
        assert!(held.release().is_ok());
        let Claim::Held(held) = slot.claim(first.get(), IN) else { panic!("it is idle") };
        assert!(held.release().is_ok(), "it went with the claim");
    }

    #[test]
    fn an_event_claims_what_is_idle_and_the_release_meets_what_was_left() {
        let slot = Ownership::vacant(0);
        let (held, first) = slot.occupy();
        let data = u64::from(first.get()) << 32 | 77;
        assert!(!slot.is_idle(data) && slot.claim_event(data).is_none(), "it is held");
        assert!(held.release().is_ok());
        assert!(slot.is_idle(data));
        let mut held = slot.claim_event(data).unwrap();
        *held = 5;
        assert!(slot.claim_event(data).is_none());
        assert!(held.release_event(data).is_ok());
        let held = slot.claim_event(data).unwrap();
        assert_eq!(*held, 5);
        assert_eq!(slot.defer(first.get(), IN), Deferral::Deferred);
        let held = held.release_event(data).unwrap_err();
        assert_eq!(pending(held.release()).unwrap().1, IN);
    }

    #[test]
    fn an_event_does_not_claim_what_is_parked_or_of_another_generation() {
        let slot = Ownership::vacant(());
        let (mut held, first) = slot.occupy();
        let data = |generation: u32| u64::from(generation) << 32;
        held.set_parked(true);
        assert!(held.is_parked() && held.release().is_ok());
        assert!(!slot.is_idle(data(first.get())) && slot.claim_event(data(first.get())).is_none());
        assert_eq!(slot.defer(first.get(), IN), Deferral::Parked);
        let Claim::Held(mut held) = slot.claim_idle(first.get()) else { panic!("it is idle") };
        held.set_parked(false);
        assert!(held.release().is_ok());
        assert!(slot.claim_event(data(first.get() + 1)).is_none());
        assert!(slot.claim_event(data(first.get())).is_some());
    }

    #[test]
    fn what_the_queue_has_is_claimed_out_of_it_alone() {
        let slot = Ownership::vacant(());
        let (held, first) = slot.occupy();
        assert!(slot.claim_queued(first.get()).is_none(), "a thread has it");
        assert!(slot.claim(first.get(), IN).is_deferred());
        held.enqueue();
        assert!(slot.claim(first.get(), Pending::NOTIFY).is_deferred());
        assert_eq!(slot.defer(first.get(), OUT), Deferral::Deferred);
        assert!(slot.claim_queued(first.get() + 1).is_none());
        let (held, found) = slot.claim_queued(first.get()).unwrap();
        assert_eq!(found, IN.and(OUT).and(Pending::NOTIFY));
        assert!(slot.claim_queued(first.get()).is_none(), "it was taken");
        assert!(held.release().is_ok(), "what was taken does not come back");
        assert!(slot.claim_queued(first.get()).is_none(), "it is idle");
        assert!(slot.claim_idle(first.get()).is_held());
    }

    #[test]
    fn a_claim_of_an_idle_source_leaves_nothing_where_it_is_held() {
        let slot = Ownership::vacant(());
        let (held, first) = slot.occupy();
        assert!(slot.claim_idle(first.get()).is_deferred());
        assert!(held.release().is_ok());
    }

    #[test]
    fn a_generation_that_is_over_is_gone_for_good() {
        let slot = Ownership::vacant(());
        let (held, first) = slot.occupy();
        assert!(held.vacate());
        assert!(slot.claim(first.get(), IN).is_gone());
        assert!(slot.claim(first.get() + 1, IN).is_gone(), "nobody is there yet");
        assert_eq!(slot.occupant(), None);
        let (held, second) = slot.occupy();
        assert_ne!(first, second);
        assert!(slot.claim(first.get(), Pending::CLOSE).is_gone());
        assert!(held.release().is_ok(), "the request was for another source");
        assert_eq!(slot.occupant(), Some(second));
        assert_eq!(slot.defer(first.get(), IN), Deferral::Gone);
        assert_eq!(slot.defer(second.get(), IN), Deferral::Idle);
        let Claim::Held(held) = slot.claim(second.get(), IN) else { panic!("it is idle") };
        assert!(held.vacate());
        assert_eq!(slot.defer(second.get(), IN), Deferral::Gone);
    }

    #[test]
    fn a_slot_without_generations_left_is_not_to_be_used_again() {
        let last = Generation::new(u32::MAX - 1).unwrap();
        let slot = Ownership { cell: ClaimCell::new(vacant(last), ()) };
        let (held, last) = slot.occupy();
        assert!(!held.vacate());
        assert!(slot.claim(last.get(), IN).is_gone());
    }
}
