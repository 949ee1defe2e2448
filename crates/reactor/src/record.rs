//! The record of one registration.
//!
//! Invariant: if the [`State`] of a record is empty, its events are reported as the kernel made them.
//! Everything else (a revisit, a parked source, a one-shot one) sets a bit, so that the loop tests one
//! value for each event.

use bitflags::bitflags;
use epoll_sys::{Epoll, ExclusiveInterest, ExclusiveWatch, Interest, Readiness, Watch};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

/// One registration.
///
/// Its discriminant is a field of its own: one in a niche of `T` takes twice the instructions to read. The
/// state and the watch stand in each variant because they fit beside it, before a source that is aligned to
/// eight bytes; around an enum of the three they would take eight bytes more.
#[repr(u8)]
pub(crate) enum Record<T, S> {
    Owned {
        watch: CompactWatch,
        state: State,
        source: T,
    },
    Watched {
        watch: CompactWatch,
        state: State,
        /// The number of the descriptor, to tell it from others.
        fd: RawFd,
        tag: S,
    },
    Waker {
        watch: CompactWatch,
        state: State,
    },
}

const _: () = assert!(size_of::<Record<u64, ()>>() == 16);

/// The interest and the trigger of a registration, those from before if it is parked, in 16 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompactWatch(u16);

impl CompactWatch {
    /// The flags of a watch are its highest bits; that much lower there are bits that no interest has.
    const FLAGS_SHIFT: u32 = 19;
    const WAKEUP: u16 = 1 << 10;
    const ONESHOT: u16 = 1 << 11;
    const EDGE: u16 = 1 << 12;

    #[inline]
    fn watch(self) -> Watch {
        let interest = Interest::from_bits_truncate(self.0.into());
        let watch = match (self.0 & Self::EDGE != 0, self.0 & Self::ONESHOT != 0) {
            (false, false) => Watch::level(interest),
            (true, false) => Watch::edge(interest),
            (false, true) => Watch::oneshot(interest),
            (true, true) => Watch::edge_oneshot(interest),
        };
        if self.0 & Self::WAKEUP != 0 { watch.with_wakeup() } else { watch }
    }
}

impl From<Watch> for CompactWatch {
    #[inline]
    fn from(watch: Watch) -> Self {
        const FLAGS: u32 =
            (CompactWatch::WAKEUP | CompactWatch::EDGE | CompactWatch::ONESHOT) as u32;
        const { assert!(Interest::all().bits() & (FLAGS | !0xffff) == 0) };
        #[expect(clippy::cast_possible_truncation, reason = "the others are the flags")]
        let low = (watch.bits() | watch.bits() >> Self::FLAGS_SHIFT) as u16;
        Self(low)
    }
}

bitflags! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct State: u32 {
        /// The readiness with which the source will be revisited.
        const REVISIT = 0xffff;
        /// Parked: its events are not reported.
        const PARKED = 1 << 16;
        /// The kernel has no entry for it, so it is armed by adding it.
        const DETACHED = 1 << 17;
        /// One-shot: a report disarms it.
        const ONESHOT = 1 << 18;
        /// A report has disarmed it.
        const DISARMED = 1 << 19;
        /// Watched with `EPOLLEXCLUSIVE`.
        const EXCLUSIVE = 1 << 20;
        /// Queued: in the queue of revisits, even if the revisit was dropped since.
        const QUEUED = 1 << 21;
        /// One-shot, and armed again while events of the last wait were still to be handed out: one of them
        /// may be of the arming before.
        const REARMED = 1 << 22;
        /// Its events are reported, whatever else is set. The sign bit, so that one comparison with
        /// zero tells whether a state is plain. A change of another bit clears this one.
        const PASS = 1 << 31;
    }
}

impl State {
    /// Returns whether an event of the registration is reported as it is.
    #[inline]
    #[expect(clippy::cast_possible_wrap, reason = "the highest bit is the sign")]
    pub(crate) fn is_plain(self) -> bool {
        // One comparison: nothing is set, or the sign is.
        self.bits() as i32 <= 0
    }

    /// Returns the readiness with which the source will be revisited; empty if it will not be.
    pub(crate) fn revisit(self) -> Readiness {
        Readiness::from_bits_retain(self.intersection(Self::REVISIT).bits())
    }

    pub(crate) fn add_revisit(&mut self, readiness: Readiness) {
        // From now on an event is merged into the revisit.
        self.remove(Self::PASS);
        self.insert(revisit_bits(readiness));
    }

    pub(crate) fn is_detached(self) -> bool {
        self.contains(Self::DETACHED)
    }

    fn set_armed(&mut self, watch: Watch) {
        self.remove(Self::PARKED | Self::DETACHED | Self::DISARMED | Self::PASS);
        self.set(Self::ONESHOT, watch.is_oneshot());
    }

    /// Returns whether the registration is silent: parked, or disarmed by its report.
    pub(crate) fn is_silent(self) -> bool {
        self.intersects(Self::PARKED | Self::DISARMED)
    }
}

/// Returns the bits of `readiness` that epoll can report.
pub(crate) fn revisit_bits(readiness: Readiness) -> State {
    State::from_bits_retain(readiness.bits()) & State::REVISIT
}

impl<T, S> Record<T, S> {
    /// Creates the record of a source that the kernel watches.
    pub(crate) fn owned(source: T, arm: Arm) -> Self {
        let (watch, state) = (arm.watch().into(), armed_state(arm));
        Self::Owned { watch, state, source }
    }

    /// Creates the record of a descriptor with the number `fd` that the kernel watches.
    pub(crate) fn watched(fd: RawFd, tag: S, arm: Arm) -> Self {
        let (watch, state) = (arm.watch().into(), armed_state(arm));
        Self::Watched { watch, state, fd, tag }
    }

    /// Creates the record of the reactor's own waker.
    pub(crate) fn waker(watch: Watch) -> Self {
        Self::Waker { watch: watch.into(), state: State::empty() }
    }

    #[inline]
    pub(crate) fn watch(&self) -> Watch {
        let (Self::Owned { watch, .. } | Self::Watched { watch, .. } | Self::Waker { watch, .. }) =
            self;
        watch.watch()
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        let (Self::Owned { state, .. } | Self::Watched { state, .. } | Self::Waker { state, .. }) =
            self;
        *state
    }

    #[inline]
    pub(crate) fn state_mut(&mut self) -> &mut State {
        let (Self::Owned { state, .. } | Self::Watched { state, .. } | Self::Waker { state, .. }) =
            self;
        state
    }

    /// Returns the request to the kernel that watches it as before.
    pub(crate) fn arm(&self) -> Arm {
        if self.state().contains(State::EXCLUSIVE) {
            Arm::Exclusive(exclusive(self.watch()))
        } else {
            Arm::Normal(self.watch())
        }
    }

    /// Notes that the kernel watches it as `new`.
    pub(crate) fn set_armed(&mut self, new: Watch) {
        let (Self::Owned { watch, state, .. }
        | Self::Watched { watch, state, .. }
        | Self::Waker { watch, state }) = self;
        *watch = new.into();
        state.set_armed(new);
    }

    /// Notes that the last wait brought an event of it: a one-shot source is disarmed, unless it has been
    /// armed again since.
    pub(crate) fn set_fetched(&mut self) {
        let state = self.state_mut();
        if state.contains(State::ONESHOT) && !state.contains(State::REARMED) {
            state.insert(State::DISARMED);
        }
    }
}

/// Returns the state of a registration that is watched as `arm` says.
#[inline]
fn armed_state(arm: Arm) -> State {
    match arm {
        Arm::Normal(watch) if watch.is_oneshot() => State::ONESHOT,
        Arm::Normal(_) => State::empty(),
        Arm::Exclusive(_) => State::EXCLUSIVE,
    }
}

/// The request to the kernel.
#[derive(Clone, Copy)]
pub(crate) enum Arm {
    Normal(Watch),
    Exclusive(ExclusiveWatch),
}

impl Arm {
    pub(crate) fn is_edge(self) -> bool {
        match self {
            Self::Normal(watch) => watch.is_edge(),
            Self::Exclusive(watch) => watch.is_edge(),
        }
    }

    /// `EPOLL_CTL_ADD`: watches `fd`, whose events will carry `data`.
    #[inline]
    pub(crate) fn add(self, epoll: &Epoll, fd: BorrowedFd<'_>, data: u64) -> io::Result<()> {
        match self {
            Self::Normal(watch) => epoll.add(fd, data, watch),
            Self::Exclusive(watch) => epoll.add_exclusive(fd, data, watch),
        }
    }

    /// Returns the bits as the kernel takes them.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Normal(watch) => watch.bits(),
            Self::Exclusive(watch) => watch.bits(),
        }
    }

    /// Returns the interest and the trigger, without `EPOLLEXCLUSIVE`.
    fn watch(self) -> Watch {
        match self {
            Self::Normal(watch) => watch,
            Self::Exclusive(exclusive) => {
                let interest = Interest::from_bits_truncate(exclusive.bits());
                let is_edge = exclusive.is_edge();
                let watch = if is_edge { Watch::edge(interest) } else { Watch::level(interest) };
                if exclusive.is_wakeup() { watch.with_wakeup() } else { watch }
            }
        }
    }
}

fn exclusive(watch: Watch) -> ExclusiveWatch {
    let interest = ExclusiveInterest::from_bits_truncate(watch.bits());
    let exclusive = if watch.is_edge() {
        ExclusiveWatch::edge(interest)
    } else {
        ExclusiveWatch::level(interest)
    };
    if watch.is_wakeup() { exclusive.with_wakeup() } else { exclusive }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusive_watch_is_the_same_after_it_was_kept() {
        let interest = ExclusiveInterest::IN | ExclusiveInterest::OUT;
        for watch in [ExclusiveWatch::level(interest), ExclusiveWatch::edge(ExclusiveInterest::IN)]
        {
            for watch in [watch, watch.with_wakeup()] {
                let record = Record::<(), ()>::owned((), Arm::Exclusive(watch));
                assert_eq!(record.arm().bits(), watch.bits());
            }
        }
    }

    #[test]
    fn a_watch_is_the_same_after_it_was_made_compact() {
        let names: Vec<_> = Interest::all().iter().collect();
        for bits in 0..1_u32 << names.len() {
            let chosen = names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            let interest = chosen.map(|(_, name)| *name).collect::<Interest>();
            let watches = [
                Watch::level(interest),
                Watch::edge(interest),
                Watch::oneshot(interest),
                Watch::edge_oneshot(interest),
            ];
            for watch in watches.into_iter().flat_map(|watch| [watch, watch.with_wakeup()]) {
                assert_eq!(CompactWatch::from(watch).watch(), watch);
            }
        }
    }

    #[test]
    fn a_state_is_plain_that_is_empty_or_passes() {
        for flags in State::all().difference(State::PASS).iter() {
            assert!(!flags.is_plain(), "{flags:?}");
            assert!((flags | State::PASS).is_plain());
        }
        assert!(State::empty().is_plain());
    }

    #[test]
    fn a_oneshot_source_is_disarmed_by_an_event_unless_it_was_armed_again_since() {
        let oneshot = Watch::oneshot(Interest::IN);
        let mut record = Record::<(), ()>::owned((), Arm::Normal(oneshot));
        record.set_fetched();
        assert_eq!(record.state(), State::ONESHOT | State::DISARMED);
        record.set_armed(oneshot);
        record.state_mut().insert(State::REARMED);
        record.set_fetched();
        assert_eq!(record.state(), State::ONESHOT | State::REARMED);
        record.state_mut().remove(State::REARMED);
        record.set_armed(Watch::level(Interest::IN));
        record.set_fetched();
        assert_eq!(record.state(), State::empty());
    }

    #[test]
    fn a_revisit_keeps_what_epoll_can_report_and_nothing_else() {
        let mut state = State::PARKED;
        state.add_revisit(Readiness::from_bits_retain(u32::MAX));
        assert_eq!(state.revisit().bits(), 0xffff);
        assert_eq!(state, State::PARKED | State::REVISIT);
    }
}
