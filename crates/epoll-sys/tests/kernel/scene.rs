//! Epoll instances, flat, nested and as a tree, over UNIX stream sockets that nobody reads.
//!
//! The data of a source is its index, from 0.

use crate::support::look;
use epoll_sys::{Epoll, Interest, Trigger, Watch, socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub(crate) struct Scene {
    /// The instance that is waited on.
    pub(crate) epoll: Arc<Epoll>,
    /// Instances that it watches.
    inner: Vec<Epoll>,
    /// The ends that are watched, and their peers.
    sources: Vec<(OwnedFd, OwnedFd)>,
}

impl Scene {
    fn empty() -> Self {
        Self { epoll: Arc::new(Epoll::new().unwrap()), inner: Vec::new(), sources: Vec::new() }
    }

    /// One instance that watches `sources_len` sources.
    pub(crate) fn flat(trigger: Trigger, sources_len: u64) -> Self {
        let mut scene = Self::empty();
        for data in 0..sources_len {
            let (ours, theirs) = socket::pair().unwrap();
            scene.epoll.add(&ours, data, watch(trigger)).unwrap();
            scene.sources.push((ours, theirs));
        }
        scene
    }

    /// An instance that watches an instance that watches one source.
    pub(crate) fn nested(outer: Trigger, inner: Trigger) -> Self {
        let mut scene = Self::empty();
        scene.add_inner(0, outer, inner);
        scene
    }

    /// An instance that watches two instances, each of which watches a source by level.
    pub(crate) fn tree(outer: Trigger) -> Self {
        let mut scene = Self::empty();
        scene.add_inner(0, outer, Trigger::Level);
        scene.add_inner(1, outer, Trigger::Level);
        scene
    }

    fn add_inner(&mut self, data: u64, outer: Trigger, inner: Trigger) {
        let (ours, theirs) = socket::pair().unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&ours, data, watch(inner)).unwrap();
        self.epoll.add(&epoll, data, watch(outer)).unwrap();
        self.inner.push(epoll);
        self.sources.push((ours, theirs));
    }

    /// Makes every source readable by one byte more.
    pub(crate) fn write(&self) {
        for (_, peer) in &self.sources {
            socket::send(peer, b"w").unwrap();
        }
    }

    /// The scene after [`write`](Self::write).
    pub(crate) fn written(self) -> Self {
        self.write();
        self
    }

    /// Returns the number of events that two looks in a row bring.
    pub(crate) fn two_looks(&self) -> [usize; 2] {
        [look(&self.epoll).len(), look(&self.epoll).len()]
    }

    /// The same, each look after what `poll(2)` says of the instance.
    pub(crate) fn two_polled_looks(&self) -> [(usize, usize); 2] {
        let polled_look = || {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let mut fds = [PollFd::new(&*self.epoll, PollFlags::IN)];
            (poll(&mut fds, Some(&zero)).unwrap(), look(&self.epoll).len())
        };
        [polled_look(), polled_look()]
    }
}

fn watch(trigger: Trigger) -> Watch {
    match trigger {
        Trigger::Level => Watch::level(Interest::IN),
        Trigger::Edge => Watch::edge(Interest::IN),
        Trigger::Oneshot => Watch::oneshot(Interest::IN),
        Trigger::EdgeOneshot => Watch::edge_oneshot(Interest::IN),
    }
}
