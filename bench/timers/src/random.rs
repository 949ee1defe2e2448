//! Numbers that look random and come again from the same seed (xorshift).

/// A source of numbers.
pub struct Random {
    state: u64,
}

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// Less than `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        // The upper bits are the better ones.
        (self.state >> 20) % end
    }

    /// The numbers below `len` in any order.
    pub fn permutation(&mut self, len: usize) -> Vec<usize> {
        let mut list: Vec<_> = (0..len).collect();
        for end in (2..=len as u64).rev() {
            let at = usize::try_from(self.below(end)).expect("less than a length");
            list.swap(at, usize::try_from(end).expect("at most a length") - 1);
        }
        list
    }
}
