//! The place of a timer in the lists, as its node keeps it.

pub(crate) const SLOT_BITS: u32 = 5;
pub(crate) const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;
const CHUNK_BITS: u32 = 25;
pub(crate) const LIST_BITS: u32 = 10;

/// No chunk.
pub(crate) const NONE: u32 = (1 << CHUNK_BITS) - 1;

/// The most timers for which there are enough numbers of chunks.
pub(crate) const TIMERS_MAX: usize = 32_000_000;
const _: () = assert!(TIMERS_MAX + (1 << LIST_BITS) < NONE as usize);

/// The place of a timer: its list, its chunk, and its slot in that.
#[derive(Clone, Copy)]
pub(crate) struct Place(u64);

impl Place {
    /// The place of a node that is in no list.
    pub(crate) const NOWHERE: Self = Self((1 << Self::BITS) - 1);

    /// The number of bits of a place.
    pub(crate) const BITS: u32 = LIST_BITS + CHUNK_BITS + SLOT_BITS;

    #[inline]
    pub(crate) fn new(list: u16, end: u32) -> Self {
        Self(u64::from(list) << (CHUNK_BITS + SLOT_BITS) | u64::from(end))
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// Returns whether the node is in no list. The chunk [`NONE`] is in none.
    #[inline]
    pub(crate) fn is_nowhere(self) -> bool {
        self.0 == Self::NOWHERE.0
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "it has these bits")]
    pub(crate) fn list(self) -> u16 {
        (self.0 >> (CHUNK_BITS + SLOT_BITS)) as u16
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the other bits are not wanted")]
    pub(crate) fn chunk(self) -> u32 {
        (self.0 as u32 >> SLOT_BITS) & NONE
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the other bits are not wanted")]
    pub(crate) fn slot(self) -> u32 {
        self.0 as u32 & SLOT_MASK
    }
}
