//! A listener as a thread holds it: watched until it is over, paused while nothing can be accepted. The listeners
//! of threads that share connections are in `acceptor/shared.rs`.
//!
//! A listener of one thread pauses by itself. Of one that several threads watch exclusively the socket is
//! watched, and a pause ends the registration. Kernel facts: (a) of the threads that watch a socket
//! exclusively the kernel always wakes the one that was registered first, as long as it waits: each thread
//! goes to the end of the line now and then; (b) an exclusive registration cannot be changed.

mod batch_len;
mod shared;

use crate::listening::{Listening, Sharing};
use crate::store::{Event, Store};
use batch_len::BatchLen;
use epoll_connection::Protocol;
use epoll_reactor::net::{AcceptCounters, Accepted, BatchEnd, Closing, Listener};
use epoll_reactor::{ExclusiveInterest, ExclusiveWatch, Interest, Reactor, Source, Token, Watch};
pub(crate) use shared::SharedAcceptors;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of batches after which a thread goes to the end of the line for an exclusive listener.
const BATCHES_IN_FRONT: u32 = 8;
/// The longest batch of accepted connections.
pub(crate) const BATCH_MAX: usize = batch_len::ACCEPT_BATCH_MAX;
/// The time until the next attempt to watch a listener again.
const RETRY: Duration = Duration::from_secs(1);

/// The listeners of a thread.
pub(crate) enum Acceptors {
    /// The thread accepts from them.
    Own(Vec<Acceptor>),
    /// The threads that share its connections accept from them; it closes them.
    Shared(Arc<SharedAcceptors>),
}

impl Acceptors {
    /// Returns those that the thread accepts from.
    pub(crate) fn own(&mut self) -> &mut [Acceptor] {
        match self {
            Self::Own(acceptors) => acceptors,
            Self::Shared(_) => &mut [],
        }
    }

    /// Watches those again whose pauses are over. Returns the times after which to call this again.
    pub(crate) fn resume_due<P: Protocol>(
        &mut self,
        store: &mut impl Store<P>,
    ) -> io::Result<Vec<Duration>> {
        match self {
            Self::Own(acceptors) => {
                let reactor = store.own();
                let pauses = acceptors.iter_mut().map(|one| one.resume_if_due(reactor));
                pauses.filter_map(Result::transpose).collect()
            }
            Self::Shared(acceptors) => {
                Ok(store.shared().map(|shared| acceptors.resume_due(shared)).unwrap_or_default())
            }
        }
    }

    /// Returns the counters of those that are not closed.
    pub(crate) fn counters(&self) -> AcceptCounters {
        match self {
            Self::Own(acceptors) => {
                let counters = acceptors.iter().map(Acceptor::counters);
                counters.fold(AcceptCounters::default(), |sum, one| sum + one)
            }
            Self::Shared(acceptors) => acceptors.counters(),
        }
    }

    /// Stops watching them and returns, with the index of its address, the connections that wait in the queue of
    /// each.
    pub(crate) fn close<P: Protocol>(
        &mut self,
        store: &mut impl Store<P>,
    ) -> Vec<(usize, Closing)> {
        match self {
            Self::Own(acceptors) => {
                let acceptors = std::mem::take(acceptors).into_iter();
                acceptors.map(|one| one.close(store.own())).collect()
            }
            Self::Shared(acceptors) => {
                store.shared().map(|shared| acceptors.close(shared)).unwrap_or_default()
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Acceptor {
    /// The index of its address.
    entry: usize,
    listener: Listener,
    tag: Event,
    sharing: Sharing,
    /// Its registration; `None` while an exclusive one pauses, and when the listener is over.
    token: Option<Token>,
    /// The end of an exclusive listener's pause.
    resumes_at: Option<Instant>,
    /// The number of batches since it was registered.
    batches: u32,
    batch_len: BatchLen,
}

impl Acceptor {
    pub(crate) fn start<T: Source>(
        listening: Listening,
        tag: Event,
        reactor: &mut Reactor<T, Event>,
    ) -> io::Result<Self> {
        let Listening { entry, listener, sharing } = listening;
        let mut acceptor = Self {
            entry,
            listener,
            tag,
            sharing,
            token: None,
            resumes_at: None,
            batches: 0,
            batch_len: BatchLen::first(),
        };
        acceptor.watch(reactor)?;
        Ok(acceptor)
    }

    /// Returns the index of its address.
    pub(crate) fn entry(&self) -> usize {
        self.entry
    }

    /// Returns the counters of its listener.
    pub(crate) fn counters(&self) -> AcceptCounters {
        self.listener.counters()
    }

    /// Accepts connections after the reactor's wait with this number, at most `max`.
    #[inline]
    pub(crate) fn accept_batch(&mut self, wait: u64, max: usize) -> impl Iterator<Item = Accepted> {
        self.batches += 1;
        self.batch_len.begin(Instant::now, wait, self.listener.counters().accepted);
        let len = self.batch_len.len.min(max);
        self.listener.accept_batch().take(len)
    }

    /// Watches the listener no longer for this time, after which to call [`resume_if_due`](Self::resume_if_due).
    pub(crate) fn pause<T: Source>(
        &mut self,
        pause: Duration,
        reactor: &mut Reactor<T, Event>,
    ) -> io::Result<()> {
        self.unwatch(reactor)?;
        self.resumes_at = Some(Instant::now() + pause);
        Ok(())
    }

    /// Does what the end of the last batch asks for. Returns the time after which to call
    /// [`resume_if_due`](Self::resume_if_due), if that is necessary.
    pub(crate) fn after_batch<T: Source>(
        &mut self,
        reactor: &mut Reactor<T, Event>,
    ) -> io::Result<Option<Duration>> {
        let end = self.listener.batch_end();
        self.batch_len.end(end, self.listener.counters().accepted);
        match (end, self.sharing) {
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
    fn close<T: Source>(mut self, reactor: &mut Reactor<T, Event>) -> (usize, Closing) {
        if let Err(error) = self.unwatch(reactor) {
            tracing::warn!(%error, "listener still watched");
        }
        (self.entry, self.listener.close())
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

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_reactor::NoSource;
    use epoll_reactor::net::{ListenOptions, PausedBy};

    fn exclusive(reactor: &mut Reactor<NoSource, Event>) -> Acceptor {
        let options = ListenOptions { paused_by: PausedBy::Owner, ..ListenOptions::default() };
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let listening = Listening { entry: 0, listener, sharing: Sharing::Exclusive };
        Acceptor::start(listening, Event::Accept(0), reactor).unwrap()
    }

    #[test]
    fn an_exclusive_one_is_registered_anew_after_a_number_of_batches() {
        let mut reactor = Reactor::new().unwrap();
        let mut acceptor = exclusive(&mut reactor);
        for batch in 1..=3 * BATCHES_IN_FRONT {
            let before = acceptor.token.expect("it is watched");
            assert_eq!(acceptor.accept_batch(batch.into(), usize::MAX).count(), 0);
            assert_eq!(acceptor.after_batch(&mut reactor).unwrap(), None);
            let is_at_the_end = acceptor.token != Some(before);
            assert_eq!(is_at_the_end, batch % BATCHES_IN_FRONT == 0, "after {batch} batches");
        }
        assert_eq!(reactor.counters().dels, 3);
    }

    #[test]
    fn an_exclusive_one_that_pauses_is_watched_again_when_the_pause_is_over() {
        let mut reactor = Reactor::new().unwrap();
        let mut acceptor = exclusive(&mut reactor);
        assert_eq!(acceptor.resume_if_due(&mut reactor).unwrap(), None);
        let adds = reactor.counters().adds;
        acceptor.unwatch(&mut reactor).unwrap();
        assert_eq!(acceptor.pause_for(Duration::from_secs(600)), Some(Duration::from_secs(600)));
        assert_eq!(acceptor.resume_if_due(&mut reactor).unwrap(), None);
        assert_eq!((acceptor.token, reactor.counters().adds), (None, adds));
        acceptor.pause_for(Duration::ZERO);
        assert_eq!(acceptor.resume_if_due(&mut reactor).unwrap(), None);
        assert!(acceptor.token.is_some());
        // Once.
        assert_eq!(acceptor.resume_if_due(&mut reactor).unwrap(), None);
        assert_eq!(reactor.counters().adds, adds + 1);
    }
}
