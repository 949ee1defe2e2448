//! A pass over many connections, in slices: between two of them the thread serves what is ready.

use std::ops::Range;

/// The number of places that a pass visits in one go. A visit takes some 0.1 µs, or the time of a send where
/// a protocol has something to say: a slice takes a turn between 0.1 ms and a few milliseconds longer, and a
/// pass over a million connections takes a thousand turns.
const SLICE_LEN: usize = 1024;

/// A pass over places that have numbers, for example the slots of a table.
#[derive(Debug)]
pub(crate) struct Pass {
    next: usize,
    end: usize,
}

impl Pass {
    /// Begins a pass over the places below `end`.
    pub(crate) fn over(end: usize) -> Self {
        Self { next: 0, end }
    }

    /// Returns the places to visit now; the others come later. They count as visited from here on, so a
    /// visit that panics is not made again.
    pub(crate) fn next_slice(&mut self) -> Range<usize> {
        let slice = self.next..self.end.min(self.next + SLICE_LEN);
        self.next = slice.end;
        if self.end > SLICE_LEN {
            tracing::trace!(places = slice.len(), left = self.end - self.next, "slice of a pass");
        }
        slice
    }

    /// Returns whether every place was visited.
    pub(crate) fn is_over(&self) -> bool {
        self.next == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_in_one_slice_and_none_is_longer_than_the_limit() {
        for end in [0, 1, SLICE_LEN - 1, SLICE_LEN, SLICE_LEN + 1, 5 * SLICE_LEN + 7] {
            let (mut pass, mut places, mut slices) = (Pass::over(end), Vec::new(), 0);
            while !pass.is_over() {
                let slice = pass.next_slice();
                assert!((1..=SLICE_LEN).contains(&slice.len()), "{slice:?}");
                places.extend(slice);
                slices += 1;
            }
            assert!(places.into_iter().eq(0..end));
            assert_eq!(slices, end.div_ceil(SLICE_LEN));
            assert_eq!(pass.next_slice().len(), 0);
        }
    }
}
