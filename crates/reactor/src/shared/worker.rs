//! The part of a shared reactor that each thread has for itself: its batch, and the leases that it gets.
//!
//! Kernel fact: an event can wake a thread that has nothing to do. Its source may be in use, and then the
//! holder serves it; or its registration has ended. So a wait goes on until there is a report for this
//! thread.

use crate::shared::counters::WorkerCounters;
use crate::shared::lease::{Holder, Lease, Plan};
use crate::shared::ownership::{Claim, Deferral, Pending};
use crate::shared::table::{HeldSlot, INDEX_END, Slot};
use crate::shared::watched::Report;
use crate::shared::{REPLACED, STOP, SharedReactor, WAKER};
use crate::slots::Generation;
use crate::token::unpack;
use crate::{Counters, Source, Token, busy_polling};
use epoll_sys::{Event, Events, Readiness, Timestamp};
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
    /// The slot of the next event, if the wait has looked it up; `None` when all have been handed out.
    peeked: Option<&'a Slot<T>>,
    /// The number of waits before the last source of the queue was handed out.
    queued_at: Option<u64>,
    /// `true` if it was busy before a wait that only looked.
    is_busy: bool,
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
            queued_at: None,
            is_busy: false,
            counters: shared.counters.0.add_worker(),
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
    // In line: what is left of it is the system call and a few comparisons.
    #[inline(always)]
    pub fn wait_until(&mut self, deadline: Option<Timestamp>) -> io::Result<bool> {
        if deadline.is_none() && self.is_handed_out() && self.shared.attention.is_none() {
            self.fetch(None)?;
            if self.has_free_source() && self.shared.attention.is_none() {
                return Ok(true);
            }
            // What it was woken for may be in the queue by now, and need not wait for another fetch.
            self.queued_due = self.shared.attention.queued();
        }
        self.wait_with_care(deadline)
    }

    /// Returns whether nothing is left of this turn.
    #[inline]
    fn is_handed_out(&self) -> bool {
        // In one comparison. It is never beyond the end.
        self.events.len().wrapping_sub(self.handed_out) | self.queued_due == 0
    }

    /// Returns whether the next event is that of a source that no thread holds.
    #[inline]
    fn has_free_source(&mut self) -> bool {
        let Some(event) = self.events.get(self.handed_out) else { return false };
        let shared: &'a SharedReactor<T, S> = self.shared;
        // Looked at, not claimed: a claim in the wait would hold the source although its report is handed
        // out later, after whatever the caller does in between, or never, if the worker is dropped.
        // `next_ready` claims it.
        self.peeked =
            shared.table.slot(unpack(event.data).0).filter(|slot| slot.is_idle(event.data));
        self.peeked.is_some()
    }

    /// Waits, whatever there is besides the kernel.
    #[cold]
    #[inline(never)]
    fn wait_with_care(&mut self, deadline: Option<Timestamp>) -> io::Result<bool> {
        // A wait can end early: a signal's handler ran, or the kernel counts milliseconds in an int.
        let mut is_complete = false;
        loop {
            if self.has_report() {
                // The descriptor stays readable, so that an outer loop comes back if this batch is left early.
                self.shared.signal_if_nested();
                return Ok(!self.shared.is_stopped());
            }
            if self.shared.attention.has_flags() {
                if self.shared.is_stopped() {
                    self.shared.signal_if_nested();
                    return Ok(false);
                }
                if self.spin(deadline)? {
                    continue;
                }
            }
            if is_complete && deadline.is_some_and(|end| end <= Timestamp::now()) {
                return Ok(true);
            }
            // The sources that are queued now belong to this turn. Those that its leases queue come in the
            // next one, after a fetch, so that a source that is revisited for ever starves no other.
            self.queued_due = self.shared.attention.queued();
            is_complete = self.fetch_with_care(deadline)?;
            // What it was woken for may be in the queue by now, and need not wait for another fetch.
            self.queued_due = self.shared.attention.queued();
        }
    }

    /// Skips events up to the first that is for this thread. Returns `false` if there is none, and no
    /// source in the queue.
    fn has_report(&mut self) -> bool {
        while let Some(event) = self.events.get(self.handed_out) {
            if self.has_free_source() || self.is_own(event) {
                return true;
            }
            self.handed_out += 1;
        }
        self.queued_due > 0 && self.take_queued()
    }

    /// Takes the first source of the queue, so that no other worker takes it before it is handed out.
    /// Returns `false` if others have emptied the queue: the wait then goes on.
    fn take_queued(&mut self) -> bool {
        if self.taken.is_none() {
            self.taken = self.shared.dequeue();
        }
        if self.taken.is_none() {
            self.queued_due = 0;
        }
        self.taken.is_some()
    }

    /// Returns whether an event is for this thread that is not simply that of a free source. If its source is in
    /// use, this already leaves the event to its holder, and the wait goes on.
    fn is_own(&self, event: Event) -> bool {
        let (index, generation) = unpack(event.data);
        if generation == 0 || index >= INDEX_END {
            return match self.elsewhere(event.data) {
                Elsewhere::Waker => self.shared.waker.is_pending(),
                Elsewhere::Watched(..) => true,
                Elsewhere::Nothing => false,
                Elsewhere::Gone => {
                    self.drop_stale(event.data);
                    false
                }
            };
        }
        let Some(slot) = self.shared.table.slot(index) else { return false };
        match slot.defer(generation, Pending::ready(event.readiness)) {
            Deferral::Idle => true,
            Deferral::Deferred => false,
            // Fetched before the source was parked. Unparking polls it again.
            Deferral::Parked => false,
            Deferral::Gone => {
                self.drop_stale(event.data);
                false
            }
        }
    }

    /// Makes a wait that has a deadline, or that is for sources in the queue. Returns `false` when a signal's
    /// handler interrupted it.
    fn fetch_with_care(&mut self, deadline: Option<Timestamp>) -> io::Result<bool> {
        let timeout = match deadline {
            _ if self.queued_due > 0 => Some(Duration::ZERO),
            deadline => deadline.map(|end| end - Timestamp::now()),
        };
        loop {
            let is_complete = self.fetch(timeout)?;
            // Interrupted, it did not look at the kernel, which comes before the queue.
            if is_complete || self.queued_due == 0 {
                return Ok(is_complete);
            }
        }
    }

    /// Looks until something comes, or the time to look is over. Returns whether something has come; what another
    /// thread takes first does not end it.
    #[cold]
    #[inline(never)]
    fn spin(&mut self, deadline: Option<Timestamp>) -> io::Result<bool> {
        let is_busy = std::mem::take(&mut self.is_busy) || self.was_busy();
        let Some(time) = self.shared.busy_polling.filter(|_| is_busy) else { return Ok(false) };
        let begun = Timestamp::now();
        let mut now = begun;
        let end = busy_polling::end(now, time, deadline);
        while end.is_none_or(|end| now < end) {
            self.queued_due = self.shared.attention.queued();
            WorkerCounters::add(&self.counters.spins, 1);
            // Interrupted, it did not look at the kernel, which comes before the queue.
            let is_complete = self.fetch(Some(Duration::ZERO))?;
            if is_complete && (self.has_report() || self.shared.is_stopped()) {
                return Ok(true);
            }
            now = Timestamp::now();
        }
        // A wait that only looks, between two parts of a turn, says nothing about what follows.
        self.is_busy = deadline.is_some_and(|deadline| deadline <= begun);
        Ok(false)
    }

    /// Returns whether the last wait brought something.
    fn was_busy(&self) -> bool {
        let has_queued = self.queued_at == Some(self.counters.waits.load(Ordering::Relaxed));
        !self.events.is_empty() || has_queued
    }

    /// Makes one `epoll_wait`. Returns `false` when a signal's handler interrupted it.
    #[inline(always)]
    fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.handed_out = 0;
        WorkerCounters::add(&self.counters.waits, 1);
        match self.shared.epoll.wait(&mut self.events, timeout) {
            Ok(count) => {
                if (2..=WORKER_BATCH_MAX).contains(&count) {
                    self.put_watched_first();
                }
                let count = count as u64;
                WorkerCounters::add(&self.counters.events, count);
                self.counters.raise_batch_max(count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts descriptors that live elsewhere first in a short batch, as a worker beside others has it. A listener
    /// that is one-shot is watched by nobody until its report has been handled, and behind a source whose handler
    /// is slow, connections would wait that other threads could accept.
    #[cold]
    fn put_watched_first(&mut self) {
        let mut first = 0;
        for at in 0..self.events.len() {
            let is_watched =
                self.events.get(at).is_some_and(|event| unpack(event.data).0 & INDEX_END != 0);
            if is_watched {
                self.events.move_up(at, first);
                first += 1;
            }
        }
    }

    /// Returns the next report of this turn, or `None` when all have been handed out.
    ///
    /// First comes the batch in the kernel's order, in a batch of up to [`WORKER_BATCH_MAX`] after the
    /// descriptors that live elsewhere; then sources that are handed out again, whichever
    /// thread had them before. A report borrows the worker, so a worker has one lease at a time.
    #[inline]
    pub fn next_ready(&mut self) -> Option<LeaseReady<'_, T, S>> {
        while let Some(event) = self.events.get(self.handed_out) {
            self.handed_out += 1;
            let shared: &'a SharedReactor<T, S> = self.shared;
            let slot = self.peeked.take().or_else(|| shared.table.slot(unpack(event.data).0));
            if let Some(held) = slot.and_then(|slot| slot.claim_event(event.data)) {
                let lease = Lease::of_event(shared, held, event, &self.counters);
                return Some(LeaseReady::Owned(lease));
            }
            if let Some(found) = self.find(event) {
                return Some(found.into_report(shared, &self.counters));
            }
        }
        if self.queued_due == 0 {
            return None;
        }
        let found = self.find_queued()?;
        Some(found.into_report(self.shared, &self.counters))
    }

    /// Claims the subject of an event that is not simply that of a free source.
    #[cold]
    #[inline(never)]
    fn find(&self, event: Event) -> Option<Found<'a, T, S>> {
        let Event { data, readiness } = event;
        let (index, generation) = unpack(data);
        if generation == 0 || index >= INDEX_END {
            return self.find_elsewhere(data, readiness);
        }
        let pending = Pending::ready(readiness);
        match self.shared.table.slot(index)?.claim(generation, pending) {
            Claim::Held(held) => self.found(held, Token::of_event(self.shared.id, data), pending),
            Claim::Deferred => None,
            Claim::Gone => {
                self.drop_stale(data);
                None
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn find_queued(&mut self) -> Option<Found<'a, T, S>> {
        let shared: &'a SharedReactor<T, S> = self.shared;
        while self.queued_due > 0 {
            self.queued_due -= 1;
            let queued = self.taken.take().or_else(|| shared.dequeue());
            let Some((token, pending)) = queued else { break };
            WorkerCounters::add(&self.counters.revisits, 1);
            self.queued_at = Some(self.counters.waits.load(Ordering::Relaxed));
            let (index, generation) = token.parts();
            let found = if index >= INDEX_END {
                // Left by a worker that was dropped.
                self.find_elsewhere(token.data(), pending.readiness())
            } else {
                // Requests usually come out of the release. A source that is revisited again and again is
                // never released, and its holder would not learn that it is to be closed.
                let claimed =
                    shared.table.slot(index).and_then(|slot| slot.claim_queued(generation));
                claimed.and_then(|(held, more)| self.found(held, token, pending.and(more)))
            };
            if found.is_some() {
                return found;
            }
        }
        self.queued_due = 0;
        None
    }

    /// Returns the report of a source that this thread holds. If it is parked and there is no request,
    /// releases it and returns `None`.
    fn found(
        &self,
        mut held: HeldSlot<'a, T>,
        token: Token,
        pending: Pending,
    ) -> Option<Found<'a, T, S>> {
        let is_silent = held.is_parked() && !pending.has(Pending::REVISIT);
        // Fetched before the source was parked. Unparking polls it again.
        let pending = if is_silent { pending.without_readiness() } else { pending };
        if is_silent && !pending.is_request() {
            drop(Lease::new(self.shared, held, token, pending, Holder::Worker(&self.counters)));
            return None;
        }
        let plan = Plan::begin(&mut held, pending);
        Some(Found::Owned(held, token, pending, plan))
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

    /// Returns what this thread has done so far. Calls of `epoll_ctl` are told for all threads together and
    /// are zero here: see [`SharedReactor::counters`].
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { mods: 0, ..self.counters.read() }
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
    Owned(HeldSlot<'a, T>, Token, Pending, Plan),
    Watched {
        token: Token,
        tag: S,
        readiness: Readiness,
    },
    Woken,
}

impl<'a, T: Source, S> Found<'a, T, S> {
    // In line: a function would hand the lease over in memory, and the usual one, which is created beside it, would
    // be kept there too.
    #[inline(always)]
    fn into_report(
        self,
        shared: &'a SharedReactor<T, S>,
        counters: &'a WorkerCounters,
    ) -> LeaseReady<'a, T, S> {
        match self {
            Self::Owned(held, token, pending, plan) => {
                let holder = Holder::Worker(counters);
                let data = token.data();
                LeaseReady::Owned(Lease::with_plan(shared, held, data, pending, plan, holder))
            }
            Self::Watched { token, tag, readiness } => {
                LeaseReady::Watched { token, tag, readiness }
            }
            Self::Woken => LeaseReady::Woken,
        }
    }
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
                // Claimed, as for a report: the queue then holds the source.
                if let Some(Found::Owned(held, token, pending, _)) = self.find(event) {
                    held.enqueue();
                    self.shared.requeue(token, pending);
                }
            }
        }
        if self.shared.attention.queued() > 0 {
            // Ignored, as above: the sources stay in the queue, where the next wait finds them.
            let _ = self.shared.waker.wake();
        }
        self.shared.counters.0.retire(&self.counters);
    }
}

impl<T: Source, S: Copy> fmt::Debug for Worker<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
