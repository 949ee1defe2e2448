//! Ways to wait for events: to sleep at once when there are none, or to look again before.

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

pub(crate) trait Waiting {
    /// Waits until there are events, and adds them.
    fn wait(&self, epoll: &OwnedFd, events: &mut Vec<Event>) -> Result<(), Errno>;
}

/// One wait, which sleeps if nothing is ready.
pub(crate) struct AtOnce;

/// A wait that does not sleep, and if it brings nothing one that may.
pub(crate) struct Twice;

/// Waits that do not sleep for as long as `time`, then one that may.
pub(crate) struct Spinning {
    pub(crate) time: Duration,
}

impl Waiting for AtOnce {
    #[inline(always)]
    fn wait(&self, epoll: &OwnedFd, events: &mut Vec<Event>) -> Result<(), Errno> {
        epoll::wait(epoll, spare_capacity(events), None)?;
        Ok(())
    }
}

impl Waiting for Twice {
    #[inline(always)]
    fn wait(&self, epoll: &OwnedFd, events: &mut Vec<Event>) -> Result<(), Errno> {
        if look(epoll, events)? {
            return Ok(());
        }
        AtOnce.wait(epoll, events)
    }
}

impl Waiting for Spinning {
    #[inline(always)]
    fn wait(&self, epoll: &OwnedFd, events: &mut Vec<Event>) -> Result<(), Errno> {
        // Where the first look brings events, no clock is read.
        if look(epoll, events)? {
            return Ok(());
        }
        let start = Instant::now();
        while start.elapsed() < self.time {
            if look(epoll, events)? {
                return Ok(());
            }
        }
        AtOnce.wait(epoll, events)
    }
}

/// Waits with timeout zero, and returns whether there are events.
#[inline(always)]
fn look(epoll: &OwnedFd, events: &mut Vec<Event>) -> Result<bool, Errno> {
    let count = epoll::wait(epoll, spare_capacity(events), Some(&NO_TIME))?;
    Ok(count > 0)
}
