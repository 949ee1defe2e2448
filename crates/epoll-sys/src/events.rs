//! The buffer that a wait fills.
//!
//! Kernel fact: `epoll_wait` refuses a `maxevents` of zero, and one above `EP_MAX_EVENTS`, which is
//! `INT_MAX / sizeof(struct epoll_event)`, both with `EINVAL`. A buffer is never that small or large.

use crate::Readiness;
use rustix::event::epoll;

/// A report of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The readiness that the kernel found.
    pub readiness: Readiness,
    /// The 64 bits that were given with the source when it was added or last modified.
    pub data: u64,
}

/// A reusable buffer of [`Event`]s.
///
/// # Examples
///
/// ```
/// use epoll_sys::Events;
///
/// let events = Events::with_capacity(256);
/// assert!(events.is_empty());
/// ```
pub struct Events {
    pub(crate) list: Vec<epoll::Event>,
}

// SAFETY: the kernel's event holds a union with a pointer in it, which alone keeps it from being
// `Send`. This module reads that union as an integer and never as a pointer, and hands it out as an
// integer only.
unsafe impl Send for Events {}

// SAFETY: as above; through a shared reference the buffer is only read.
unsafe impl Sync for Events {}

impl Events {
    /// The largest capacity. Larger ones clamp to it: a wait with more room gains nothing, and the
    /// kernel refuses one with room for 178 956 971 events or more.
    pub const CAPACITY_MAX: usize = 65_536;

    /// Allocates a buffer for at most `capacity` events a wait, clamped to the range from one to
    /// [`CAPACITY_MAX`](Self::CAPACITY_MAX).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_sys::Events;
    ///
    /// assert!(Events::with_capacity(0).capacity() >= 1);
    /// assert_eq!(Events::with_capacity(usize::MAX).capacity(), Events::CAPACITY_MAX);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { list: Vec::with_capacity(capacity.clamp(1, Self::CAPACITY_MAX)) }
    }

    /// Returns the number of events that the last wait returned.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether the last wait brought no event.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the largest number of events that one wait can return.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.list.capacity()
    }

    /// Returns the event at `index`, in the order in which the kernel reported them.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Event> {
        self.list.get(index).copied().map(event)
    }

    /// Removes the event at `index`; the order of the others stays.
    ///
    /// # Panics
    ///
    /// When there is no such event.
    pub fn remove(&mut self, index: usize) -> Event {
        event(self.list.remove(index))
    }

    /// Moves the event at `from` to the place `to` before it; the order of the others stays.
    ///
    /// # Panics
    ///
    /// When there is no such event, or `to` is a later place.
    pub fn move_up(&mut self, from: usize, to: usize) {
        self.list[to..=from].rotate_right(1);
    }

    /// Iterates over the events, in the order in which the kernel reported them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        self.list.iter().copied().map(event)
    }
}

#[inline]
fn event(raw: epoll::Event) -> Event {
    // The struct is packed on x86-64; its fields are copied out, never borrowed.
    let (flags, data) = (raw.flags, raw.data);
    Event { readiness: Readiness::from_bits_retain(flags.bits()), data: data.u64() }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_kernel_takes_a_buffer_of_whatever_capacity_was_asked_for() {
        let epoll = crate::Epoll::new().unwrap();
        let ep_max_events = 0x7fff_ffff / size_of::<epoll::Event>();
        for capacity in [0, 1, Events::CAPACITY_MAX, ep_max_events + 1, usize::MAX] {
            let mut events = Events::with_capacity(capacity);
            let least = capacity.clamp(1, Events::CAPACITY_MAX);
            assert!((least..=Events::CAPACITY_MAX).contains(&events.capacity()), "{capacity}");
            for timeout in [Duration::ZERO, Duration::from_nanos(1)] {
                assert_eq!(epoll.wait(&mut events, Some(timeout)).unwrap(), 0, "{capacity}");
            }
        }
    }

    #[test]
    fn the_order_of_the_kernel_stays_when_an_event_is_removed() {
        let epoll = crate::Epoll::new().unwrap();
        let counters = [1, 2, 3].map(|_| crate::EventFd::new(1).unwrap());
        for (data, counter) in (1..).zip(&counters) {
            epoll.add(counter, data, crate::Watch::level(crate::Interest::IN)).unwrap();
        }
        let mut events = Events::with_capacity(3);
        assert_eq!(epoll.wait(&mut events, Some(Duration::ZERO)).unwrap(), 3);
        let order: Vec<_> = events.iter().collect();
        assert_eq!(format!("{events:?}"), format!("{order:?}"));
        assert_eq!(events.remove(1), order[1]);
        assert_eq!((events.get(0), events.get(1)), (Some(order[0]), Some(order[2])));
        assert_eq!((events.len(), events.get(2)), (2, None));
    }

    #[test]
    fn the_kernels_event_has_the_size_that_the_kernel_expects() {
        let expected = if cfg!(target_arch = "x86_64") { 12 } else { 16 };
        assert_eq!(size_of::<epoll::Event>(), expected);
    }
}
