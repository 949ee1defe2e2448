//! The counts of stale events, by registration.
//!
//! Kernel fact: an entry whose descriptor was closed while a clone is open cannot be deleted, and is
//! reported for ever.

use std::collections::HashMap;

/// The number of stale events of one registration after which the instance is replaced.
const STALE_EVENTS_MAX: u32 = 100;
/// The most registrations whose stale events are counted. With one more, all counts begin again.
const SUSPECTS_MAX: usize = 1024;

/// The number of stale events of all after which the instance is replaced, if there are too many
/// registrations to count them.
const EVENTS_MAX: u32 = STALE_EVENTS_MAX * 1024;

/// The stale events of registrations that have ended. One is usual: it was fetched before the end. A
/// hundred mean that the kernel still has the entry.
#[derive(Default)]
pub(crate) struct Suspects {
    counts: HashMap<u64, u32>,
    /// The stale events since the counts began.
    events: u32,
}

impl Suspects {
    /// Counts a stale event. Returns whether its registration has had too many, or so many have had some
    /// that they cannot be told apart.
    pub(crate) fn count(&mut self, data: u64) -> bool {
        self.events = self.events.saturating_add(1);
        let is_full = self.counts.len() >= SUSPECTS_MAX;
        if is_full && !self.counts.contains_key(&data) {
            // Usual stale events leave an entry here each, so the map would grow with the connections. They
            // bring one event each: with many more there are entries that the kernel still has.
            if self.events >= EVENTS_MAX {
                return true;
            }
            self.counts.retain(|_, count| *count > 1);
            if self.counts.len() >= SUSPECTS_MAX {
                return false;
            }
        }
        let count = self.counts.entry(data).or_default();
        *count = count.saturating_add(1);
        *count >= STALE_EVENTS_MAX
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
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
    fn registrations_with_one_event_each_are_bounded_and_never_suspect() {
        let mut suspects = Suspects::default();
        for data in 0..u64::from(EVENTS_MAX) / 2 {
            assert!(!suspects.count(data));
            assert!(suspects.counts.len() <= SUSPECTS_MAX);
        }
    }

    #[test]
    fn a_registration_is_suspect_also_among_many_with_one_event_each() {
        let mut suspects = Suspects::default();
        let mut others = 1..;
        for _ in 1..STALE_EVENTS_MAX {
            assert!(!suspects.count(0));
            assert!(others.by_ref().take(100).all(|other| !suspects.count(other)));
        }
        assert!(suspects.count(0));
    }

    #[test]
    fn a_full_map_makes_room_for_the_next_registration() {
        let mut suspects = Suspects::default();
        assert!((1..).take(SUSPECTS_MAX).all(|data| !suspects.count(data)));
        for _ in 1..STALE_EVENTS_MAX {
            assert!(!suspects.count(0));
        }
        assert!(suspects.count(0));
    }

    #[test]
    fn registrations_with_several_events_each_are_bounded_too() {
        let mut suspects = Suspects::default();
        for data in (0..).take(2 * SUSPECTS_MAX) {
            assert!(!suspects.count(data) && !suspects.count(data));
            assert!(suspects.counts.len() <= SUSPECTS_MAX);
        }
    }

    #[test]
    fn more_registrations_than_are_counted_are_suspect_in_the_end() {
        for registrations in [1000, 1024, 1025, 1500, 5000] {
            let mut suspects = Suspects::default();
            let mut data = (0..registrations).cycle();
            let events = (1..).find(|_| suspects.count(data.next().unwrap())).unwrap();
            assert!(events <= EVENTS_MAX + 5000, "{registrations}: {events}");
        }
    }
}
