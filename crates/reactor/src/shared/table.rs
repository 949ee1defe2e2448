//! The slots of a shared reactor. They never move, so a thread reads one while another adds some: the
//! table grows by chunks, eight of a length, then eight that are twice as long. So no more than an eighth
//! of it is vacant because it has just grown.
//!
//! Invariant: a slot's content is locked by its holder alone. Nobody waits for that lock.

use crate::shared::ownership::Ownership;
use epoll_sys::Watch;
use std::iter;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Slots of each of the first chunks.
const FIRST: u32 = 64;
/// The number of chunks that have the same length.
const ALIKE: u32 = 8;
/// Enough for every index below 2^31.
const CHUNKS: usize = 184;
/// The first index that is never used: the upper half is for what lives elsewhere.
pub(crate) const INDEX_END: u32 = 1 << 31;

pub(crate) struct Table<T> {
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
    /// The way it is watched, or is to be watched when it is armed again.
    pub(crate) watch: Watch,
    pub(crate) arming: Arming,
}

/// The kernel's part when the source becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arming {
    /// Report it.
    Armed,
    /// Nothing: its report has disarmed it.
    Disarmed,
    /// Nothing: there is no entry for it. To arm it is to add it.
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

    /// The content, for the holder.
    #[inline]
    pub(crate) fn content(&self) -> Guard<'_, T> {
        // A handler that panicked has left its source in whatever state; its close was asked for.
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

    /// A vacant slot for the caller alone, and its index; `None` when there are no more.
    pub(crate) fn take_vacancy(&self) -> Option<(u32, &Slot<T>)> {
        let mut vacancies = self.vacancies();
        let index = match vacancies.list.pop() {
            Some(index) => index,
            None => {
                let index = vacancies.fresh;
                let (chunk, _) = place(index)?;
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
        let is_usable = slot.ownership.vacate();
        self.give_back(index, is_usable);
    }

    fn give_back(&self, index: u32, is_usable: bool) {
        let mut vacancies = self.vacancies();
        vacancies.occupied -= 1;
        if is_usable {
            vacancies.list.push(index);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.vacancies().occupied
    }

    /// Every slot that was ever used, with its index.
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
        // Nothing in here panics but for want of memory.
        self.vacancies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chunk of an index, and the place in it.
#[inline]
fn place(index: u32) -> Option<(usize, usize)> {
    if index >= INDEX_END {
        return None;
    }
    // As if as many chunks came before as the first of each length would need for all that is shorter.
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
        table.give_back(first, true);
        table.give_back(second, false);
        assert_eq!(table.len(), 0);
        assert_eq!(table.take_vacancy().unwrap().0, first);
        let (third, _) = table.take_vacancy().unwrap();
        assert!(third != first && third != second);
        assert_eq!(table.used().count(), 3);
    }
}
