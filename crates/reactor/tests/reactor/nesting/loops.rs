//! Loops around a nested reactor: this crate's, two of the kernel's calls, and three of other crates.

use epoll_kit_testing::DEADLINE;
use epoll_reactor::epoll_sys::{Epoll, Events};
use epoll_reactor::{Interest, Reactor, Ready, Source, Watch};
use mio::unix::SourceFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// A loop that can watch a nested reactor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loop {
    Reactor(Watch),
    Epoll(Watch),
    Poll,
    /// Always edge-triggered.
    Mio,
    /// Always edge-triggered.
    Tokio,
    /// Level-triggered.
    Calloop,
}

const LEVEL: Watch = Watch::level(Interest::IN);
const EDGE: Watch = Watch::edge(Interest::IN);

pub(super) const LOOPS: [Loop; 8] = [
    Loop::Reactor(LEVEL),
    Loop::Reactor(EDGE),
    Loop::Epoll(LEVEL),
    Loop::Epoll(EDGE),
    Loop::Poll,
    Loop::Mio,
    Loop::Tokio,
    Loop::Calloop,
];

/// The outcome of one turn of the nested reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Reported,
    Nothing,
    /// The test has seen everything that it waits for.
    Over,
}

/// A nested reactor after its last turn, and what the loop around it did.
#[derive(Debug)]
pub(super) struct Outcome<I> {
    pub(super) inner: I,
    /// Turns of the nested reactor, the last one included.
    pub(super) turns: usize,
    /// Reports that the nested reactor is readable.
    pub(super) reports: usize,
}

/// The nested reactor and the test's part of the loop.
struct Nested<F, G> {
    turn: F,
    before_wait: G,
    turns: usize,
    reports: usize,
}

impl Loop {
    pub(super) fn is_edge(self) -> bool {
        match self {
            Self::Reactor(watch) | Self::Epoll(watch) => watch.is_edge(),
            Self::Mio | Self::Tokio => true,
            Self::Poll | Self::Calloop => false,
        }
    }

    /// Makes turns of `inner` when this loop reports it, until one of them is the last: one turn a
    /// report with a level trigger, turns until one has nothing with an edge trigger.
    ///
    /// `before_wait` is called before each wait of the loop, the first included. A loop that sleeps
    /// although `inner` has something to report does not come back: the waits have a deadline, and
    /// tests with tokio's have to bring one.
    #[track_caller]
    pub(super) fn run<I: Source + AsRawFd>(
        self,
        inner: I,
        turn: impl FnMut(&mut I) -> Turn,
        before_wait: impl FnMut(&mut I),
    ) -> Outcome<I> {
        let mut nested = Nested { turn, before_wait, turns: 0, reports: 0 };
        let inner = match self {
            Self::Reactor(watch) => nested.in_reactor(inner, watch),
            Self::Epoll(watch) => nested.in_epoll(inner, watch),
            Self::Poll => nested.in_poll(inner),
            Self::Mio => nested.in_mio(inner).unwrap(),
            Self::Tokio => nested.in_tokio(inner).unwrap(),
            Self::Calloop => nested.in_calloop(inner).unwrap(),
        };
        Outcome { inner, turns: nested.turns, reports: nested.reports }
    }
}

impl<F, G> Nested<F, G> {
    /// Makes the turns that one report asks for. Returns `false` after the last one.
    fn on_report<I>(&mut self, inner: &mut I, is_edge: bool) -> bool
    where
        F: FnMut(&mut I) -> Turn,
    {
        self.reports += 1;
        loop {
            self.turns += 1;
            match (self.turn)(inner) {
                Turn::Over => return false,
                Turn::Reported if is_edge => {}
                Turn::Reported | Turn::Nothing => return true,
            }
        }
    }

    fn in_reactor<I: Source>(&mut self, inner: I, watch: Watch) -> I
    where
        F: FnMut(&mut I) -> Turn,
        G: FnMut(&mut I),
    {
        let mut outer: Reactor<I> = Reactor::new().unwrap();
        let inner = outer.insert(inner, watch).map_err(io::Error::from).unwrap();
        loop {
            (self.before_wait)(&mut outer[inner]);
            outer.wait(Some(DEADLINE)).unwrap();
            let Some(Ready::Owned { source, .. }) = outer.next_ready() else {
                panic!("no report before the deadline");
            };
            if !self.on_report(source, watch.is_edge()) {
                return outer.remove(inner).unwrap();
            }
        }
    }

    fn in_epoll<I: AsFd>(&mut self, mut inner: I, watch: Watch) -> I
    where
        F: FnMut(&mut I) -> Turn,
        G: FnMut(&mut I),
    {
        let (outer, mut events) = (Epoll::new().unwrap(), Events::with_capacity(4));
        outer.add(&inner, 7, watch).unwrap();
        loop {
            (self.before_wait)(&mut inner);
            outer.wait(&mut events, Some(DEADLINE)).unwrap();
            assert_eq!(events.len(), 1, "no report before the deadline");
            if !self.on_report(&mut inner, watch.is_edge()) {
                return inner;
            }
        }
    }

    fn in_poll<I: AsFd>(&mut self, mut inner: I) -> I
    where
        F: FnMut(&mut I) -> Turn,
        G: FnMut(&mut I),
    {
        loop {
            (self.before_wait)(&mut inner);
            assert!(is_readable_within(&inner, DEADLINE), "no report before the deadline");
            if !self.on_report(&mut inner, false) {
                return inner;
            }
        }
    }

    fn in_mio<I: AsRawFd>(&mut self, mut inner: I) -> io::Result<I>
    where
        F: FnMut(&mut I) -> Turn,
        G: FnMut(&mut I),
    {
        let (mut outer, mut events) = (mio::Poll::new()?, mio::Events::with_capacity(4));
        let readable = mio::Interest::READABLE;
        outer.registry().register(&mut SourceFd(&inner.as_raw_fd()), mio::Token(7), readable)?;
        loop {
            (self.before_wait)(&mut inner);
            outer.poll(&mut events, Some(DEADLINE))?;
            assert_eq!(events.iter().count(), 1, "no report before the deadline");
            if !self.on_report(&mut inner, true) {
                return Ok(inner);
            }
        }
    }

    /// A turn for each `readable`. The readiness is cleared by the turn that has nothing, which is what
    /// "until one has nothing" means here, and what is fair to other tasks.
    #[allow(deprecated, reason = "newer versions of tokio have no safe constructor")]
    fn in_tokio<I: AsRawFd>(&mut self, inner: I) -> io::Result<I>
    where
        F: FnMut(&mut I) -> Turn,
        G: FnMut(&mut I),
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let mut inner = AsyncFd::with_interest(inner, tokio::io::Interest::READABLE)?;
            let mut is_dry = true;
            loop {
                if is_dry {
                    (self.before_wait)(inner.get_mut());
                }
                let mut ready = inner.readable_mut().await?;
                self.reports += usize::from(is_dry);
                self.turns += 1;
                let turn = (self.turn)(ready.get_inner_mut());
                is_dry = turn == Turn::Nothing;
                match turn {
                    Turn::Reported => ready.retain_ready(),
                    Turn::Nothing => ready.clear_ready(),
                    Turn::Over => return Ok(inner.into_inner()),
                }
            }
        })
    }

    /// Calloop lends nothing of what it watches to be changed, so it is given a clone of the descriptor.
    fn in_calloop<I: AsFd>(&mut self, inner: I) -> io::Result<I>
    where
        F: FnMut(&mut I) -> Turn,
        G: FnMut(&mut I),
    {
        use calloop::generic::Generic;
        let mut outer = calloop::EventLoop::<(&mut Self, I, bool)>::try_new()?;
        let clone = inner.as_fd().try_clone_to_owned()?;
        let source = Generic::new(clone, calloop::Interest::READ, calloop::Mode::Level);
        let inserted = outer.handle().insert_source(source, |_, _, (nested, inner, is_over)| {
            *is_over = !nested.on_report(inner, false);
            Ok(calloop::PostAction::Continue)
        });
        inserted.map_err(|error| io::Error::other(error.error))?;
        let mut data = (self, inner, false);
        while !data.2 {
            let (nested, inner, _) = &mut data;
            (nested.before_wait)(inner);
            let reports = nested.reports;
            outer.dispatch(DEADLINE, &mut data)?;
            assert_eq!(data.0.reports, reports + 1, "no report before the deadline");
        }
        Ok(data.1)
    }
}

fn is_readable_within(fd: &impl AsFd, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).unwrap();
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).unwrap() > 0
}

pub(super) fn is_readable(fd: &impl AsFd) -> bool {
    is_readable_within(fd, Duration::ZERO)
}
