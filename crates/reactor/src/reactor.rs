//! The loop: one `epoll_wait` a turn, and the reports of that turn one by one.
//!
//! Kernel facts it copes with: (a) one batch can hold an event of a source that the handler of an
//! earlier event removed, and its descriptor may be another source by then: the generation in the
//! event's data decides; (b) an edge-triggered source that was not read to the end is not reported
//! again: it can ask to be revisited; (c) a wait ends with `EINTR` when a signal handler ran: it is
//! repeated against the deadline.

use crate::slots::{Generation, Slots};
use crate::token::{ReactorId, name};
use crate::{Counters, Ready, Source, Token, Waker};
use epoll_sys::{Epoll, Events, ExclusiveWatch, Interest, Readiness, Watch};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

/// The most events that one wait takes, unless [`Reactor::with_batch_max`] says otherwise.
pub const BATCH_MAX: usize = 256;

/// An event loop for one thread.
///
/// It owns sources of type `T`, connections usually, and watches descriptors that live elsewhere
/// (listeners, timers, signals), each under a tag of type `S`.
///
/// # Examples
///
/// ```
/// use epoll_reactor::{Interest, Reactor, Ready, Watch};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let mut reactor: Reactor<UnixStream> = Reactor::new()?;
/// let token = reactor.insert(ours, Watch::level(Interest::IN))?;
///
/// theirs.write_all(b"hello")?;
/// reactor.wait(None)?;
/// while let Some(ready) = reactor.next_ready() {
///     if let Ready::Owned { token: this, source, readiness } = ready {
///         assert_eq!(this, token);
///         assert!(readiness.may_read());
///         let mut word = [0; 5];
///         source.read_exact(&mut word)?;
///         assert_eq!(&word, b"hello");
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # A turn
///
/// [`wait`](Self::wait) fetches a batch, [`next_ready`](Self::next_ready) hands out its reports.
/// Between two reports every method may be called, on any source, the reported one included: what
/// is removed is not reported any more, what is inserted is reported from the next turn on. An
/// error of one source is its own; the rest of the batch stays. A batch that is left early is
/// continued by the next wait.
///
/// A handler that needs other sources than the reported one lets go of it first and goes by token:
/// [`get_mut`](Self::get_mut), or [`get_disjoint_mut`](Self::get_disjoint_mut) for two at once.
///
/// # When reading has to wait for something else
///
/// An edge is reported once. A handler that stops before its source is dry, because its budget is
/// spent, asks for [`revisit`](Self::revisit). One that stops because it has nowhere to put the
/// bytes must not, for it would be revisited turn after turn: whoever makes room, the peer's handler
/// or a finished connect, calls `revisit(token, Readiness::IN)` for it at that moment. With a level
/// trigger, [`set_interest`](Self::set_interest) without `IN` and later with it does the same.
///
/// With a level trigger a source that is at its end is readable for ever: when a read gives 0, close
/// it or take `IN` out of its interest.
pub struct Reactor<T, S = ()> {
    pub(crate) epoll: Epoll,
    pub(crate) id: ReactorId,
    pub(crate) slots: Slots<Registration<T, S>>,
    events: Events,
    /// How many of `events` have been handed out.
    handed_out: usize,
    /// Sources that asked to be revisited, in that order.
    revisits: VecDeque<Token>,
    /// How many of `revisits` belong to this turn.
    revisits_due: usize,
    /// The source that was revisited last, and how many waits there had been.
    revisited: Option<(Token, u64)>,
    waker: Waker,
    pub(crate) counters: Counters,
}

pub(crate) struct Registration<T, S> {
    pub(crate) subject: Subject<T, S>,
    /// What it will be told when it is revisited; empty when it is not going to be.
    pub(crate) revisit: Readiness,
    /// What the kernel was asked for last; `None` for an exclusive registration, which is never
    /// changed.
    pub(crate) watch: Option<Watch>,
}

/// With a tag of its own: one hidden in a niche of `T` takes twice the instructions to read.
#[repr(u8)]
pub(crate) enum Subject<T, S> {
    Owned(T),
    Watched {
        tag: S,
        /// The number of the descriptor, to tell it from others.
        fd: RawFd,
    },
    Waker,
}

/// What the kernel is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Armed {
    Shared(Watch),
    Exclusive(ExclusiveWatch),
}

impl<T: Source, S> Reactor<T, S> {
    /// A reactor without sources.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. A reactor takes
    /// two.
    pub fn new() -> io::Result<Self> {
        Self::with_batch_max(BATCH_MAX)
    }

    /// Like [`new`](Self::new), with waits that take at most `batch_max` events; zero counts as one.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_batch_max(batch_max: usize) -> io::Result<Self> {
        let mut reactor = Self {
            epoll: Epoll::new()?,
            id: ReactorId::new(),
            slots: Slots::new(),
            events: Events::with_capacity(batch_max),
            handed_out: 0,
            revisits: VecDeque::new(),
            revisits_due: 0,
            revisited: None,
            waker: Waker::new()?,
            counters: Counters::default(),
        };
        let waker = reactor.waker.clone();
        let armed = Armed::Shared(Watch::edge(Interest::IN));
        reactor.prepare(waker.as_fd(), armed)?;
        reactor.occupy(Subject::Waker, armed);
        Ok(reactor)
    }
}

impl<T, S> Reactor<T, S> {
    /// Reports a source again in the next turn, whose wait then does not sleep.
    ///
    /// For a source that stopped before its descriptor was dry, so that one busy peer cannot keep
    /// the others waiting. The source is reported once in that turn and not before (in this turn if
    /// it has yet to be revisited in it), with `readiness`, whatever it is watched for, and with what
    /// the kernel has to say of it by then: nothing is lost, not even with an edge trigger. Asking
    /// twice is asking once.
    ///
    /// `false`: the token names no source, or `readiness` is empty; nothing will come of it.
    #[inline]
    pub fn revisit(&mut self, token: Token, readiness: Readiness) -> bool {
        self.id.check(token);
        match self.slots.get_mut(token.index, token.generation.get()) {
            Some(registration) if !readiness.is_empty() => {
                if registration.revisit.is_empty() {
                    self.revisits.push_back(token);
                }
                registration.revisit |= readiness;
                true
            }
            _ => false,
        }
    }

    /// Fetches the next batch: waits until a source is ready, a [`Waker`] is used or `timeout` is
    /// over. `None` waits without end; zero only looks.
    ///
    /// It does not wait at all while reports of the last batch have not been handed out, and does
    /// not sleep while a source is to be revisited. A signal handler that runs meanwhile neither
    /// ends the wait nor moves its end. The timeout has the precision that [`Epoll::wait`] describes
    /// and is never cut short, but by an event that turns out to be stale.
    ///
    /// # Errors
    ///
    /// None that is known.
    #[inline(always)]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // A deadline beyond the clock's end is none.
        self.wait_until(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// Like [`wait`](Self::wait), until `deadline` at the latest; `None` waits without end. A
    /// deadline that has passed only looks.
    ///
    /// # Errors
    ///
    /// None that is known.
    #[inline(always)]
    pub fn wait_until(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if self.handed_out < self.events.len() {
            return Ok(());
        }
        if !self.revisits.is_empty() && self.has_revisits() {
            return self.look_beside_revisits();
        }
        match deadline {
            None if self.fetch(None)? => Ok(()),
            None => self.wait_after_interruption(),
            Some(deadline) => self.wait_for(deadline),
        }
    }

    /// Whether a source is to be revisited that was not removed since.
    #[cold]
    fn has_revisits(&mut self) -> bool {
        while let Some(&token) = self.revisits.front() {
            if self.slots.get(token.index, token.generation.get()).is_some() {
                return true;
            }
            self.revisits.pop_front();
            self.revisits_due = self.revisits_due.saturating_sub(1);
        }
        false
    }

    #[cold]
    fn look_beside_revisits(&mut self) -> io::Result<()> {
        if self.revisits_due == 0 {
            self.revisits_due = self.revisits.len();
            while !self.fetch(Some(Duration::ZERO))? {}
        }
        Ok(())
    }

    #[cold]
    fn wait_after_interruption(&mut self) -> io::Result<()> {
        while !self.fetch(None)? {}
        Ok(())
    }

    #[cold]
    fn wait_for(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let fetched = self.fetch(Some(left))?;
            // A wait can end early: a signal's handler ran, or the kernel counts milliseconds in
            // an int.
            if !self.events.is_empty() || (fetched && Instant::now() >= deadline) {
                return Ok(());
            }
        }
    }

    /// One `epoll_wait`; `false` when a signal's handler interrupted it.
    #[inline(always)]
    fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.handed_out = 0;
        self.counters.waits += 1;
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => {
                self.counters.events += count as u64;
                if count as u64 > self.counters.batch_max {
                    self.counters.batch_max = count as u64;
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next report of this turn; `None` when all have been handed out.
    ///
    /// First the batch in the kernel's order, then the sources that asked to be revisited.
    #[inline]
    pub fn next_ready(&mut self) -> Option<Ready<'_, T, S>>
    where
        S: Copy,
    {
        while let Some(event) = self.events.get(self.handed_out) {
            let (index, generation) = name(event.data);
            // Looked up here and in `report`; the compiler makes one of it, as nothing happens in
            // between.
            match self.slots.get(index, generation) {
                Some(registration) if registration.revisit.is_empty() => {
                    self.handed_out += 1;
                    return self.report(index, generation, event.readiness);
                }
                _ => self.pass_over(event.data, event.readiness),
            }
        }
        let (token, readiness) = self.next_revisit()?;
        let (index, generation) = token.name();
        self.report(index, generation, readiness)
    }

    /// An event that is not reported now: it is stale, or its source is to be revisited.
    #[cold]
    fn pass_over(&mut self, data: u64, readiness: Readiness) {
        self.handed_out += 1;
        let (slot, generation) = name(data);
        match self.slots.get_mut(slot, generation) {
            // Told both when it is revisited.
            Some(registration) => registration.revisit |= readiness,
            None => {
                self.counters.stale += 1;
                crate::log::trace!("stale event dropped", slot, generation);
            }
        }
    }

    #[inline(always)]
    fn report(
        &mut self,
        index: u32,
        generation: u32,
        readiness: Readiness,
    ) -> Option<Ready<'_, T, S>>
    where
        S: Copy,
    {
        let (generation, registration) = self.slots.entry(index, generation)?;
        let token = Token { index, generation, reactor: self.id };
        match &mut registration.subject {
            Subject::Owned(source) => Some(Ready::Owned { token, source, readiness }),
            Subject::Watched { tag, .. } => Some(Ready::Watched { token, tag: *tag, readiness }),
            Subject::Waker => {
                self.waker.take();
                self.counters.wakes += 1;
                Some(Ready::Woken)
            }
        }
    }

    #[inline]
    fn next_revisit(&mut self) -> Option<(Token, Readiness)> {
        if self.revisits_due == 0 { None } else { self.next_revisit_due() }
    }

    #[cold]
    fn next_revisit_due(&mut self) -> Option<(Token, Readiness)> {
        while self.revisits_due > 0 {
            self.revisits_due -= 1;
            let token = self.revisits.pop_front()?;
            // A source that was removed since is passed over.
            if let Some(registration) = self.slots.get_mut(token.index, token.generation.get()) {
                self.counters.revisits += 1;
                self.revisited = Some((token, self.counters.waits));
                return Some((token, std::mem::take(&mut registration.revisit)));
            }
        }
        None
    }

    /// The name under which the last report of this turn was handed out, whether or not the
    /// registration still exists; `None` before the first one. After a wake it names no source.
    ///
    /// It tells whose handler it was that panicked, where panics are caught around the loop.
    #[must_use]
    pub fn last_reported(&self) -> Option<Token> {
        if let Some((token, _)) = self.revisited.filter(|&(_, turn)| turn == self.counters.waits) {
            return Some(token);
        }
        let event = self.events.get(self.handed_out.checked_sub(1)?)?;
        let (index, generation) = name(event.data);
        let generation = Generation::new(generation)?;
        Some(Token { index, generation, reactor: self.id })
    }

    /// How many registrations there are, owned and watched.
    #[must_use]
    pub fn len(&self) -> usize {
        // The waker's is the reactor's own.
        self.slots.len() - 1
    }

    /// Whether there is no registration.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Something that makes this reactor return from its wait, from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What this reactor has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The epoll instance, for [`Epoll::interest_list`] and the busy-poll parameters.
    #[must_use]
    pub fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}

impl<T, S> fmt::Debug for Reactor<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("epoll", &self.epoll)
            .field("registrations", &self.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// A reactor is readable when it has something to report, so that another epoll can watch it.
impl<T, S> AsFd for Reactor<T, S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
