//! A listener as a thread holds it: watched, or left alone for a while because descriptors ran out.
//!
//! Kernel facts: (a) of threads that watch one listener exclusively the kernel wakes the one that came
//! first, always, as long as it waits: each takes its turn at the end of the line now and then; (b) an
//! exclusive registration cannot be changed, so a pause ends it. Any other stays registered meanwhile, for
//! no event: to register it anew takes memory, which may be what is wanting.

use crate::client::Client;
use crate::worker::Service;
use epoll_reactor::net::{AcceptBatch, Listener};
use epoll_reactor::{ExclusiveInterest, ExclusiveWatch, Interest, Reactor, Token, Watch};
use std::io;
use std::time::{Duration, Instant};

/// After how many batches a thread goes to the end of the line for an exclusive listener.
const BATCHES_IN_FRONT: u32 = 8;
/// How long to wait when a listener could not be watched again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Listening {
    listener: Listener,
    tag: Service,
    sharing: Sharing,
    /// Its registration; `None` while an exclusive one pauses.
    token: Option<Token>,
    resumes_at: Option<Instant>,
    /// How many batches it took since it was registered.
    batches: u32,
}

/// Whether other threads watch the same queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    Alone,
    Exclusive,
}

type Loop = Reactor<Client, Service>;

impl Listening {
    pub(crate) fn start(
        listener: Listener,
        tag: Service,
        sharing: Sharing,
        reactor: &mut Loop,
    ) -> io::Result<Self> {
        let mut listening =
            Self { listener, tag, sharing, token: None, resumes_at: None, batches: 0 };
        listening.watch(reactor)?;
        Ok(listening)
    }

    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    pub(crate) fn accept_batch(&mut self) -> AcceptBatch<'_> {
        self.batches += 1;
        self.listener.accept_batch()
    }

    /// Leaves the listener alone if its last batch asked for that, for the time that comes back.
    pub(crate) fn after_batch(&mut self, reactor: &mut Loop) -> io::Result<Option<Duration>> {
        if let Some(pause) = self.listener.pause() {
            match self.sharing {
                Sharing::Alone => self.watch_for(Interest::empty(), reactor)?,
                Sharing::Exclusive => self.unwatch(reactor)?,
            }
            return Ok(self.pause_for(pause));
        }
        if self.sharing == Sharing::Exclusive && self.batches >= BATCHES_IN_FRONT {
            self.unwatch(reactor)?;
            return self.watch_again(reactor);
        }
        Ok(None)
    }

    /// Goes on with the listener when its pause is over; another pause, if that failed.
    pub(crate) fn resume_if_due(&mut self, reactor: &mut Loop) -> io::Result<Option<Duration>> {
        if self.resumes_at.is_none_or(|end| end > Instant::now()) {
            return Ok(None);
        }
        self.resumes_at = None;
        match self.sharing {
            Sharing::Alone => self.watch_for(Interest::IN, reactor).map(|()| None),
            Sharing::Exclusive => self.watch_again(reactor),
        }
    }

    /// Closes it. Threads that share the socket keep it open, so the kernel has to be told.
    pub(crate) fn end(mut self, reactor: &mut Loop) -> io::Result<()> {
        self.unwatch(reactor)
    }

    fn pause_for(&mut self, pause: Duration) -> Option<Duration> {
        self.resumes_at = Some(Instant::now() + pause);
        Some(pause)
    }

    fn watch_again(&mut self, reactor: &mut Loop) -> io::Result<Option<Duration>> {
        match self.watch(reactor) {
            Ok(()) => Ok(None),
            Err(error) => {
                tracing::warn!(address = %self.listener.address(), %error, "listener not watched");
                Ok(self.pause_for(RETRY))
            }
        }
    }

    fn watch(&mut self, reactor: &mut Loop) -> io::Result<()> {
        let token = match self.sharing {
            Sharing::Alone => {
                reactor.watch(&self.listener, self.tag, Watch::level(Interest::IN))?
            }
            Sharing::Exclusive => {
                let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
                reactor.watch_exclusive(&self.listener, self.tag, watch)?
            }
        };
        self.token = Some(token);
        self.batches = 0;
        Ok(())
    }

    fn unwatch(&mut self, reactor: &mut Loop) -> io::Result<()> {
        match self.token.take() {
            Some(token) => reactor.unwatch(token, &self.listener),
            None => Ok(()),
        }
    }

    fn watch_for(&self, interest: Interest, reactor: &mut Loop) -> io::Result<()> {
        match self.token {
            Some(token) => reactor.modify_watched(token, &self.listener, Watch::level(interest)),
            None => Ok(()),
        }
    }
}
