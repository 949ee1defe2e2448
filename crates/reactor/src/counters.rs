//! The counters of a reactor. Counting is part of the loop, so that tests and metrics see the same numbers.

use std::ops::Add;

/// The counts of a reactor since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of `epoll_wait`, those that a signal interrupted included.
    pub waits: u64,
    /// Calls among them that did not sleep because of [busy polling](crate::Reactor::set_busy_polling).
    pub spins: u64,
    /// Events that the kernel reported.
    pub events: u64,
    /// Events among them that were dropped, because their registration had ended.
    pub stale: u64,
    /// Calls of `epoll_ctl(EPOLL_CTL_ADD)` that succeeded.
    pub adds: u64,
    /// Calls of `epoll_ctl(EPOLL_CTL_MOD)` that succeeded.
    pub mods: u64,
    /// Calls of `epoll_ctl(EPOLL_CTL_DEL)`.
    pub dels: u64,
    /// Reports of sources that were revisited.
    pub revisits: u64,
    /// Reports of a [`Waker`](crate::Waker).
    pub wakes: u64,
    /// Replacements of the epoll instance; see [`Reactor::rebuild`](crate::Reactor::rebuild).
    pub rebuilds: u64,
    /// The most events that one wait reported.
    pub batch_max: u64,
}

/// The counts of two reactors together; of the batches the larger one.
impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            waits: self.waits + other.waits,
            spins: self.spins + other.spins,
            events: self.events + other.events,
            stale: self.stale + other.stale,
            adds: self.adds + other.adds,
            mods: self.mods + other.mods,
            dels: self.dels + other.dels,
            revisits: self.revisits + other.revisits,
            wakes: self.wakes + other.wakes,
            rebuilds: self.rebuilds + other.rebuilds,
            batch_max: self.batch_max.max(other.batch_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_each_count_and_the_larger_batch() {
        let count = |first: u64| Counters {
            waits: first,
            events: 10 * first,
            stale: 100 * first,
            adds: 1_000 * first,
            mods: 10_000 * first,
            dels: 100_000 * first,
            revisits: 1_000_000 * first,
            wakes: 10_000_000 * first,
            rebuilds: 100_000_000 * first,
            batch_max: first,
            spins: 1_000_000_000 * first,
        };
        for (one, other) in [(1, 3), (3, 1)] {
            assert_eq!(count(one) + count(other), Counters { batch_max: 3, ..count(4) });
        }
    }
}
