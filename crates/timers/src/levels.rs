//! Levels of 64 lists each. A list of level 0 holds the timers of one tick, a list of level 1 those of
//! 64 ticks, and so on; eleven levels cover every tick there is.
//!
//! A timer's level is that of the highest bits in which its tick differs from the present one. So,
//! on every level, the lists in use lie ahead of the present, the lowest bit of a level's bitmap is
//! its earliest list, and every list of a level is earlier than those of the levels above.

use crate::nodes::{NONE, Nodes};

/// Lists of a level, and bits of its bitmap.
const LISTS: usize = 64;
const LIST_BITS: u32 = 6;
const LEVELS: usize = u64::BITS.div_ceil(LIST_BITS) as usize;

// The number `u16::MAX` is left for a list outside the levels.
const _: () = assert!(LEVELS * LISTS < u16::MAX as usize);

/// The lists of a wheel, with bitmaps of those that are in use.
pub(crate) struct Levels {
    /// A bit for each level that has a list in use.
    in_use: u16,
    /// For each level a bit for each list that is in use.
    bitmaps: [u64; LEVELS],
    /// The first node of each list.
    lists: Box<[u32; LEVELS * LISTS]>,
}

impl Levels {
    pub(crate) fn new() -> Self {
        Self { in_use: 0, bitmaps: [0; LEVELS], lists: Box::new([NONE; LEVELS * LISTS]) }
    }

    /// Returns the first node of a list, or [`NONE`].
    #[inline]
    pub(crate) fn first(&self, list: u16) -> u32 {
        self.lists[usize::from(list)]
    }

    /// Appends a node to the list of the timers that are due at `tick`, seen from `present`.
    #[inline]
    pub(crate) fn link<V>(&mut self, nodes: &mut Nodes<V>, index: u32, tick: u64, present: u64) {
        // With the lowest bit set, equal ticks have level 0 and the logarithm is defined.
        let level = ((present ^ tick) | 1).ilog2() / LIST_BITS;
        #[expect(clippy::cast_possible_truncation, reason = "the bits of one level are wanted")]
        let slot = (tick >> (level * LIST_BITS)) as usize % LISTS;
        let level = level as usize;
        self.append(nodes, index, number(level * LISTS + slot));
        self.bitmaps[level] |= 1 << slot;
        self.in_use |= 1 << level;
    }

    /// Appends a node to a list that is in use.
    #[inline]
    pub(crate) fn append<V>(&mut self, nodes: &mut Nodes<V>, index: u32, list: u16) {
        let at = usize::from(list);
        self.lists[at] = nodes.append(self.lists[at], index, list);
    }

    /// Takes a node out of its list, and returns whether the list is empty now.
    #[inline]
    pub(crate) fn unlink<V>(&mut self, nodes: &mut Nodes<V>, index: u32, list: u16) -> bool {
        let at = usize::from(list);
        let first = nodes.unlink(self.lists[at], index);
        self.lists[at] = first;
        if first == NONE {
            let level = at / LISTS;
            self.bitmaps[level] &= !(1 << (at % LISTS));
            if self.bitmaps[level] == 0 {
                self.in_use &= !(1 << level);
            }
        }
        first == NONE
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

/// Returns how many bits of a tick lie below the list's level.
#[inline]
fn shift(list: u16) -> u32 {
    (u32::from(list) >> LIST_BITS) * LIST_BITS
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "there are 704 lists")]
fn number(list: usize) -> u16 {
    list as u16
}
