//! Levels of 64 lists each. A list of level 0 holds the timers of one tick, a list of level 1 those of
//! 64 ticks, and so on; eleven levels cover every tick there is.
//!
//! A timer's level is that of the highest bits in which its tick differs from the present one. So,
//! on every level, the lists in use lie ahead of the present, the lowest bit of a level's bitmap is
//! its earliest list, and every list of a level is earlier than those of the levels above.

use crate::lists::{ChunkTimers, Lists};
use crate::nodes::Nodes;
use crate::place::Place;

/// Lists of a level, and bits of its bitmap.
const LISTS: usize = 64;
const LIST_BITS: u32 = 6;
const LEVELS: usize = u64::BITS.div_ceil(LIST_BITS) as usize;

/// The list of the timers that were inserted after their deadline, outside the levels.
pub(crate) const DEFERRED: u16 = number(LEVELS * LISTS);
/// The list of all timers, while they are linked anew.
pub(crate) const GATHERED: u16 = DEFERRED + 1;
const COUNT: usize = GATHERED as usize + 1;

/// The lists of a wheel, with bitmaps of those that are in use.
pub(crate) struct Levels {
    /// A bit for each level that has a list in use.
    in_use: u16,
    /// The bitmap of each level, with a bit for each list that is in use.
    bitmaps: [u64; LEVELS],
    lists: Lists<COUNT>,
}

impl Levels {
    pub(crate) fn new() -> Self {
        Self { in_use: 0, bitmaps: [0; LEVELS], lists: Lists::new() }
    }

    /// Makes room for so many timers.
    pub(crate) fn reserve(&mut self, timers: usize) {
        self.lists.reserve(timers);
    }

    /// Gives back the memory that is not needed for so many timers.
    pub(crate) fn shrink_to<V>(&mut self, nodes: &mut Nodes<V>, timers: usize) {
        self.lists.shrink_to(nodes, timers);
    }

    /// Appends a timer to the list of those that are due at `tick`, seen from `present`, and returns its
    /// place.
    #[inline]
    pub(crate) fn link(&mut self, index: u32, tick: u64, present: u64) -> Place {
        let differs = present ^ tick;
        let level = if differs < LISTS as u64 { 0 } else { differs.ilog2() / LIST_BITS };
        #[expect(clippy::cast_possible_truncation, reason = "the bits of one level are wanted")]
        let slot = (tick >> (level * LIST_BITS)) as usize % LISTS;
        let level = level as usize;
        let bitmap = &mut self.bitmaps[level];
        if *bitmap == 0 {
            self.in_use |= 1 << level;
        }
        *bitmap |= 1 << slot;
        self.push(index, number(level * LISTS + slot))
    }

    /// Appends a timer to a list that is in use or outside the levels, and returns its place.
    #[inline]
    pub(crate) fn push(&mut self, index: u32, list: u16) -> Place {
        match self.lists.push(list, index) {
            Some(place) => place,
            None => self.lists.push_apart(list, index),
        }
    }

    /// Takes the first timer out of a list in use, and returns whether the list is empty now.
    #[inline]
    pub(crate) fn pop<V>(&mut self, nodes: &Nodes<V>, list: u16) -> (u32, bool) {
        let (index, is_empty) = self.lists.pop(nodes, list);
        if is_empty {
            self.clear_in_use(list);
        }
        (index, is_empty)
    }

    /// Reads the first timers of a list in use ahead.
    #[inline]
    pub(crate) fn read_ahead<V>(&self, nodes: &Nodes<V>, list: u16) {
        self.lists.read_ahead(nodes, list);
    }

    /// Returns the first timers of a list in use.
    #[inline]
    pub(crate) fn first(&self, list: u16) -> ChunkTimers {
        self.lists.first(list)
    }

    /// Leaves these of the [first](Self::first) timers of a list in use there, takes the others out, and returns
    /// whether the list is empty now.
    #[inline]
    pub(crate) fn leave<V>(&mut self, nodes: &Nodes<V>, list: u16, left: ChunkTimers) -> bool {
        let is_empty = self.lists.leave(nodes, list, left);
        if is_empty {
            self.clear_in_use(list);
        }
        is_empty
    }

    /// Returns whether the first timers of a list are all that are in it and on the levels below.
    #[inline]
    pub(crate) fn is_only(&self, list: u16) -> bool {
        self.in_use & ((1 << (list >> LIST_BITS)) - 1) == 0 && self.lists.is_short(list)
    }

    /// Takes a timer out of its list, and returns whether the list is empty now.
    #[inline]
    pub(crate) fn unlink(&mut self, place: Place) -> bool {
        let is_empty = self.lists.remove(place);
        if is_empty {
            self.clear_in_use(place.list());
        }
        is_empty
    }

    #[inline]
    fn clear_in_use(&mut self, list: u16) {
        let level = usize::from(list) / LISTS;
        if let Some(bitmap) = self.bitmaps.get_mut(level) {
            *bitmap &= !(1 << (usize::from(list) % LISTS));
            if *bitmap == 0 {
                self.in_use &= !(1 << level);
            }
        }
    }

    /// Makes all deferred timers late.
    pub(crate) fn mark_deferred_late(&mut self) {
        self.lists.mark(DEFERRED);
    }

    /// Returns whether the first of the deferred timers are late.
    #[inline]
    pub(crate) fn has_late(&self) -> bool {
        self.lists.is_marked()
    }

    /// Returns whether there are deferred timers.
    #[inline]
    pub(crate) fn has_deferred(&self) -> bool {
        !self.lists.is_empty(DEFERRED)
    }

    /// Takes all timers out of their lists, seen from `present`, for [`next_gathered`](Self::next_gathered):
    /// in the order of the lists, and then the deferred ones.
    pub(crate) fn gather(&mut self, present: u64) {
        while let Some((list, _)) = self.next(present) {
            self.lists.gather(GATHERED, list);
            self.clear_in_use(list);
        }
        if self.has_deferred() {
            self.lists.gather(GATHERED, DEFERRED);
        }
    }

    /// Returns some of the gathered timers, if there are any left. They are to be [left](Self::leave).
    pub(crate) fn gathered(&self) -> Option<ChunkTimers> {
        (!self.lists.is_empty(GATHERED)).then(|| self.lists.first(GATHERED))
    }

    /// Returns the first of some timers, and leaves the others.
    #[inline]
    pub(crate) fn take_one(&self, timers: &mut ChunkTimers) -> Option<u32> {
        self.lists.take_one(timers)
    }

    /// Returns the earliest list in use, and the tick at which it begins.
    #[inline]
    pub(crate) fn next(&self, present: u64) -> Option<(u16, u64)> {
        if self.in_use == 0 {
            return None;
        }
        // By the invariant above, the lowest level in use has the earliest list, at its lowest bit.
        let level = self.in_use.trailing_zeros();
        let slot = self.bitmaps[level as usize].trailing_zeros();
        let shift = level * LIST_BITS;
        // The bits above this level are those of the present. The top level has none above, where a plain
        // shift would overflow.
        let above = present.checked_shr(shift + LIST_BITS).unwrap_or(0);
        let begins = above.checked_shl(shift + LIST_BITS).unwrap_or(0) | u64::from(slot) << shift;
        Some((number(level as usize * LISTS + slot as usize), begins))
    }
}

/// Returns whether the list is of a level above the lowest.
#[inline]
pub(crate) fn is_above_lowest(list: u16) -> bool {
    (number(LISTS)..DEFERRED).contains(&list)
}

/// Returns whether `tick` is among the ticks of the list that begins at the present.
#[inline]
pub(crate) fn is_within(tick: u64, list: u16, present: u64) -> bool {
    let shift = shift(list);
    tick >> shift == present >> shift
}

/// Returns whether `tick` is before every tick of a list.
#[inline]
pub(crate) fn is_before(tick: u64, list: u16, present: u64) -> bool {
    let shift = shift(list);
    let slots = LISTS as u64 - 1;
    // The bits above this level are those of the present.
    tick >> shift < ((present >> shift) & !slots | u64::from(list) & slots)
}

/// Returns the number of bits of a tick that lie below the list's level.
#[inline]
fn shift(list: u16) -> u32 {
    (u32::from(list) >> LIST_BITS) * LIST_BITS
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "there are some 700 lists")]
const fn number(list: usize) -> u16 {
    list as u16
}
