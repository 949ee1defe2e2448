//! Numbers that look random and come again from the same seed (splitmix64).

pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Less than 2^`bits_max`, and small ones as often as large ones.
    pub(crate) fn of_any_size(&mut self, bits_max: u64) -> u64 {
        let bits = self.below(bits_max + 1);
        self.below(1 << bits)
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (2..=list.len()).rev() {
            let at = usize::try_from(self.below(end as u64)).unwrap();
            list.swap(at, end - 1);
        }
    }
}
