//! The bytes of messages. A connection sends one long stream, cut from a table of random bytes that is
//! repeated; its n-th message is the n-th piece of that stream.
//!
//! Any eight bytes occur in the table once. A byte that is out of place, doubled, missing or of another
//! connection therefore does not match, except by chance in a message of less than eight bytes. Nothing is
//! copied or computed for a message: the bytes to send are a slice of the table, and an answer is compared
//! with a slice.

/// Lengths of the table, two primes. Messages of one connection differ unless their size is a multiple of
/// the length; such a size gets the other length.
const PERIODS: [usize; 2] = [262_139, 262_133];

/// The longest slice that is returned at once, in bytes. It is shorter than the table.
pub const CHUNK_MAX: usize = 128 * 1024;

const _: () = assert!(CHUNK_MAX < PERIODS[0] && CHUNK_MAX < PERIODS[1]);

/// The largest size of a message, in bytes.
pub const SIZE_MAX: u64 = 1 << 30;

const _: () = assert!(SIZE_MAX < (PERIODS[0] * PERIODS[1]) as u64);

/// The distance between the streams of neighbouring connections; any number below a period would do.
const STRIDE: u64 = 162_011;

/// The table of random bytes.
#[derive(Debug)]
pub struct Pattern {
    /// One period, followed by so much of the next one that a slice may begin anywhere in the first.
    table: Box<[u8]>,
    period: usize,
}

/// An offset in a connection's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(usize);

impl Pattern {
    /// Returns the table for messages of `size` bytes, at most [`SIZE_MAX`].
    ///
    /// Two messages of a connection differ if they are less than 262 133 apart, and so do two of the
    /// same number on two connections whose numbers are less than that apart. (A message of less than
    /// eight bytes may equal another by chance.)
    #[must_use]
    pub fn for_size(size: u64) -> Self {
        let divides = |period: &&usize| size % **period as u64 == 0;
        let period = PERIODS.iter().find(|period| !divides(period)).copied();
        let period = period.unwrap_or(PERIODS[0]);
        let mut table = Vec::with_capacity(period + CHUNK_MAX);
        let mut state = 0;
        while table.len() < period {
            let word = random(&mut state).to_le_bytes();
            table.extend_from_slice(&word[..word.len().min(period - table.len())]);
        }
        table.extend_from_within(..CHUNK_MAX);
        Self { table: table.into(), period }
    }

    /// Returns the offset at which the stream of connection `number` begins.
    #[must_use]
    pub fn beginning(&self, number: u64) -> Offset {
        let period = self.period as u64;
        // A remainder is below the period, so it fits.
        Offset(usize::try_from(number % period * STRIDE % period).unwrap_or(0))
    }

    /// Returns at most `len` bytes of the stream from `offset` on, and at most [`CHUNK_MAX`].
    #[inline]
    #[must_use]
    pub fn slice(&self, offset: Offset, len: u64) -> &[u8] {
        let len = usize::try_from(len).unwrap_or(CHUNK_MAX).min(CHUNK_MAX);
        &self.table[offset.0..][..len]
    }

    /// Returns the offset `len` bytes after `offset`.
    #[inline]
    #[must_use]
    pub fn after(&self, offset: Offset, len: usize) -> Offset {
        let sum = offset.0 + len;
        Offset(if sum < self.period { sum } else { sum % self.period })
    }

    /// Returns the offset of the piece with this index, if the stream from `beginning` on is cut into pieces of
    /// `len` bytes.
    #[inline]
    #[must_use]
    pub fn piece(&self, beginning: Offset, index: u64, len: usize) -> Offset {
        let period = self.period as u64;
        let distance = (index % period) * (len as u64 % period) % period;
        // A remainder is below the period, so it fits.
        self.after(beginning, usize::try_from(distance).unwrap_or(0))
    }

    /// Returns the index of the first of `bytes` that differs from the stream at `offset`.
    #[must_use]
    pub fn mismatch(&self, offset: Offset, bytes: &[u8]) -> Option<usize> {
        let mut offset = offset;
        for (chunk, at) in bytes.chunks(CHUNK_MAX).zip((0..).step_by(CHUNK_MAX)) {
            let expected = &self.table[offset.0..][..chunk.len()];
            if chunk != expected {
                let wrong = chunk.iter().zip(expected).position(|(got, wanted)| got != wanted);
                return wrong.map(|index| at + index);
            }
            offset = self.after(offset, chunk.len());
        }
        None
    }
}

/// Returns the next number of the generator SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn any_eight_bytes_stand_in_a_round_once() {
        for size in [64, PERIODS[0] as u64] {
            let pattern = Pattern::for_size(size);
            let round = &pattern.table[..pattern.period + 7];
            let eights: HashSet<_> = round.windows(8).collect();
            assert_eq!(eights.len(), pattern.period);
        }
    }

    #[test]
    fn no_size_is_a_multiple_of_its_period() {
        for period in PERIODS {
            for factor in 1..4 {
                let size = (period * factor) as u64;
                assert_ne!(size % Pattern::for_size(size).period as u64, 0);
            }
        }
    }

    #[test]
    fn a_piece_is_found_by_its_index() {
        let pattern = Pattern::for_size(60_000);
        let beginning = pattern.beginning(7);
        let mut offset = beginning;
        for index in 0..100 {
            assert_eq!(pattern.piece(beginning, index, 60_000), offset);
            offset = pattern.after(offset, 60_000);
        }
        assert!(pattern.piece(beginning, u64::MAX, usize::MAX).0 < pattern.period);
    }

    #[test]
    fn the_table_goes_round() {
        let pattern = Pattern::for_size(1);
        let last = Offset(pattern.period - 1);
        assert_eq!(pattern.slice(last, 3)[1..], *pattern.slice(Offset(0), 2));
        assert_eq!(pattern.after(last, 1), Offset(0));
        assert_eq!(pattern.after(last, 2 * pattern.period), last);
        assert_eq!(pattern.slice(last, u64::MAX).len(), CHUNK_MAX);
    }
}
