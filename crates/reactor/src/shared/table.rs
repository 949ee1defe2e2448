//! The slots of a shared reactor. They never move, so that threads look slots up without a lock while
//! another one adds some: the table grows by chunks, 16 of one length, then 16 that are twice as
//! long. So growing leaves at most a 16th of it vacant.
//!
//! They are not padded to cache lines, which would cost each connection a third more.

use crate::shared::apart::Apart;
use crate::shared::ownership::{Held, Ownership};
use epoll_sys::{Interest, Watch};
use std::iter;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Slots of each of the first chunks.
const FIRST: u32 = 64;
/// The number of chunks that have the same length.
const ALIKE: u32 = 16;
/// The number of chunks that are enough for every index below [`INDEX_END`].
const CHUNKS: usize = 337;
/// The end of the indices. Those from here on name descriptors that live elsewhere.
pub(crate) const INDEX_END: u32 = 1 << 31;

pub(crate) struct Table<T> {
    // Not a vector: growing would move the slots under the threads that use them. A slot is looked up for
    // each event, so a lock around a vector would be contended.
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    vacancies: Apart<Mutex<Vacancies>>,
}

pub(crate) type Slot<T> = Ownership<Content<T>>;
pub(crate) type HeldSlot<'a, T> = Held<'a, Content<T>>;

/// A source and what the kernel knows of it.
pub(crate) struct Content<T> {
    /// `None` in a vacant slot. Not around the rest, which a lease then need not ask for.
    pub(crate) source: Option<T>,
    /// The interest and the trigger, in force or for the next time that it is armed.
    pub(crate) watch: Watch,
    pub(crate) arming: Arming,
    /// The epoch of the reactor in which it was armed last.
    pub(crate) epoch: u8,
}

/// The answer of the kernel when the source becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arming {
    /// Reports it.
    Armed,
    /// Nothing: a report has disarmed it.
    Disarmed,
    /// Nothing: it was inserted, and is added by the end of its first lease. An entry for its descriptor is that of
    /// another source.
    New,
    /// Nothing: there is no entry for it, so it is armed by adding it.
    Detached,
}

impl<T> Content<T> {
    fn vacant() -> Self {
        let watch = Watch::oneshot(Interest::empty());
        Self { source: None, watch, arming: Arming::New, epoch: 0 }
    }
}

struct Vacancies {
    /// Slots that were used before.
    list: Vec<u32>,
    /// The first index that was never used.
    fresh: u32,
    occupied: usize,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        let vacancies = Vacancies { list: Vec::new(), fresh: 0, occupied: 0 };
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            vacancies: Apart(Mutex::new(vacancies)),
        }
    }

    #[inline]
    pub(crate) fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let (chunk, shifted) = place(index)?;
        let slots = self.chunks.get(chunk)?.get()?;
        // The remainder: a length is a power of two.
        slots.get(shifted as usize & slots.len().wrapping_sub(1))
    }

    /// Returns a vacant slot, for the caller alone, and its index; `None` when there are no more.
    pub(crate) fn take_vacancy(&self) -> Option<(u32, &Slot<T>)> {
        let mut vacancies = self.vacancies();
        let index = match vacancies.list.pop() {
            Some(index) => index,
            None => {
                let index = vacancies.fresh;
                let chunk = place(index)?.0;
                // Under the lock, so that no two threads make the same chunk.
                self.chunks.get(chunk)?.get_or_init(|| {
                    let len = len(chunk);
                    iter::repeat_with(|| Slot::vacant(Content::vacant())).take(len).collect()
                });
                vacancies.fresh += 1;
                index
            }
        };
        vacancies.occupied += 1;
        let slot = self.slot(index)?;
        Some((index, slot))
    }

    /// Ends the occupation of a slot whose holder has taken the source out.
    pub(crate) fn vacate(&self, index: u32, held: HeldSlot<'_, T>) {
        // Vacated first: a slot in the list may be occupied again at once.
        let is_usable = held.vacate();
        self.free(index, is_usable);
    }

    fn free(&self, index: u32, is_usable: bool) {
        let mut vacancies = self.vacancies();
        vacancies.occupied -= 1;
        if is_usable {
            vacancies.list.push(index);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.vacancies().occupied
    }

    /// Returns the number of slots that were ever used.
    pub(crate) fn fresh(&self) -> u32 {
        self.vacancies().fresh
    }

    /// Iterates over every slot that was ever used, with its index.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u32, &Slot<T>)> {
        (0..self.fresh()).filter_map(|index| Some((index, self.slot(index)?)))
    }

    pub(crate) fn into_sources(self) -> impl Iterator<Item = T> {
        let slots = self.chunks.into_iter().filter_map(OnceLock::into_inner).flatten();
        slots.filter_map(|slot| slot.into_value().source)
    }

    fn vacancies(&self) -> MutexGuard<'_, Vacancies> {
        // Nothing panics under the lock unless memory runs out.
        self.vacancies.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the chunk of an index, and a number whose remainder by the chunk's length is the place in it.
#[inline]
fn place(index: u32) -> Option<(usize, u32)> {
    if index >= INDEX_END {
        return None;
    }
    // Shifted by the sum of the lengths that are missing below the first, so that the highest bit of an
    // index tells the length of its chunk.
    let shifted = index + FIRST * ALIKE;
    let doubled = shifted.ilog2() - (FIRST * ALIKE).ilog2();
    let bits = FIRST.ilog2() + doubled;
    let chunk = doubled * ALIKE + (shifted >> bits) - ALIKE;
    Some((chunk as usize, shifted))
}

/// Returns the number of slots of a chunk.
fn len(chunk: usize) -> usize {
    (FIRST as usize) << (chunk / ALIKE as usize)
}

#[cfg(all(test, not(epoll_kit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut expected = (0..CHUNKS).flat_map(|chunk| (0..len(chunk)).map(move |at| (chunk, at)));
        let place_in = |index| {
            let (chunk, at) = place(index)?;
            Some((chunk, at as usize % len(chunk)))
        };
        assert!((0..100_000).all(|index| place_in(index) == expected.next()));
        assert!((0..CHUNKS).all(|chunk| len(chunk).is_power_of_two()));
        assert_eq!(place(INDEX_END - 1).unwrap().0, CHUNKS - 1);
        assert_eq!(place(INDEX_END), None);
    }

    #[test]
    fn a_slot_that_was_given_back_is_taken_again_unless_it_is_worn_out() {
        let table: Table<()> = Table::new();
        let (first, _) = table.take_vacancy().unwrap();
        let (second, _) = table.take_vacancy().unwrap();
        table.free(first, true);
        table.free(second, false);
        assert_eq!(table.len(), 0);
        assert_eq!(table.take_vacancy().unwrap().0, first);
        let (third, _) = table.take_vacancy().unwrap();
        assert!(third != first && third != second);
        assert_eq!(table.used().count(), 3);
    }
}
