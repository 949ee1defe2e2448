//! Event loops that can be woken.

use super::Wakeable;
use epoll_reactor::{Reactor, Ready};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::{Errno, write};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An eventfd, edge-triggered and never read, so each write is an event.
pub(crate) struct Floor {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// Keeps the number of the descriptor from being another's.
    _eventfd: Arc<OwnedFd>,
}

impl Wakeable for Floor {
    type Waker = Arc<OwnedFd>;

    fn new() -> io::Result<(Self, Self::Waker)> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let eventfd = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &eventfd, EventData::new_u64(0), flags)?;
        let events = Vec::with_capacity(1);
        Ok((Self { epoll, events, _eventfd: Arc::clone(&eventfd) }, eventfd))
    }

    #[inline]
    fn wake(eventfd: &Self::Waker) -> io::Result<()> {
        write(eventfd, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(count) => Ok(count == 1),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The reactor of this project.
pub(crate) struct Ours {
    reactor: Reactor<OwnedFd>,
}

impl Wakeable for Ours {
    type Waker = epoll_reactor::Waker;

    fn new() -> io::Result<(Self, Self::Waker)> {
        let reactor = Reactor::new()?;
        let waker = reactor.waker();
        Ok((Self { reactor }, waker))
    }

    #[inline]
    fn wake(waker: &Self::Waker) -> io::Result<()> {
        waker.wake()
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        self.reactor.wait(Some(timeout))?;
        Ok(matches!(self.reactor.next_ready(), Some(Ready::Woken)))
    }
}

/// mio, which writes for every wake.
pub(crate) struct Mio {
    poll: mio::Poll,
    events: mio::Events,
}

impl Wakeable for Mio {
    type Waker = mio::Waker;

    fn new() -> io::Result<(Self, Self::Waker)> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), mio::Token(0))?;
        Ok((Self { poll, events: mio::Events::with_capacity(1) }, waker))
    }

    #[inline]
    fn wake(waker: &Self::Waker) -> io::Result<()> {
        waker.wake()
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => Ok(!self.events.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// polling, whose waits do not say why they have ended.
pub(crate) struct Polling {
    poller: Arc<polling::Poller>,
    events: polling::Events,
}

impl Wakeable for Polling {
    type Waker = Arc<polling::Poller>;

    fn new() -> io::Result<(Self, Self::Waker)> {
        let poller = Arc::new(polling::Poller::new()?);
        Ok((Self { poller: Arc::clone(&poller), events: polling::Events::new() }, poller))
    }

    #[inline]
    fn wake(poller: &Self::Waker) -> io::Result<()> {
        poller.notify()
    }

    /// Compares the time that has passed with the timeout. No source is watched, so a wait that ends early
    /// was woken. With a timeout of zero this cannot be told.
    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        self.events.clear();
        let start = Instant::now();
        self.poller.wait(&mut self.events, Some(timeout))?;
        Ok(start.elapsed() < timeout)
    }
}
