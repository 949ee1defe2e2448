//! A listener as a thread holds it: watched until it is over, paused while nothing can be accepted.
//!
//! A listener of one thread pauses by itself. Of one that several threads watch exclusively the socket is
//! watched, and a pause ends the registration. Kernel facts: (a) of the threads that watch a socket
//! exclusively the kernel always wakes the one that was registered first, as long as it waits: each thread
//! goes to the end of the line now and then; (b) an exclusive registration cannot be changed.

use crate::store::Event;
use epoll_reactor::net::{AcceptBatch, BatchEnd, Closing, Listener};
use epoll_reactor::{ExclusiveInterest, ExclusiveWatch, Interest, Reactor, Source, Token, Watch};
use std::io;
use std::time::{Duration, Instant};

/// The number of batches after which a thread goes to the end of the line for an exclusive listener.
const BATCHES_IN_FRONT: u32 = 8;
/// The time until the next attempt to watch a listener again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: Listener,
    tag: Event,
    sharing: Sharing,
    /// Its registration; `None` while an exclusive one pauses, and when the listener is over.
    token: Option<Token>,
    /// The end of an exclusive listener's pause.
    resumes_at: Option<Instant>,
    /// The number of batches since it was registered.
    batches: u32,
}

/// The threads that watch a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    Alone,
    Exclusive,
}

impl Acceptor {
    pub(crate) fn start<T: Source>(
        listener: Listener,
        tag: Event,
        sharing: Sharing,
        reactor: &mut Reactor<T, Event>,
    ) -> io::Result<Self> {
        let mut acceptor =
            Self { listener, tag, sharing, token: None, resumes_at: None, batches: 0 };
        acceptor.watch(reactor)?;
        Ok(acceptor)
    }

    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    pub(crate) fn accept_batch(&mut self) -> AcceptBatch<'_> {
        self.batches += 1;
        self.listener.accept_batch()
    }

    /// Does what the end of the last batch asks for. Returns the time after which to call
    /// [`resume_if_due`](Self::resume_if_due), if that is necessary.
    pub(crate) fn after_batch<T: Source>(
        &mut self,
        reactor: &mut Reactor<T, Event>,
    ) -> io::Result<Option<Duration>> {
        match (self.listener.batch_end(), self.sharing) {
            (Some(BatchEnd::Closed), _) => {
                if self.token.is_some() {
                    let address = self.listener.address();
                    tracing::error!(%address, "listener was closed from outside; nobody can connect");
                }
                self.unwatch(reactor)?;
                Ok(None)
            }
            (Some(BatchEnd::Paused(pause)), Sharing::Exclusive) => {
                self.unwatch(reactor)?;
                Ok(self.pause_for(pause))
            }
            (_, Sharing::Exclusive) if self.batches >= BATCHES_IN_FRONT => {
                self.unwatch(reactor)?;
                self.watch_again(reactor)
            }
            _ => Ok(None),
        }
    }

    /// Watches an exclusive listener again when its pause is over. Returns the time until the next attempt,
    /// if this one failed.
    pub(crate) fn resume_if_due<T: Source>(
        &mut self,
        reactor: &mut Reactor<T, Event>,
    ) -> io::Result<Option<Duration>> {
        if self.resumes_at.is_none_or(|end| end > Instant::now()) {
            return Ok(None);
        }
        self.resumes_at = None;
        self.watch_again(reactor)
    }

    /// Watches it no longer, and hands out what waits in its queue. Threads that share the socket keep it
    /// open, so the kernel has to be told.
    pub(crate) fn close<T: Source>(mut self, reactor: &mut Reactor<T, Event>) -> Closing {
        if let Err(error) = self.unwatch(reactor) {
            tracing::warn!(%error, "listener still watched");
        }
        self.listener.close()
    }

    fn pause_for(&mut self, pause: Duration) -> Option<Duration> {
        self.resumes_at = Some(Instant::now() + pause);
        Some(pause)
    }

    fn watch_again<T: Source>(
        &mut self,
        reactor: &mut Reactor<T, Event>,
    ) -> io::Result<Option<Duration>> {
        match self.watch(reactor) {
            Ok(()) => Ok(None),
            Err(error) => {
                tracing::warn!(address = %self.listener.address(), %error, "listener not watched");
                Ok(self.pause_for(RETRY))
            }
        }
    }

    fn watch<T: Source>(&mut self, reactor: &mut Reactor<T, Event>) -> io::Result<()> {
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

    fn unwatch<T: Source>(&mut self, reactor: &mut Reactor<T, Event>) -> io::Result<()> {
        match self.token.take() {
            Some(token) => reactor.unwatch(token, &self.listener),
            None => Ok(()),
        }
    }
}
