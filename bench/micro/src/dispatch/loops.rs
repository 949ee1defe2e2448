//! The loops that watch a chain.

use super::{Baton, Chain, Loop};
use crate::EVENTS_MAX;
use calloop::generic::Generic;
use calloop::{EventLoop, Interest, Mode, PostAction};
use epoll_reactor::{Reactor, Ready, Source, Watch};
use mio::unix::SourceFd;
use polling::{Events, Poller};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `epoll_wait` and nothing else. Edge-triggered or not.
pub(crate) struct Floor<const EDGE: bool> {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl<'a, const EDGE: bool> Loop<'a> for Floor<EDGE> {
    fn new(chain: &'a Chain) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = if EDGE { EventFlags::IN | EventFlags::ET } else { EventFlags::IN };
        for (index, reader) in chain.readers().enumerate() {
            epoll::add(&epoll, reader, EventData::new_u64(index as u64), flags)?;
        }
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    fn run(&mut self, baton: &mut Baton<'a>) -> io::Result<()> {
        while !baton.is_done() {
            self.events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &self.events {
                baton.hand_on(usize::try_from(event.data.u64()).unwrap_or(usize::MAX))?;
            }
        }
        Ok(())
    }
}

/// The reactor of this project. Edge-triggered or not.
pub(crate) struct Ours<'a, const EDGE: bool> {
    reactor: Reactor<Reader<'a>>,
}

struct Reader<'a> {
    fd: BorrowedFd<'a>,
    index: usize,
}

impl AsFd for Reader<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

impl Source for Reader<'_> {
    fn is_nonblocking(&self) -> bool {
        true
    }
}

impl<'a, const EDGE: bool> Loop<'a> for Ours<'a, EDGE> {
    fn new(chain: &'a Chain) -> io::Result<Self> {
        let mut reactor = Reactor::with_batch_max(EVENTS_MAX)?;
        let interest = epoll_reactor::Interest::IN;
        let watch = if EDGE { Watch::edge(interest) } else { Watch::level(interest) };
        for (index, reader) in chain.readers().enumerate() {
            reactor.insert(Reader { fd: reader.as_fd(), index }, watch)?;
        }
        Ok(Self { reactor })
    }

    fn run(&mut self, baton: &mut Baton<'a>) -> io::Result<()> {
        while !baton.is_done() {
            self.reactor.wait(None)?;
            while let Some(ready) = self.reactor.next_ready() {
                if let Ready::Owned { source, .. } = ready {
                    baton.hand_on(source.index)?;
                }
            }
        }
        Ok(())
    }
}

/// mio, which knows edges alone.
pub(crate) struct Mio {
    poll: mio::Poll,
    events: mio::Events,
}

impl<'a> Loop<'a> for Mio {
    fn new(chain: &'a Chain) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        for (index, reader) in chain.readers().enumerate() {
            let mut source = SourceFd(&reader.as_raw_fd());
            poll.registry().register(&mut source, mio::Token(index), mio::Interest::READABLE)?;
        }
        Ok(Self { poll, events: mio::Events::with_capacity(EVENTS_MAX) })
    }

    fn run(&mut self, baton: &mut Baton<'a>) -> io::Result<()> {
        while !baton.is_done() {
            match self.poll.poll(&mut self.events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done?,
            }
            for event in &self.events {
                baton.hand_on(event.token().0)?;
            }
        }
        Ok(())
    }
}

/// polling, level-triggered.
pub(crate) struct Polling {
    poller: Poller,
    events: Events,
}

impl<'a> Loop<'a> for Polling {
    fn new(chain: &'a Chain) -> io::Result<Self> {
        let poller = Poller::new()?;
        // What its own call, an unsafe one, asks of the kernel.
        let flags = EventFlags::IN | EventFlags::PRI;
        for (index, reader) in chain.readers().enumerate() {
            epoll::add(&poller, reader, EventData::new_u64(index as u64), flags)?;
        }
        let events = NonZeroUsize::new(EVENTS_MAX).map_or_else(Events::new, Events::with_capacity);
        Ok(Self { poller, events })
    }

    fn run(&mut self, baton: &mut Baton<'a>) -> io::Result<()> {
        while !baton.is_done() {
            self.events.clear();
            self.poller.wait(&mut self.events, None)?;
            for event in self.events.iter() {
                baton.hand_on(event.key)?;
            }
        }
        Ok(())
    }
}

/// calloop, level-triggered.
pub(crate) struct Calloop<'a> {
    event_loop: EventLoop<'a, Baton<'a>>,
}

impl<'a> Loop<'a> for Calloop<'a> {
    fn new(chain: &'a Chain) -> io::Result<Self> {
        let event_loop = EventLoop::try_new()?;
        for (index, reader) in chain.readers().enumerate() {
            let source = Generic::new(reader.as_fd(), Interest::READ, Mode::Level);
            let hand_on = move |_, _: &mut _, baton: &mut Baton<'a>| {
                baton.hand_on(index)?;
                Ok(PostAction::Continue)
            };
            let inserted = event_loop.handle().insert_source(source, hand_on);
            inserted.map_err(|error| io::Error::other(error.error))?;
        }
        Ok(Self { event_loop })
    }

    fn run(&mut self, baton: &mut Baton<'a>) -> io::Result<()> {
        while !baton.is_done() {
            self.event_loop.dispatch(None, baton).map_err(io::Error::other)?;
        }
        Ok(())
    }
}
