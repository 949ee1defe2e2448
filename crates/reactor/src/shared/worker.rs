//! A thread's own part of a shared reactor: its batch, and the leases it is given.

use crate::shared::counters::OfWorker;
use crate::shared::handover::{Claim, Note};
use crate::shared::lease::{Holder, Lease};
use crate::shared::table::INDEX_END;
use crate::shared::{STOP, SharedReactor, WAKER};
use crate::slots::Generation;
use crate::token::name;
use crate::{Counters, Source, Token};
use epoll_sys::{Events, Readiness};
use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// The most events that one wait takes, unless
/// [`SharedReactor::worker_with_batch_max`] says otherwise.
pub const BATCH_MAX: usize = 4;

/// One thread that waits for a [`SharedReactor`].
///
/// Reports that it has fetched and not handed out when it is dropped go to the others. Of a
/// level-triggered descriptor they may then come once more than the kernel makes them.
pub struct Worker<'a, T: Source, S: Copy = ()> {
    shared: &'a SharedReactor<T, S>,
    events: Events,
    /// How many of `events` have been handed out.
    handed_out: usize,
    /// How many of the sources that are to be handed out again belong to this turn.
    again_due: usize,
    counters: Arc<OfWorker>,
}

/// One report of [`Worker::next_ready`].
#[derive(Debug)]
pub enum Ready<'a, T: Source, S = ()> {
    /// A source that the reactor owns, for this thread alone.
    Owned(Lease<'a, T, S>),
    /// A descriptor that lives elsewhere.
    Watched {
        /// The name of its registration.
        token: Token,
        /// The tag under which it was registered.
        tag: S,
        /// What it is ready for.
        readiness: Readiness,
    },
    /// A [`Waker`](crate::Waker) of this reactor was used, or a thread was needed for a source that is
    /// handed out again: one that is to be closed, or was reported while it was leased by name.
    Woken,
}

impl<'a, T: Source, S: Copy> Worker<'a, T, S> {
    pub(crate) fn new(shared: &'a SharedReactor<T, S>, batch_max: usize) -> Self {
        Self {
            shared,
            events: Events::with_capacity(batch_max),
            handed_out: 0,
            again_due: 0,
            counters: shared.counters.of_worker(),
        }
    }

    /// Waits until there is something for this thread, or `timeout` is over; `None` waits without
    /// end. `false`: the reactor was [stopped](SharedReactor::stop), and the thread should end.
    ///
    /// It does not wait at all while reports of the last batch have not been handed out, and does
    /// not sleep while a source is to be handed out again. A signal handler that runs meanwhile
    /// neither ends the wait nor moves its end.
    ///
    /// # Errors
    ///
    /// None that is known.
    #[inline]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        if self.handed_out < self.events.len() {
            return Ok(!self.shared.is_stopped());
        }
        self.again_due = self.shared.again_len.load(Ordering::Acquire);
        let timeout = if self.again_due > 0 { Some(Duration::ZERO) } else { timeout };
        match timeout {
            None => while !self.fetch(None)? {},
            Some(timeout) => self.fetch_until(Instant::now().checked_add(timeout))?,
        }
        Ok(!self.shared.is_stopped())
    }

    #[cold]
    fn fetch_until(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let fetched = self.fetch(left)?;
            let is_over = deadline.is_some_and(|end| end <= Instant::now());
            if !self.events.is_empty() || (fetched && is_over) {
                return Ok(());
            }
        }
    }

    /// One `epoll_wait`; `false` when a signal's handler interrupted it.
    #[inline]
    fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.handed_out = 0;
        OfWorker::add(&self.counters.waits, 1);
        match self.shared.epoll.wait(&mut self.events, timeout) {
            Ok(count) => {
                let count = count as u64;
                OfWorker::add(&self.counters.events, count);
                self.counters.raise_batch_max(count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next report of this turn; `None` when all have been handed out.
    ///
    /// First the batch in the kernel's order, then sources that are handed out again, some of which
    /// other threads may have used last. One lease at a time: a report borrows the worker.
    #[inline]
    pub fn next_ready(&mut self) -> Option<Ready<'_, T, S>> {
        while let Some(event) = self.events.get(self.handed_out) {
            self.handed_out += 1;
            let (index, generation) = name(event.data);
            if generation == 0 || index >= INDEX_END {
                match self.service(event.data, event.readiness) {
                    Some(Report::Woken) => return Some(Ready::Woken),
                    Some(Report::Watched { token, tag }) => {
                        return Some(Ready::Watched { token, tag, readiness: event.readiness });
                    }
                    None => continue,
                }
            }
            let note = Note::ready(event.readiness);
            if let Some(token) = self.claim(index, generation, note) {
                return self.lease(token, note);
            }
        }
        loop {
            let (token, note) = self.next_again()?;
            if token.index < INDEX_END {
                return self.lease(token, note);
            }
            // Left by another worker.
            if let Some(Report::Watched { token, tag }) =
                self.service(token.data(), note.readiness())
            {
                return Some(Ready::Watched { token, tag, readiness: note.readiness() });
            }
        }
    }

    /// The source's name, if this thread holds it now.
    #[inline]
    fn claim(&self, index: u32, generation: u32, note: Note) -> Option<Token> {
        let slot = self.shared.table.slot(index)?;
        match slot.handover.claim(generation, note) {
            Claim::Held(generation) => Some(Token { index, generation, reactor: self.shared.id }),
            Claim::Noted => None,
            Claim::Gone => {
                OfWorker::add(&self.counters.stale, 1);
                crate::log::trace!("stale event dropped", index, generation);
                None
            }
        }
    }

    #[inline]
    fn lease(&self, token: Token, note: Note) -> Option<Ready<'_, T, S>> {
        let slot = self.shared.table.slot(token.index)?;
        Some(Ready::Owned(Lease::new(self.shared, slot, token, note, Holder::Worker)))
    }

    #[cold]
    fn service(&self, data: u64, readiness: Readiness) -> Option<Report<S>> {
        match data {
            STOP => None,
            WAKER => {
                self.shared.waker.take();
                OfWorker::add(&self.counters.wakes, 1);
                Some(Report::Woken)
            }
            _ => {
                let (index, generation) = name(data);
                let watched = self.shared.watched.read().unwrap_or_else(PoisonError::into_inner);
                let tagged = watched.get(index & !INDEX_END, generation);
                match tagged.zip(Generation::new(generation)) {
                    Some((tagged, generation)) => {
                        let token = Token { index, generation, reactor: self.shared.id };
                        Some(Report::Watched { token, tag: tagged.tag })
                    }
                    None => {
                        OfWorker::add(&self.counters.stale, 1);
                        crate::log::trace!("stale event dropped", index, generation, readiness);
                        None
                    }
                }
            }
        }
    }

    #[inline]
    fn next_again(&mut self) -> Option<(Token, Note)> {
        if self.again_due == 0 { None } else { self.next_again_due() }
    }

    #[cold]
    fn next_again_due(&mut self) -> Option<(Token, Note)> {
        self.again_due -= 1;
        let (token, note) = self.shared.pop_again()?;
        OfWorker::add(&self.counters.revisits, 1);
        // A source that is revisited again and again is never released, where its notes come out
        // otherwise: it would not hear that it is to be closed.
        let slot = self.shared.table.slot(token.index);
        let noted = slot.map_or(Note::NOTHING, |slot| slot.handover.take_note());
        Some((token, note.and(noted)))
    }

    /// What this thread has done so far. What is counted for all in common, the calls of `epoll_ctl`,
    /// is zero here: see [`SharedReactor::counters`].
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.read()
    }
}

enum Report<S> {
    Woken,
    Watched { token: Token, tag: S },
}

impl<T: Source, S: Copy> Drop for Worker<'_, T, S> {
    fn drop(&mut self) {
        while let Some(event) = self.events.get(self.handed_out) {
            self.handed_out += 1;
            let (index, generation) = name(event.data);
            let note = Note::ready(event.readiness);
            if event.data == WAKER {
                self.shared.waker.take();
                let _ = self.shared.waker.wake();
            } else if index >= INDEX_END {
                let Some(generation) = Generation::new(generation) else { continue };
                // Whether it is still watched is seen when it is handed out.
                let token = Token { index, generation, reactor: self.shared.id };
                self.shared.push_again(token, note);
            } else if generation != 0 {
                if let Some(token) = self.claim(index, generation, note) {
                    self.shared.push_again(token, note);
                }
            }
        }
        if self.shared.again_len.load(Ordering::Acquire) > 0 {
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
