//! The part of a shared reactor that each thread has for itself: its batch, and the leases that it gets.
//!
//! Kernel fact: an event can wake a thread that has nothing to do. Its source may be in use, and then the
//! holder serves it; or its registration has ended. So a wait goes on until there is a report for this
//! thread.

use crate::shared::counters::WorkerCounters;
use crate::shared::lease::{Holder, Lease};
use crate::shared::ownership::{Claim, Deferral, Pending};
use crate::shared::table::{INDEX_END, Slot};
use crate::shared::watched::Report;
use crate::shared::{REPLACED, STOP, SharedReactor, WAKER};
use crate::slots::Generation;
use crate::token::unpack;
use crate::{Counters, Source, Token};
use epoll_sys::{Events, Readiness, Timestamp};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The most events that one wait of a [`Worker`] takes, unless
/// [`SharedReactor::worker_with_batch_max`] says otherwise.
pub const WORKER_BATCH_MAX: usize = 4;

/// One thread that waits for a [`SharedReactor`].
///
/// Each thread creates its own ([`SharedReactor::worker`]). If a worker is dropped, the reports that it has
/// fetched and not handed out go to the other threads. For a level-triggered descriptor this can produce
/// one extra report.
pub struct Worker<'a, T: Source, S: Copy = ()> {
    shared: &'a SharedReactor<T, S>,
    events: Events,
    /// The number of `events` that have been handed out.
    handed_out: usize,
    /// The number of sources in the queue that belong to this turn.
    queued_due: usize,
    /// The first of them, once a wait has ended for it.
    taken: Option<(Token, Pending)>,
    /// The slot of the next event, if the wait has looked it up.
    peeked: Option<&'a Slot<T>>,
    counters: Arc<WorkerCounters>,
}

/// One report of [`Worker::next_ready`].
#[derive(Debug)]
pub enum LeaseReady<'a, T: Source, S = ()> {
    /// A source that the reactor owns, for this thread alone.
    Owned(Lease<'a, T, S>),
    /// A descriptor that lives elsewhere.
    Watched {
        /// The name of its registration.
        token: Token,
        /// The tag under which it was registered.
        tag: S,
        /// The events that the kernel reported.
        readiness: Readiness,
    },
    /// A [`Waker`](crate::Waker) of this reactor was used; or the reactor has woken a thread for a source
    /// that is handed out again, such as one that is to be closed. Its lease is a report of its own.
    Woken,
}

impl<'a, T: Source, S: Copy> Worker<'a, T, S> {
    pub(crate) fn new(shared: &'a SharedReactor<T, S>, batch_max: usize) -> Self {
        Self {
            shared,
            events: Events::with_capacity(batch_max),
            handed_out: 0,
            queued_due: 0,
            taken: None,
            peeked: None,
            counters: shared.counters.add_worker(),
        }
    }

    /// Waits until there is a report for this thread, or `timeout` is over; `None` waits without end, zero
    /// only looks. Returns `false` if the reactor was [stopped](SharedReactor::stop): the thread should
    /// end.
    ///
    /// It returns at once while reports of the last batch have not been handed out, and does not sleep
    /// while a source is to be handed out again. Neither a signal handler that runs meanwhile nor an event
    /// of a source that another thread holds ends the wait or moves its end.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a wait that the kernel refuses.
    #[inline]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        // A deadline beyond the clock's end is none.
        self.wait_until(timeout.and_then(|timeout| Timestamp::now().checked_add(timeout)))
    }

    /// Like [`wait`](Self::wait), until `deadline` at the latest; `None` waits without end. A deadline
    /// that has passed only looks.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::Timestamp;
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use std::time::Duration;
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let mut worker = reactor.worker();
    /// let deadline = Timestamp::now() + Duration::from_millis(5);
    /// assert!(worker.wait_until(Some(deadline))?, "it was not stopped");
    /// assert!(worker.next_ready().is_none() && Timestamp::now() >= deadline);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn wait_until(&mut self, deadline: Option<Timestamp>) -> io::Result<bool> {
        // A wait can end early: a signal's handler ran, or the kernel counts milliseconds in an int.
        let mut is_complete = false;
        loop {
            if self.has_report() || self.shared.is_stopped() {
                // The descriptor stays readable, so that an outer loop comes back if this batch is left early.
                self.shared.signal_if_nested();
                return Ok(!self.shared.is_stopped());
            }
            if is_complete && deadline.is_some_and(|end| end <= Timestamp::now()) {
                return Ok(true);
            }
            // The sources that are queued now belong to this turn. Those that its leases queue come in the
            // next one, after a fetch, so that a source that is revisited for ever starves no other.
            self.queued_due = self.shared.queued.load(Ordering::Acquire);
            let timeout = match deadline {
                _ if self.queued_due > 0 => Some(Duration::ZERO),
                deadline => deadline.map(|end| end - Timestamp::now()),
            };
            is_complete = self.fetch(timeout)?;
            // Interrupted, it did not look at the kernel, which comes before the queue.
            while !is_complete && self.queued_due > 0 {
                is_complete = self.fetch(timeout)?;
            }
        }
    }

    /// Skips events up to the first that is for this thread. Returns `false` if there is none, and no
    /// source in the queue.
    #[inline]
    fn has_report(&mut self) -> bool {
        while let Some(event) = self.events.get(self.handed_out) {
            if self.is_own(event.data, event.readiness) {
                return true;
            }
            // The slot belongs to the event that is skipped now, if an earlier look has found it free.
            (self.handed_out, self.peeked) = (self.handed_out + 1, None);
        }
        self.queued_due > 0 && self.take_queued()
    }

    /// Takes the first source of the queue, so that no other worker takes it before it is handed out.
    /// Returns `false` if others have emptied the queue: the wait then goes on.
    #[cold]
    fn take_queued(&mut self) -> bool {
        if self.taken.is_none() {
            self.taken = self.shared.dequeue();
        }
        if self.taken.is_none() {
            self.queued_due = 0;
        }
        self.taken.is_some()
    }

    /// Returns whether an event is for this thread. If its source is in use, leaves it to the holder.
    #[inline]
    fn is_own(&mut self, data: u64, readiness: Readiness) -> bool {
        let (index, generation) = unpack(data);
        if generation == 0 || index >= INDEX_END {
            return match self.elsewhere(data) {
                Elsewhere::Waker => self.shared.waker.is_pending(),
                Elsewhere::Watched(..) => true,
                Elsewhere::Nothing => false,
                Elsewhere::Gone => {
                    self.drop_stale(data);
                    false
                }
            };
        }
        let shared: &'a SharedReactor<T, S> = self.shared;
        let Some(slot) = shared.table.slot(index) else { return false };
        // Looked at, not claimed: a claim in the wait would hold the source although its report is handed
        // out later, after whatever the caller does in between, or never, if the worker is dropped.
        // `next_ready` claims it. If the source is in use, this already leaves the event to its holder, and
        // the wait goes on.
        match slot.ownership.defer(generation, Pending::ready(readiness)) {
            Deferral::Idle => {
                self.peeked = Some(slot);
                true
            }
            Deferral::Deferred => false,
            // Fetched before the source was parked. Unparking polls it again.
            Deferral::Parked => false,
            Deferral::Gone => {
                self.drop_stale(data);
                false
            }
        }
    }

    /// Makes one `epoll_wait`. Returns `false` when a signal's handler interrupted it.
    #[inline]
    fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        (self.handed_out, self.peeked) = (0, None);
        WorkerCounters::add(&self.counters.waits, 1);
        match self.shared.epoll.wait(&mut self.events, timeout) {
            Ok(count) => {
                let count = count as u64;
                WorkerCounters::add(&self.counters.events, count);
                self.counters.raise_batch_max(count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the next report of this turn, or `None` when all have been handed out.
    ///
    /// First comes the batch in the kernel's order, then sources that are handed out again, whichever
    /// thread had them before. A report borrows the worker, so a worker has one lease at a time.
    #[inline]
    pub fn next_ready(&mut self) -> Option<LeaseReady<'_, T, S>> {
        match self.find()? {
            Found::Owned(slot, token, pending) => {
                let lease = Lease::new(self.shared, slot, token, pending, Holder::Worker);
                Some(LeaseReady::Owned(lease))
            }
            Found::Watched { token, tag, readiness } => {
                Some(LeaseReady::Watched { token, tag, readiness })
            }
            Found::Woken => Some(LeaseReady::Woken),
        }
    }

    /// Claims the next report of this turn.
    #[inline]
    fn find(&mut self) -> Option<Found<'a, T, S>> {
        while let Some(event) = self.events.get(self.handed_out) {
            self.handed_out += 1;
            let (index, generation) = unpack(event.data);
            let found = if generation == 0 || index >= INDEX_END {
                self.find_elsewhere(event.data, event.readiness)
            } else {
                self.find_owned(index, generation, Pending::ready(event.readiness))
            };
            if found.is_some() {
                return found;
            }
        }
        if self.queued_due == 0 { None } else { self.find_queued() }
    }

    #[cold]
    fn find_queued(&mut self) -> Option<Found<'a, T, S>> {
        while self.queued_due > 0 {
            self.queued_due -= 1;
            let queued = self.taken.take().or_else(|| self.shared.dequeue());
            let Some((token, pending)) = queued else { break };
            WorkerCounters::add(&self.counters.revisits, 1);
            let found = if token.index() >= INDEX_END {
                // Left by a worker that was dropped.
                self.find_elsewhere(token.data(), pending.readiness())
            } else {
                self.shared.table.slot(token.index()).and_then(|slot| {
                    // Requests usually come out of the release. A source that is revisited again and again
                    // is never released, and its holder would not learn that it is to be closed.
                    let pending = pending.and(slot.ownership.take_pending());
                    self.found(slot, token, pending)
                })
            };
            if found.is_some() {
                return found;
            }
        }
        self.queued_due = 0;
        None
    }

    /// Claims a source, if there is one by this name and no other thread holds it.
    #[inline]
    fn find_owned(
        &mut self,
        index: u32,
        generation: u32,
        pending: Pending,
    ) -> Option<Found<'a, T, S>> {
        let shared: &'a SharedReactor<T, S> = self.shared;
        let slot = match self.peeked.take() {
            Some(peeked) => peeked,
            None => shared.table.slot(index)?,
        };
        match slot.ownership.claim(generation, pending) {
            Claim::Held(generation) => {
                self.found(slot, Token::new(shared.id, index, generation), pending)
            }
            Claim::Deferred => None,
            Claim::Gone => {
                self.drop_stale(u64::from(generation) << 32 | u64::from(index));
                None
            }
        }
    }

    /// Returns the report of a source that this thread holds. If it is parked and there is no request,
    /// releases it and returns `None`.
    #[inline]
    fn found(&self, slot: &'a Slot<T>, token: Token, pending: Pending) -> Option<Found<'a, T, S>> {
        if !slot.ownership.is_parked() {
            return Some(Found::Owned(slot, token, pending));
        }
        if pending.has(Pending::REVISIT) {
            return Some(Found::Owned(slot, token, pending));
        }
        // Fetched before the source was parked. Unparking polls it again.
        let pending = pending.without_readiness();
        if pending.is_request() {
            return Some(Found::Owned(slot, token, pending));
        }
        drop(Lease::new(self.shared, slot, token, pending, Holder::Worker));
        None
    }

    /// Returns the report of an event that is not about an owned source.
    #[cold]
    fn find_elsewhere(&self, data: u64, readiness: Readiness) -> Option<Found<'a, T, S>> {
        match self.elsewhere(data) {
            Elsewhere::Nothing => None,
            Elsewhere::Waker => {
                // Cleared before the wake is reported: a thread that wakes from now on writes again.
                let is_wake = self.shared.waker.take();
                WorkerCounters::add(&self.counters.wakes, u64::from(is_wake));
                is_wake.then_some(Found::Woken)
            }
            Elsewhere::Watched(token, tag) => Some(Found::Watched { token, tag, readiness }),
            Elsewhere::Gone => {
                self.drop_stale(data);
                None
            }
        }
    }

    #[cold]
    fn elsewhere(&self, data: u64) -> Elsewhere<S> {
        let (index, generation) = unpack(data);
        match data {
            WAKER => Elsewhere::Waker,
            STOP | REPLACED => Elsewhere::Nothing,
            _ => match self.shared.watched.tag(index, generation) {
                Some(Report::Ready(tag, generation)) => {
                    let token = Token::new(self.shared.id, index, generation);
                    Elsewhere::Watched(token, tag)
                }
                Some(Report::Parked) => Elsewhere::Nothing,
                None => Elsewhere::Gone,
            },
        }
    }

    #[cold]
    fn drop_stale(&self, data: u64) {
        WorkerCounters::add(&self.counters.stale, 1);
        crate::log::trace!("stale event dropped", data);
        self.shared.on_stale_event(data);
    }

    /// Returns what this thread has done so far. Calls of `epoll_ctl` are counted for all threads
    /// together and are zero here: see [`SharedReactor::counters`].
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.read()
    }
}

/// The subject of an event that is not about an owned source.
enum Elsewhere<S> {
    Waker,
    Watched(Token, S),
    /// Nothing is to be reported.
    Nothing,
    /// The registration has ended.
    Gone,
}

/// A report that is this thread's.
enum Found<'a, T, S> {
    /// The source is held, and not leased yet.
    Owned(&'a Slot<T>, Token, Pending),
    Watched {
        token: Token,
        tag: S,
        readiness: Readiness,
    },
    Woken,
}

impl<T: Source, S: Copy> Drop for Worker<'_, T, S> {
    fn drop(&mut self) {
        // Taken from the queue for a report that is not handed out.
        if let Some((token, pending)) = self.taken.take() {
            self.shared.requeue(token, pending);
        }
        // Edges and one-shot reports come once, so the events that are left have to reach another thread.
        while let Some(event) = self.events.get(self.handed_out) {
            self.handed_out += 1;
            let (index, generation) = unpack(event.data);
            let pending = Pending::ready(event.readiness);
            if event.data == WAKER {
                if self.shared.waker.take() {
                    // Another thread reports it. Ignored: an error leaves the flag clear, so the next wake
                    // writes again.
                    let _ = self.shared.waker.wake();
                }
            } else if index >= INDEX_END {
                let Some(generation) = Generation::new(generation) else { continue };
                // Its registration is looked up when it is handed out.
                let token = Token::new(self.shared.id, index, generation);
                self.shared.requeue(token, pending);
            } else if generation != 0 {
                // Claimed, as for a report: the source stays held while it is in the queue.
                if let Some(Found::Owned(_, token, pending)) =
                    self.find_owned(index, generation, pending)
                {
                    self.shared.requeue(token, pending);
                }
            }
        }
        if self.shared.queued.load(Ordering::Acquire) > 0 {
            // Ignored, as above: the sources stay in the queue, where the next wait finds them.
            let _ = self.shared.waker.wake();
        }
        self.shared.counters.retire(&self.counters);
    }
}

impl<T: Source, S: Copy> fmt::Debug for Worker<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
