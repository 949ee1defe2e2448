//! The three ways to wait.

use super::{PATIENCE_S, Sources, Tally, Waiter};
use crate::EVENTS_MAX;
use nix::sys::select::{FdSet, select};
use nix::sys::time::TimeVal;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const PATIENCE: Timespec = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };

/// Edge-triggered or not.
pub(crate) struct Epoll<const EDGE: bool> {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl<'a, const EDGE: bool> Waiter<'a> for Epoll<EDGE> {
    fn new(sources: &'a Sources) -> anyhow::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = if EDGE { EventFlags::IN | EventFlags::ET } else { EventFlags::IN };
        for (index, fd) in sources.fds().iter().enumerate() {
            epoll::add(&epoll, fd, EventData::new_u64(index as u64), flags)?;
        }
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    fn turn(&mut self, tally: &mut Tally<'a>) -> io::Result<()> {
        self.events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&PATIENCE))?;
        for event in &self.events {
            tally.take(usize::try_from(event.data.u64()).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }
}

pub(crate) struct Poll<'a> {
    fds: Vec<PollFd<'a>>,
}

impl<'a> Waiter<'a> for Poll<'a> {
    fn new(sources: &'a Sources) -> anyhow::Result<Self> {
        let fds = sources.fds().iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        Ok(Self { fds })
    }

    fn turn(&mut self, tally: &mut Tally<'a>) -> io::Result<()> {
        let mut left = poll(&mut self.fds, Some(&PATIENCE))?;
        for (index, fd) in self.fds.iter().enumerate() {
            if left == 0 {
                break;
            }
            if !fd.revents().is_empty() {
                tally.take(index)?;
                left -= 1;
            }
        }
        Ok(())
    }
}

pub(crate) struct Select<'a> {
    fds: Vec<BorrowedFd<'a>>,
    /// The watched descriptors. `select` overwrites a copy of this set.
    set: FdSet<'a>,
    /// One more than the highest descriptor.
    nfds: i32,
}

impl Select<'_> {
    /// Returns whether the descriptor of every source is below `FD_SETSIZE`.
    pub(crate) fn can_hold(sources: &Sources) -> bool {
        let max = i32::try_from(nix::sys::select::FD_SETSIZE).unwrap_or(i32::MAX);
        sources.fds().iter().all(|fd| fd.as_raw_fd() < max)
    }
}

impl<'a> Waiter<'a> for Select<'a> {
    fn new(sources: &'a Sources) -> anyhow::Result<Self> {
        let fds: Vec<_> = sources.fds().iter().map(AsFd::as_fd).collect();
        let mut set = FdSet::new();
        fds.iter().for_each(|fd| set.insert(*fd));
        let nfds = fds.iter().map(|fd| fd.as_raw_fd() + 1).max().unwrap_or(0);
        Ok(Self { fds, set, nfds })
    }

    fn turn(&mut self, tally: &mut Tally<'a>) -> io::Result<()> {
        let mut set = self.set;
        let mut timeout = TimeVal::new(PATIENCE_S, 0);
        let mut left = select(self.nfds, &mut set, None, None, &mut timeout)?;
        for (index, fd) in self.fds.iter().enumerate() {
            if left == 0 {
                break;
            }
            if set.contains(*fd) {
                tally.take(index)?;
                left -= 1;
            }
        }
        Ok(())
    }
}
