//! The bits of `struct epoll_event.events`, split into requested events, triggers, and reported events.
//!
//! The kernel refuses some combinations of `EPOLLEXCLUSIVE` with `EINVAL`. The types here cannot
//! express them: [`Watch`] has no exclusive bit, and [`ExclusiveWatch`] has neither one-shot nor
//! any interest besides `EPOLLIN` and `EPOLLOUT`.

use bitflags::bitflags;
use std::num::NonZeroU32;

const ONESHOT: u32 = 1 << 30;
const EDGE: u32 = 1 << 31;
const WAKEUP: u32 = 1 << 29;
const EXCLUSIVE: u32 = 1 << 28;

/// `EPOLLERR | EPOLLHUP`, which the kernel adds to every interest. With them a [`Watch`] is never
/// zero, and an `Option` of one takes no more room.
const ALWAYS: NonZeroU32 = NonZeroU32::new(0x018).unwrap();

bitflags! {
    /// The events that a source is watched for.
    ///
    /// `EPOLLERR` and `EPOLLHUP` are missing because they cannot be chosen: the kernel reports them
    /// for every source, even for one with an empty interest.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Interest: u32 {
        /// `EPOLLIN`: a read would not block.
        const IN = 0x001;
        /// `EPOLLPRI`: an exceptional condition, such as out-of-band data on a TCP socket.
        const PRI = 0x002;
        /// `EPOLLOUT`: a write would not block.
        const OUT = 0x004;
        /// `EPOLLRDHUP`: the peer has shut down its writing half.
        ///
        /// A level-triggered source with this interest is reported again and again for as long as
        /// the peer is half-closed.
        const RDHUP = 0x2000;
    }

    /// The events that a source is watched for which shares its wake-ups with other epoll instances.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct ExclusiveInterest: u32 {
        /// `EPOLLIN`: a read, or an accept, would not block.
        const IN = 0x001;
        /// `EPOLLOUT`: a write would not block.
        const OUT = 0x004;
    }

    /// The events that the kernel reported of a source.
    ///
    /// Several bits come together more often than not (`IN | RDHUP` when a peer wrote and closed),
    /// so ask with [`contains`](Self::contains) or [`intersects`](Self::intersects) and never
    /// compare with `==`. Bits that have no name here are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Readiness: u32 {
        /// `EPOLLIN`: a read would not block.
        const IN = 0x001;
        /// `EPOLLPRI`: an exceptional condition, such as out-of-band data on a TCP socket.
        const PRI = 0x002;
        /// `EPOLLOUT`: a write would not block.
        const OUT = 0x004;
        /// `EPOLLERR`: an error is pending on the source, or the reader of a pipe is gone.
        const ERR = 0x008;
        /// `EPOLLHUP`: both directions are closed, or the writer of a pipe is gone.
        const HUP = 0x010;
        /// `EPOLLRDHUP`: the peer has shut down its writing half.
        const RDHUP = 0x2000;

        const _ = !0;
    }
}

impl Readiness {
    /// Returns whether a read may get somewhere: data, the end of the stream, or the error itself.
    #[inline]
    #[must_use]
    pub const fn may_read(self) -> bool {
        self.intersects(Self::IN.union(Self::RDHUP).union(Self::HUP).union(Self::ERR))
    }

    /// Returns whether a write may get somewhere: room, or the error itself.
    #[inline]
    #[must_use]
    pub const fn may_write(self) -> bool {
        self.intersects(Self::OUT.union(Self::HUP).union(Self::ERR))
    }

    /// Returns whether the end of the stream, or an error, has been announced.
    ///
    /// It is a hint: the read or write that follows is the proof. While it is set, a short read
    /// does not mean that the source is drained.
    #[inline]
    #[must_use]
    pub const fn is_closing(self) -> bool {
        self.intersects(Self::RDHUP.union(Self::HUP).union(Self::ERR))
    }
}

/// The moments at which a source that is ready is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// Each wait for as long as it is ready.
    Level,
    /// `EPOLLET`: once for each time it becomes ready.
    Edge,
    /// `EPOLLONESHOT`: once, then not again until it is modified.
    Oneshot,
    /// `EPOLLET | EPOLLONESHOT`: like [`Oneshot`](Self::Oneshot); the kernel checks the source once
    /// less after it reported it.
    EdgeOneshot,
}

/// A way to watch a source: an [`Interest`] and a [`Trigger`].
///
/// # Examples
///
/// ```
/// use epoll_sys::{Interest, Trigger, Watch};
///
/// let watch = Watch::edge(Interest::IN | Interest::RDHUP);
/// assert_eq!(watch.trigger(), Trigger::Edge);
/// assert_eq!(watch.interest(), Interest::IN | Interest::RDHUP);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watch(NonZeroU32);

impl Watch {
    /// Watches a source that is reported at every wait for as long as the source is ready.
    #[inline]
    #[must_use]
    pub const fn level(interest: Interest) -> Self {
        // An `Interest` made by `from_bits_retain` may hold any bit; only the named ones pass.
        Self(ALWAYS).with(interest.bits() & Interest::all().bits())
    }

    /// `EPOLLET`: watches a source that is reported once for each time the source becomes ready.
    #[inline]
    #[must_use]
    pub const fn edge(interest: Interest) -> Self {
        Self::level(interest).with(EDGE)
    }

    /// `EPOLLONESHOT`: watches a source that is reported once, then not again until it is modified.
    #[inline]
    #[must_use]
    pub const fn oneshot(interest: Interest) -> Self {
        Self::level(interest).with(ONESHOT)
    }

    /// `EPOLLET | EPOLLONESHOT`: watches a source that is reported once, then not again until it is modified.
    #[inline]
    #[must_use]
    pub const fn edge_oneshot(interest: Interest) -> Self {
        Self::edge(interest).with(ONESHOT)
    }

    /// `EPOLLWAKEUP`: keeps the system from suspending while an event of this source is handled.
    ///
    /// The kernel drops the flag silently when the caller lacks `CAP_BLOCK_SUSPEND`.
    #[inline]
    #[must_use]
    pub const fn with_wakeup(self) -> Self {
        self.with(WAKEUP)
    }

    /// Returns a watch with the same trigger and another interest.
    #[inline]
    #[must_use]
    pub const fn with_interest(self, interest: Interest) -> Self {
        Self::level(interest).with(self.bits() & !Interest::all().bits())
    }

    const fn with(self, bits: u32) -> Self {
        Self(NonZeroU32::new(self.bits() | bits).expect("a union with a value that is not zero"))
    }

    /// Returns the events that are watched for.
    #[inline]
    #[must_use]
    pub const fn interest(self) -> Interest {
        Interest::from_bits_truncate(self.bits())
    }

    /// Returns when the source is reported.
    #[inline]
    #[must_use]
    pub const fn trigger(self) -> Trigger {
        match (self.is_edge(), self.is_oneshot()) {
            (false, false) => Trigger::Level,
            (true, false) => Trigger::Edge,
            (false, true) => Trigger::Oneshot,
            (true, true) => Trigger::EdgeOneshot,
        }
    }

    /// Returns whether a report disarms the source: [`Trigger::Oneshot`] or [`Trigger::EdgeOneshot`].
    #[inline]
    #[must_use]
    pub const fn is_oneshot(self) -> bool {
        self.bits() & ONESHOT != 0
    }

    /// Returns whether the source is reported on its edges: [`Trigger::Edge`] or [`Trigger::EdgeOneshot`].
    #[inline]
    #[must_use]
    pub const fn is_edge(self) -> bool {
        self.bits() & EDGE != 0
    }

    /// Returns whether it keeps the system from suspending; see [`with_wakeup`](Self::with_wakeup).
    #[inline]
    #[must_use]
    pub const fn is_wakeup(self) -> bool {
        self.bits() & WAKEUP != 0
    }

    /// Returns the bits as the kernel holds them, `EPOLLERR` and `EPOLLHUP` included.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0.get()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("trigger", &self.trigger())
            .field("interest", &self.interest())
            .field("wakeup", &self.is_wakeup())
            .finish()
    }
}

/// A way to watch a source with `EPOLLEXCLUSIVE`: of all epoll instances that watch it this way at
/// least one is woken, not all.
///
/// It is always the same one that is woken first, in an order fixed when the sources were added.
/// Such a registration cannot be modified, only deleted and added again.
///
/// # Examples
///
/// ```
/// use epoll_sys::{ExclusiveInterest, ExclusiveWatch};
///
/// let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
/// assert_eq!(watch.bits(), 1 | 1 << 28);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExclusiveWatch(u32);

impl ExclusiveWatch {
    /// Watches a source that is reported at every wait for as long as the source is ready.
    #[must_use]
    pub const fn level(interest: ExclusiveInterest) -> Self {
        Self((interest.bits() & ExclusiveInterest::all().bits()) | EXCLUSIVE)
    }

    /// `EPOLLET`: watches a source that is reported once for each time the source becomes ready.
    #[must_use]
    pub const fn edge(interest: ExclusiveInterest) -> Self {
        Self(Self::level(interest).0 | EDGE)
    }

    /// `EPOLLWAKEUP`: keeps the system from suspending while an event of this source is handled.
    #[must_use]
    pub const fn with_wakeup(self) -> Self {
        Self(self.0 | WAKEUP)
    }

    /// Returns whether the source is reported on its edges.
    #[must_use]
    pub const fn is_edge(self) -> bool {
        self.0 & EDGE != 0
    }

    /// Returns whether it keeps the system from suspending; see [`with_wakeup`](Self::with_wakeup).
    #[must_use]
    pub const fn is_wakeup(self) -> bool {
        self.0 & WAKEUP != 0
    }

    /// Returns the bits as the kernel takes them, `EPOLLEXCLUSIVE` included.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl std::fmt::Debug for ExclusiveWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExclusiveWatch")
            .field("edge", &self.is_edge())
            .field("interest", &ExclusiveInterest::from_bits_truncate(self.0))
            .field("wakeup", &self.is_wakeup())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EPOLLEXCLUSIVE_OK_BITS` of the kernel's fs/eventpoll.c.
    const EXCLUSIVE_ALLOWED: u32 = 0x1 | 0x4 | 0x8 | 0x10 | WAKEUP | EDGE | EXCLUSIVE;

    #[test]
    fn no_watch_carries_a_bit_that_was_smuggled_into_its_interest() {
        let interest = Interest::from_bits_retain(u32::MAX);
        for watch in [
            Watch::level(interest),
            Watch::edge(interest),
            Watch::oneshot(interest),
            Watch::edge_oneshot(interest).with_wakeup(),
            Watch::level(Interest::IN).with_interest(interest),
        ] {
            assert_eq!(watch.bits() & EXCLUSIVE, 0, "{watch:?}");
            assert_eq!(watch.interest(), Interest::all());
        }
    }

    #[test]
    fn every_exclusive_watch_is_one_that_the_kernel_takes() {
        let interest = ExclusiveInterest::from_bits_retain(u32::MAX);
        for watch in [ExclusiveWatch::level(interest), ExclusiveWatch::edge(interest)] {
            assert_eq!(watch.with_wakeup().bits() & !EXCLUSIVE_ALLOWED, 0, "{watch:?}");
        }
    }

    #[test]
    fn an_end_or_an_error_is_a_reason_to_read_and_to_write() {
        for (readiness, may_read, may_write, is_closing) in [
            (Readiness::empty(), false, false, false),
            (Readiness::IN, true, false, false),
            (Readiness::PRI, false, false, false),
            (Readiness::OUT, false, true, false),
            (Readiness::ERR, true, true, true),
            (Readiness::HUP, true, true, true),
            (Readiness::RDHUP, true, false, true),
        ] {
            assert_eq!(readiness.may_read(), may_read, "{readiness:?}");
            assert_eq!(readiness.may_write(), may_write, "{readiness:?}");
            assert_eq!(readiness.is_closing(), is_closing, "{readiness:?}");
        }
    }

    #[test]
    fn a_watch_shows_its_trigger_and_its_interest() {
        assert_eq!(
            format!("{:?}", Watch::edge(Interest::IN).with_wakeup()),
            "Watch { trigger: Edge, interest: Interest(IN), wakeup: true }"
        );
        assert_eq!(
            format!("{:?}", ExclusiveWatch::level(ExclusiveInterest::IN)),
            "ExclusiveWatch { edge: false, interest: ExclusiveInterest(IN), wakeup: false }"
        );
    }

    #[test]
    fn to_ask_for_wakeup_twice_changes_nothing() {
        let watch = Watch::edge(Interest::IN);
        assert!(!watch.is_wakeup() && watch.with_wakeup().is_wakeup());
        assert_eq!(watch.with_wakeup().with_wakeup(), watch.with_wakeup());
        let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
        assert!(!watch.is_wakeup() && watch.with_wakeup().is_wakeup());
        assert_eq!(watch.with_wakeup().with_wakeup(), watch.with_wakeup());
    }

    #[test]
    fn a_watch_tells_its_trigger() {
        let interest = Interest::IN | Interest::PRI;
        let by_trigger = [
            (Watch::level(interest), Trigger::Level),
            (Watch::edge(interest), Trigger::Edge),
            (Watch::oneshot(interest), Trigger::Oneshot),
            (Watch::edge_oneshot(interest), Trigger::EdgeOneshot),
        ];
        for (watch, trigger) in by_trigger {
            assert_eq!(watch.trigger(), trigger);
            assert_eq!(watch.with_wakeup().trigger(), trigger);
            assert_eq!(watch.with_interest(Interest::OUT).trigger(), trigger);
            assert_eq!(watch.with_interest(Interest::OUT).interest(), Interest::OUT);
        }
        assert!(!ExclusiveWatch::level(ExclusiveInterest::IN).is_edge());
        assert!(ExclusiveWatch::edge(ExclusiveInterest::IN).is_edge());
    }
}
