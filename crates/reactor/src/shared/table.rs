//! The slots of a shared reactor. They never move, so that threads look slots up without a lock while
//! another one adds some: the table grows by chunks, eight of one length, then eight that are twice as
//! long. So growing leaves at most an eighth of it vacant.
//!
//! Invariant: only its holder locks a slot's content, so no thread ever waits for that lock.

use crate::shared::ownership::Ownership;
use epoll_sys::Watch;
use std::iter;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Slots of each of the first chunks.
const FIRST: u32 = 64;
/// The number of chunks that have the same length.
const ALIKE: u32 = 8;
/// The number of chunks: enough for every index below 2^31.
const CHUNKS: usize = 184;
/// The end of the indices. Those from here on name descriptors that live elsewhere.
pub(crate) const INDEX_END: u32 = 1 << 31;

pub(crate) struct Table<T> {
    // Not a vector: growing would move the slots under the threads that use them. A slot is looked up for
    // each event, so a lock around a vector would be contended.
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    vacancies: Mutex<Vacancies>,
}

pub(crate) struct Slot<T> {
    pub(crate) ownership: Ownership,
    content: Mutex<Option<Content<T>>>,
}

/// A source and what the kernel knows of it.
pub(crate) struct Content<T> {
    pub(crate) source: T,
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
    /// Nothing: there is no entry for it, so it is armed by adding it.
    Detached,
}

pub(crate) type Guard<'a, T> = MutexGuard<'a, Option<Content<T>>>;

struct Vacancies {
    /// Slots that were used before.
    list: Vec<u32>,
    /// The first index that was never used.
    fresh: u32,
    occupied: usize,
}

impl<T> Slot<T> {
    fn vacant() -> Self {
        Self { ownership: Ownership::vacant(), content: Mutex::new(None) }
    }

    /// Locks the content, for the holder.
    #[inline]
    pub(crate) fn content(&self) -> Guard<'_, T> {
        // Poisoned by a handler that panicked. Its lease has requested the close of the source.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        let vacancies = Vacancies { list: Vec::new(), fresh: 0, occupied: 0 };
        Self { chunks: [const { OnceLock::new() }; CHUNKS], vacancies: Mutex::new(vacancies) }
    }

    #[inline]
    pub(crate) fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let (chunk, at) = place(index)?;
        self.chunks.get(chunk)?.get()?.get(at)
    }

    /// Returns a vacant slot, for the caller alone, and its index; `None` when there are no more.
    pub(crate) fn take_vacancy(&self) -> Option<(u32, &Slot<T>)> {
        let mut vacancies = self.vacancies();
        let index = match vacancies.list.pop() {
            Some(index) => index,
            None => {
                let index = vacancies.fresh;
                let (chunk, _) = place(index)?;
                // Under the lock, so that no two threads make the same chunk.
                self.chunks.get(chunk)?.get_or_init(|| {
                    let len = len(chunk);
                    iter::repeat_with(Slot::vacant).take(len).collect()
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
    pub(crate) fn vacate(&self, index: u32, slot: &Slot<T>) {
        // Vacated first: a slot in the list may be occupied again at once.
        let is_usable = slot.ownership.vacate();
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

    /// Iterates over every slot that was ever used, with its index.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u32, &Slot<T>)> {
        let fresh = self.vacancies().fresh;
        (0..fresh).filter_map(|index| Some((index, self.slot(index)?)))
    }

    pub(crate) fn into_sources(self) -> impl Iterator<Item = T> {
        let slots = self.chunks.into_iter().filter_map(OnceLock::into_inner).flatten();
        let contents =
            slots.map(|slot| slot.content.into_inner().unwrap_or_else(PoisonError::into_inner));
        contents.flatten().map(|content| content.source)
    }

    fn vacancies(&self) -> MutexGuard<'_, Vacancies> {
        // Nothing panics under the lock unless memory runs out.
        self.vacancies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the chunk of an index, and the place in it.
#[inline]
fn place(index: u32) -> Option<(usize, usize)> {
    if index >= INDEX_END {
        return None;
    }
    // Shifted by the sum of the lengths that are missing below the first, so that the highest bit of an
    // index tells the length of its chunk.
    let shifted = index + FIRST * ALIKE;
    let doubled = shifted.ilog2() - (FIRST * ALIKE).ilog2();
    let bits = FIRST.ilog2() + doubled;
    let chunk = doubled * ALIKE + (shifted >> bits) - ALIKE;
    Some((chunk as usize, (shifted & ((1 << bits) - 1)) as usize))
}

/// Returns the number of slots of a chunk.
fn len(chunk: usize) -> usize {
    (FIRST as usize) << (chunk / ALIKE as usize)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut expected = (0..CHUNKS).flat_map(|chunk| (0..len(chunk)).map(move |at| (chunk, at)));
        assert!((0..100_000).all(|index| place(index) == expected.next()));
        let (chunk, at) = place(INDEX_END - 1).unwrap();
        assert!(chunk < CHUNKS && at < len(chunk));
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
