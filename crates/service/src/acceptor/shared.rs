//! The listeners of threads that share connections. They are watched beside the connections, and whichever
//! thread is told of one accepts from it within its turn. So no more is taken in than is served, however many
//! connect.
//!
//! Several threads would all be told of a listener that is watched level-triggered, so it is one-shot then, and
//! armed again after each batch.

use super::RETRY;
use super::batch_len::{BatchLen, GROW_AFTER_MAX};
use crate::accept_rate::AcceptPermits;
use crate::client::Client;
use crate::listening::Listening;
use crate::measures::Measures;
use epoll_reactor::net::{AcceptCounters, Accepted, BatchEnd, Closing, Listener};
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Interest, Token, Watch};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) struct SharedAcceptors {
    acceptors: Vec<SharedAcceptor>,
    is_alone: bool,
}

struct SharedAcceptor {
    /// The index of its address.
    entry: usize,
    token: Token,
    /// `None` when it is closed. The thread that accepts locks it while it makes protocols and opens them. So when
    /// another thread closes the listener, every connection of the last batch is registered.
    open: Mutex<Option<Open>>,
}

struct Open {
    listener: Listener,
    batch_len: BatchLen,
    /// The beginning of the last batch, and its number by time.
    last: (Instant, u64),
    pause: Option<Pause>,
}

/// A time for which a listener is not watched. The threads that accept have no timers for its end.
struct Pause {
    resumes_at: Instant,
    /// The thread that has timers knows of it.
    is_known: bool,
}

impl SharedAcceptors {
    /// Watches the listeners for so many threads.
    pub(crate) fn start<P>(
        listeners: impl IntoIterator<Item = Listening>,
        shared: &SharedReactor<Client<P>>,
        threads: usize,
    ) -> io::Result<Self>
    where
        Client<P>: epoll_reactor::Source,
    {
        let is_alone = threads == 1;
        let acceptors = listeners.into_iter().map(|Listening { entry, listener, .. }| {
            let token = shared.watch(&listener, (), watch(is_alone))?;
            let (batch_len, last) = (BatchLen::first(), (Instant::now(), 0));
            let open = Open { listener, batch_len, last, pause: None };
            Ok(SharedAcceptor { entry, token, open: Mutex::new(Some(open)) })
        });
        Ok(Self { acceptors: acceptors.collect::<io::Result<_>>()?, is_alone })
    }

    /// Accepts connections from the listener with this token after the calling thread's wait with this number,
    /// and gives them to `serve` with the index of the listener's address. They are counted in the thread's `measures`.
    pub(crate) fn accept_batch<P>(
        &self,
        token: Token,
        wait: u64,
        mut permits: AcceptPermits<'_>,
        shared: &SharedReactor<Client<P>>,
        measures: Option<&Measures>,
        mut serve: impl FnMut(usize, Accepted),
    ) -> io::Result<()> {
        let Some(acceptor) = self.acceptors.iter().find(|one| one.token == token) else {
            return Ok(());
        };
        let mut open = acceptor.lock();
        // A report may be left of a listener that is closed, or that pauses.
        let Some(Open { listener, batch_len, last, pause: None }) = open.as_mut() else {
            return Ok(());
        };
        let before = listener.counters();
        if self.is_alone {
            batch_len.begin(Instant::now, wait, before.accepted);
        } else {
            let now = Instant::now();
            *last = (now, number_by_time(now, *last));
            batch_len.begin(|| now, last.1, before.accepted);
        }
        for accepted in listener.accept_batch().take(batch_len.len.min(permits.left())) {
            permits.use_one();
            serve(acceptor.entry, accepted);
        }
        drop(permits);
        let (end, counters) = (listener.batch_end(), listener.counters());
        batch_len.end(end, counters.accepted);
        if let Some(measures) = measures {
            measures.accept.add(before, counters);
        }
        let address = listener.address();
        if matches!(end, Some(BatchEnd::Closed)) {
            tracing::error!(%address, "listener was closed from outside; nobody can connect");
            return shared.park_watched(token, &*listener);
        }
        if self.is_alone {
            return Ok(());
        }
        shared.modify_watched(token, &*listener, watch(false)).or_else(|error| {
            tracing::warn!(%address, %error, "listener not armed; it is registered anew");
            shared.park_watched(token, &*listener)?;
            shared.unpark_watched(token, &*listener)
        })
    }

    /// Watches the listener with this token no longer for a time. The thread that has timers is to be told.
    pub(crate) fn pause<P>(
        &self,
        token: Token,
        pause: Duration,
        shared: &SharedReactor<Client<P>>,
    ) -> io::Result<()> {
        let Some(acceptor) = self.acceptors.iter().find(|one| one.token == token) else {
            return Ok(());
        };
        let mut open = acceptor.lock();
        let Some(Open { listener, pause: before @ None, .. }) = open.as_mut() else {
            return Ok(());
        };
        *before = Some(Pause { resumes_at: Instant::now() + pause, is_known: false });
        shared.park_watched(token, &*listener)
    }

    /// Watches those again whose pauses are over. Returns the times after which to call this again, each once.
    pub(crate) fn resume_due<P>(&self, shared: &SharedReactor<Client<P>>) -> Vec<Duration> {
        let now = Instant::now();
        let resume = |one: &SharedAcceptor| {
            let mut open = one.lock();
            let Open { listener, pause, .. } = open.as_mut()?;
            let of_this = pause.as_mut()?;
            if of_this.resumes_at > now {
                let is_known = std::mem::replace(&mut of_this.is_known, true);
                return (!is_known).then(|| of_this.resumes_at - now);
            }
            if let Err(error) = shared.unpark_watched(one.token, &*listener) {
                tracing::warn!(address = %listener.address(), %error, "listener not watched");
                of_this.resumes_at = now + RETRY;
                return Some(RETRY);
            }
            *pause = None;
            None
        };
        self.acceptors.iter().filter_map(resume).collect()
    }

    /// Stops watching the listeners and returns, with the index of its address, the connections that wait in the
    /// queue of each.
    pub(crate) fn close<P>(&self, shared: &SharedReactor<Client<P>>) -> Vec<(usize, Closing)> {
        let close = |one: &SharedAcceptor| {
            let Open { listener, .. } = one.lock().take()?;
            if let Err(error) = shared.unwatch(one.token, &listener) {
                tracing::warn!(%error, "listener still watched");
            }
            Some((one.entry, listener.close()))
        };
        self.acceptors.iter().filter_map(close).collect()
    }

    /// Returns the counters of the listeners that are not closed.
    pub(crate) fn counters(&self) -> AcceptCounters {
        let of_one =
            |one: &SharedAcceptor| one.lock().as_ref().map(|open| open.listener.counters());
        self.acceptors
            .iter()
            .filter_map(of_one)
            .fold(AcceptCounters::default(), |sum, one| sum + one)
    }
}

impl SharedAcceptor {
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch(is_alone: bool) -> Watch {
    if is_alone { Watch::level(Interest::IN) } else { Watch::oneshot(Interest::IN) }
}

/// Returns the number of a wait. Where any of several threads may be told of a listener, batches follow one
/// another if little time is between them.
fn number_by_time(now: Instant, (last, number): (Instant, u64)) -> u64 {
    if now - last < GROW_AFTER_MAX { number + 1 } else { number + 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_several_threads_follow_one_another_if_little_time_is_between_them() {
        let first = Instant::now();
        let next = number_by_time(first + GROW_AFTER_MAX / 2, (first, 7));
        let later = number_by_time(first + GROW_AFTER_MAX, (first, 7));
        assert_eq!(next, 8);
        assert!(later > 8, "{later}");
    }
}
