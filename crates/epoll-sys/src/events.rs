//! The buffer that a wait fills. Never zero-sized: `epoll_wait` refuses `maxevents` of zero.

use crate::Readiness;
use rustix::event::epoll;

/// One report of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What the kernel found.
    pub readiness: Readiness,
    /// The 64 bits that were given with the source when it was added or last modified.
    pub data: u64,
}

/// A reusable buffer of [`Event`]s.
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
    /// A buffer for at most `capacity` events a wait; zero counts as one.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { list: Vec::with_capacity(capacity.max(1)) }
    }

    /// How many events the last wait brought.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the last wait brought none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many events one wait can bring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.list.capacity()
    }

    /// The event at `index`, in the order in which the kernel reported them.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Event> {
        self.list.get(index).copied().map(event)
    }

    /// Removes the event at `index` and puts the last one in its place.
    ///
    /// # Panics
    ///
    /// When there is no such event.
    pub fn swap_remove(&mut self, index: usize) -> Event {
        event(self.list.swap_remove(index))
    }

    /// The events in the order in which the kernel reported them.
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

    #[test]
    fn a_buffer_is_never_zero_sized() {
        assert!(Events::with_capacity(0).capacity() >= 1);
    }

    #[test]
    fn the_kernels_event_has_the_size_that_the_kernel_expects() {
        let expected = if cfg!(target_arch = "x86_64") { 12 } else { 16 };
        assert_eq!(size_of::<epoll::Event>(), expected);
    }
}
