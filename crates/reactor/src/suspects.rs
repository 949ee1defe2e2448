//! The counts of stale events, by registration.
//!
//! Kernel fact: an entry whose descriptor was closed while a clone is open cannot be deleted, and is
//! reported for ever.

use std::collections::HashMap;

/// The number of stale events of one registration after which the instance is replaced.
const STALE_EVENTS_MAX: u32 = 100;
/// The most registrations whose stale events are counted. With one more, all counts begin again.
const SUSPECTS_MAX: usize = 1024;

/// The stale events of registrations that have ended. One is usual: it was fetched before the end. A
/// hundred mean that the kernel still has the entry.
#[derive(Default)]
pub(crate) struct Suspects(HashMap<u64, u32>);

impl Suspects {
    /// Counts a stale event. Returns whether its registration has had too many.
    pub(crate) fn count(&mut self, data: u64) -> bool {
        // Each usual stale event leaves an entry here, so the map would grow with the connections.
        if self.0.len() >= SUSPECTS_MAX {
            self.0.clear();
        }
        let count = self.0.entry(data).or_default();
        *count += 1;
        *count >= STALE_EVENTS_MAX
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_suspect_after_a_hundred_events_of_its_own() {
        let mut suspects = Suspects::default();
        for _ in 1..STALE_EVENTS_MAX {
            assert!(!suspects.count(1) && !suspects.count(2));
        }
        assert!(suspects.count(1) && suspects.count(2));
        suspects.clear();
        assert!(!suspects.count(1));
    }

    #[test]
    fn the_number_of_suspects_is_bounded() {
        let mut suspects = Suspects::default();
        for data in 0..100_000 {
            assert!(!suspects.count(data));
            assert!(suspects.0.len() <= SUSPECTS_MAX);
        }
    }
}
