//! The loop: one `epoll_wait` a turn, and the reports of that turn one by one.
//!
//! Kernel facts it copes with: (a) one batch can hold an event of a source that the handler of an
//! earlier event removed, and its descriptor may be another source by then: the generation in the
//! event's data decides; (b) an edge-triggered source that was not read to the end is not reported
//! again: it can ask to be revisited; (c) a wait ends with `EINTR` when a signal handler ran: it is
//! repeated against the deadline; (d) an epoll descriptor is readable only while the kernel has
//! events, not for reports that are left of a batch or for revisits: see `nesting.rs`; (e) an entry
//! whose descriptor was closed while a clone lives is reported for ever: see `rebuild.rs`.

use crate::numbers::Numbers;
use crate::record::{Record, State, revisit_bits};
use crate::slots::{Generation, Slots};
use crate::suspects::Suspects;
use crate::token::{ReactorId, unpack};
use crate::turn::{Nesting, StepsDue, WAKER_DATA};
use crate::{Counters, NoSource, Ready, Source, Token, Waker};
use epoll_sys::{Epoll, Events, Interest, Readiness, Timestamp, Watch};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

/// The most events that one wait takes, unless [`Reactor::with_batch_max`] says otherwise.
pub const BATCH_MAX: usize = 256;

/// An event loop for one thread.
///
/// It owns sources of type `T`, connections usually, and watches descriptors that live elsewhere
/// (listeners, timers, signals), each under a tag of type `S`.
///
/// # Examples
///
/// An echo that keeps what a write does not take, and sees the end:
///
/// ```
/// use epoll_reactor::net::Stream;
/// use epoll_reactor::{Interest, Reactor, Ready, Source, Watch};
/// use std::io::{self, ErrorKind, Read, Write};
/// use std::os::fd::{AsFd, BorrowedFd};
///
/// struct Client {
///     stream: Stream,
///     /// Bytes that were read and not written yet.
///     pending: Vec<u8>,
/// }
/// # impl AsFd for Client {
/// #     fn as_fd(&self) -> BorrowedFd<'_> { self.stream.as_fd() }
/// # }
/// # impl Source for Client {
/// #     fn is_nonblocking(&self) -> bool { self.stream.is_nonblocking() }
/// #     fn is_unshared(&self) -> bool { self.stream.is_unshared() }
/// # }
///
/// impl Client {
///     /// Echoes until nothing is left to read or there is no room. Returns `false` at the end.
///     fn echo(&mut self) -> io::Result<bool> {
///         loop {
///             while !self.pending.is_empty() {
///                 let len = self.stream.write(&self.pending)?;
///                 self.pending.drain(..len);
///             }
///             let mut buffer = [0; 4096];
///             match self.stream.read(&mut buffer)? {
///                 0 => return Ok(false),
///                 len => self.pending.extend_from_slice(&buffer[..len]),
///             }
///         }
///     }
/// }
///
/// let (ours, theirs) = Stream::pair()?;
/// let mut reactor: Reactor<Client> = Reactor::new()?;
/// let watch = Watch::edge(Interest::IN | Interest::OUT | Interest::RDHUP);
/// reactor.insert(Client { stream: ours, pending: Vec::new() }, watch)?;
///
/// # let peer = std::thread::spawn(move || -> io::Result<()> {
/// #     let mut theirs = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(theirs));
/// #     theirs.set_nonblocking(false)?;
/// #     theirs.write_all(b"hello")?;
/// #     theirs.shutdown(std::net::Shutdown::Write)?;
/// #     let mut echo = Vec::new();
/// #     theirs.read_to_end(&mut echo)?;
/// #     assert_eq!(echo, b"hello");
/// #     Ok(())
/// # });
/// while !reactor.is_empty() {
///     reactor.wait(None)?;
///     while let Some(ready) = reactor.next_ready() {
///         let Ready::Owned { token, source, .. } = ready else { continue };
///         match source.echo() {
///             Ok(true) => unreachable!("it echoes until the end or an error"),
///             // Dry, or no room: the next edge goes on from here.
///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
///             Ok(false) | Err(_) => {
///                 reactor.close(token);
///             }
///         }
///     }
/// }
/// # peer.join().unwrap()?;
/// # Ok::<(), io::Error>(())
/// ```
///
/// # A turn
///
/// [`wait`](Self::wait) fetches a batch, [`next_ready`](Self::next_ready) hands out its reports.
/// Between two reports every method may be called, on any source, the reported one included: what
/// is removed is not reported any more, what is inserted is reported from the next turn on. An
/// error of one source ends that source, and the rest of the batch stays. The next wait continues a
/// batch that was left early.
///
/// A handler that needs a second source drops its borrow of the reported one and uses the tokens:
/// [`get_mut`](Self::get_mut), or [`get_disjoint_mut`](Self::get_disjoint_mut) for two at once.
///
/// # When a source has to wait for something else
///
/// An edge is reported once. A handler that stops before its source is dry, because its budget is
/// spent, asks for a [`revisit`](Self::revisit). A handler that stops because it has no room for the
/// bytes must not ask, or its source would be revisited in every turn. Instead, the code that makes
/// room (the other connection's handler, a connect that has finished) calls
/// `revisit(token, Readiness::IN)` at that moment.
///
/// A source that waits for something other than its own readiness (a job on another thread, another
/// connection) can be [parked](Self::park): it is not reported at all, with any trigger. Removing
/// `IN` from its interest is not enough, because the kernel reports `HUP` and `ERR` whatever the
/// interest is: a level-triggered source whose peer has gone would be reported in every turn.
///
/// # Nesting
///
/// A reactor has a descriptor ([`AsFd`](std::os::fd::AsFd), [`AsRawFd`](std::os::fd::AsRawFd)) that is
/// readable while the reactor has something to report, so another loop can watch it: with a level trigger,
/// or with an edge trigger if it makes turns (`wait(Some(Duration::ZERO))`) until one reports nothing. A
/// reactor whose descriptor was asked for pays up to two system calls a turn for that, any other none.
///
/// # Threads, fork and exec
///
/// A reactor can be sent to another thread, but one thread uses it at a time. Other threads reach it
/// through a [`Waker`]; threads that share sources use a [`SharedReactor`](crate::shared::SharedReactor).
///
/// A child of `fork` shares the epoll instance with its parent: an entry that the child deletes is
/// deleted for the parent, and an event that the child fetches is missing in the parent. So the child
/// calls [`rebuild`](Self::rebuild) before anything else, or gives the reactor up with
/// [`std::mem::forget`].
///
/// `exec` closes the descriptors of the reactor itself. A source is closed by `exec` if its own
/// descriptor is `CLOEXEC`, as that of every type in [`net`](crate::net) is.
pub struct Reactor<T, S = ()> {
    pub(crate) epoll: Epoll,
    pub(crate) id: ReactorId,
    pub(crate) slots: Slots<Record<T, S>>,
    pub(crate) events: Events,
    /// The number of `events` that have been handed out.
    pub(crate) handed_out: usize,
    /// One-shot sources that were armed during a batch, and the number of waits by then.
    pub(crate) rearmed: Vec<Token>,
    pub(crate) rearmed_at: u64,
    /// Sources that asked to be revisited, in that order.
    pub(crate) revisits: VecDeque<Token>,
    /// The steps that are left of this turn when the batch has been handed out.
    pub(crate) steps_due: StepsDue,
    /// The source that was revisited last, and how many waits there had been.
    pub(crate) revisited: Option<(Token, u64)>,
    pub(crate) waker: Waker,
    /// The descriptors that are watched and not owned, by their number.
    pub(crate) numbers: Numbers,
    pub(crate) nesting: Nesting,
    pub(crate) suspects: Suspects,
    /// The time for which waits look before they sleep; not zero.
    pub(crate) busy_polling: Option<Duration>,
    /// `true` if it was busy before a wait that only looked.
    pub(crate) is_busy: bool,
    pub(crate) counters: Counters,
}

impl<T: Source, S: Copy> Reactor<T, S> {
    /// Creates a reactor without sources.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. A reactor takes
    /// two descriptors.
    pub fn new() -> io::Result<Self> {
        Self::with_batch_max(BATCH_MAX)
    }

    /// Creates a reactor whose waits take at most `batch_max` events; zero counts as one, and the most
    /// is what [`Events::with_capacity`] allows.
    ///
    /// A small batch lets other work of the loop come sooner, a large one saves system calls when
    /// many sources are ready.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::{Reactor, net::Stream};
    ///
    /// let reactor: Reactor<Stream> = Reactor::with_batch_max(16)?;
    /// assert!(reactor.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_batch_max(batch_max: usize) -> io::Result<Self> {
        let mut reactor = Self {
            epoll: Epoll::new()?,
            id: ReactorId::new(),
            slots: Slots::new(),
            events: Events::with_capacity(batch_max),
            handed_out: 0,
            rearmed: Vec::new(),
            rearmed_at: 0,
            revisits: VecDeque::new(),
            steps_due: StepsDue::default(),
            revisited: None,
            waker: Waker::new()?,
            numbers: Numbers::default(),
            nesting: Nesting::default(),
            suspects: Suspects::default(),
            busy_polling: None,
            is_busy: false,
            counters: Counters::default(),
        };
        // By edges: each write to the eventfd is one, so no turn has to read it.
        let watch = Watch::edge(Interest::IN);
        reactor.epoll.add(&reactor.waker, WAKER_DATA, watch)?;
        reactor.counters.adds += 1;
        // The first insertion, whose slot and generation are those of `WAKER_DATA`.
        reactor.slots.insert(Record::waker(watch));
        Ok(reactor)
    }
}

impl<S: Copy> Reactor<NoSource, S> {
    /// Creates a reactor that owns no sources and only watches descriptors that live elsewhere.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::EventFd;
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    ///
    /// let counter = EventFd::new(1)?;
    /// let mut reactor = Reactor::watch_only()?;
    /// reactor.watch(&counter, "counter", Watch::level(Interest::IN))?;
    /// reactor.wait(None)?;
    /// assert!(matches!(reactor.next_ready(), Some(Ready::Watched { tag: "counter", .. })));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watch_only() -> io::Result<Self> {
        Self::new()
    }
}

impl<T: Source, S> Reactor<T, S> {
    /// Reports a source again in the next turn, whose wait then does not sleep.
    ///
    /// For a handler that stopped before its source was dry, so that one busy peer cannot keep the
    /// others waiting. The source is reported once, after the batch of that turn, with `readiness` and
    /// the events that the kernel has reported for it by then, whatever its interest is. So nothing is
    /// lost, with an edge trigger either. A second request before that report is merged with the first.
    /// A source that is [parked](Self::park) is reported this once and stays parked.
    ///
    /// Returns `false`, and reports nothing, if the token names no source or `readiness` is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Readiness, Ready, Watch};
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// let (ours, mut theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// reactor.insert(ours, Watch::edge(Interest::IN))?;
    /// assert_eq!(theirs.write(b"four")?, 4);
    ///
    /// let mut turns = 0;
    /// let mut word = Vec::new();
    /// while word != b"four" {
    ///     reactor.wait(None)?;
    ///     turns += 1;
    ///     while let Some(ready) = reactor.next_ready() {
    ///         let Ready::Owned { token, source, .. } = ready else { continue };
    ///         // A budget of one byte a turn. The edge that brought four is reported once.
    ///         let mut byte = [0];
    ///         match source.read(&mut byte) {
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
    ///             Ok(0) | Err(_) => drop(reactor.close(token)),
    ///             Ok(len) => {
    ///                 word.extend_from_slice(&byte[..len]);
    ///                 reactor.revisit(token, Readiness::IN);
    ///             }
    ///         }
    ///     }
    /// }
    /// assert_eq!(turns, 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn revisit(&mut self, token: Token, readiness: Readiness) -> bool {
        let Some(record) = self.record_mut(token) else { return false };
        if revisit_bits(readiness).is_empty() {
            return false;
        }
        // The bits add up in the record and the token is queued once, so the queue is never longer than
        // the table.
        if matches!(record, Record::Waker { .. }) {
            return false;
        }
        // Not by its readiness: a source that was parked since is still in the queue.
        let is_queued = record.state().contains(State::QUEUED);
        record.state_mut().add_revisit(readiness);
        if !is_queued {
            record.state_mut().insert(State::QUEUED);
            self.revisits.push_back(token);
            self.nesting.set_revisits_pending();
            self.signal_if_nested();
        }
        true
    }

    #[inline]
    pub(crate) fn record(&self, token: Token) -> Option<&Record<T, S>> {
        let (index, generation) = self.id.parts_of(token)?;
        self.slots.get(index, generation)
    }

    #[inline]
    pub(crate) fn record_mut(&mut self, token: Token) -> Option<&mut Record<T, S>> {
        let (index, generation) = self.id.parts_of(token)?;
        self.slots.get_mut(index, generation)
    }

    /// Fetches the next batch: waits until a source is ready, a [`Waker`] is used or `timeout` is
    /// over. `None` waits without end; zero only looks.
    ///
    /// It returns at once while reports of the last batch have not been handed out, and does not
    /// sleep while a source is to be revisited. A signal handler that runs meanwhile neither ends the
    /// wait nor moves its end. The timeout has the precision that [`Epoll::wait`] describes. A wait
    /// may end earlier without a report if its only event was stale, or if what had not been handed out
    /// was of sources that have been closed or parked since.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a wait that the kernel refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Watch};
    /// use std::io::Write;
    /// use std::time::Duration;
    ///
    /// let (ours, mut theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// reactor.insert(ours, Watch::level(Interest::IN))?;
    /// reactor.wait(Some(Duration::from_millis(5)))?;
    /// assert!(reactor.next_ready().is_none(), "the timeout is over");
    ///
    /// assert_eq!(theirs.write(b"hello")?, 5);
    /// reactor.wait(None)?;
    /// assert!(reactor.next_ready().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline(always)]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // A deadline beyond the clock's end is none.
        self.wait_until(timeout.and_then(|timeout| Timestamp::now().checked_add(timeout)))
    }

    /// Like [`wait`](Self::wait), until `deadline` at the latest; `None` waits without end. A
    /// deadline that has passed only looks.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::Timestamp;
    /// use epoll_reactor::{Reactor, net::Stream};
    /// use std::time::Duration;
    ///
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let deadline = Timestamp::now() + Duration::from_millis(5);
    /// reactor.wait_until(Some(deadline))?;
    /// assert!(reactor.next_ready().is_none());
    /// assert!(Timestamp::now() >= deadline);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline(always)]
    pub fn wait_until(&mut self, deadline: Option<Timestamp>) -> io::Result<()> {
        // A fetch now would overwrite the reports that are left.
        if self.handed_out < self.events.len() {
            return Ok(());
        }
        // One test for all that is rare, so that the usual turn is the system call and little else.
        if self.nesting.needs_care() {
            return self.wait_with_care(deadline);
        }
        match deadline {
            None if self.fetch(None)? => Ok(()),
            None => self.wait_after_interruption(),
            Some(deadline) => self.wait_for(deadline),
        }
    }

    /// Waits in a turn that is not the usual one: sources are to be revisited, the reactor is nested, it looks
    /// before it sleeps, or its epoll instance is to be replaced.
    #[cold]
    fn wait_with_care(&mut self, deadline: Option<Timestamp>) -> io::Result<()> {
        if self.nesting.take_rebuild_due() && self.rebuild().is_err() {
            // The error is ignored: descriptors or memory are short, and the present instance works,
            // if with stale events. After a hundred more of them it is tried again.
            self.suspects.clear();
        }
        if self.has_revisits() {
            // Otherwise the caller left the turn before its revisits were handed out, and continues it.
            if !self.steps_due.has_revisits() {
                // The kernel is asked first, or a source that is revisited in every turn would keep the
                // others from ever being reported.
                while !self.fetch_with_care(Some(Duration::ZERO))? {}
                // A request that a handler makes in this turn is served in the next one, after a fetch.
                self.steps_due.set_revisits(self.revisits.len());
            }
            return Ok(());
        }
        self.nesting.set_no_revisits_pending();
        if self.spin(deadline)? {
            return Ok(());
        }
        match deadline {
            None => self.wait_after_interruption(),
            Some(deadline) => self.wait_for(deadline),
        }
    }

    /// Returns whether a source is to be revisited that was not removed since.
    pub(crate) fn has_revisits(&mut self) -> bool {
        // A source that was removed or parked has left its token in the queue: to find it there at that
        // time would take O(n).
        while let Some(&token) = self.revisits.front() {
            if let Some(record) = self.record_mut(token) {
                if !record.state().revisit().is_empty() {
                    return true;
                }
                record.state_mut().remove(State::QUEUED);
            }
            self.revisits.pop_front();
            self.steps_due.take_revisit();
        }
        false
    }

    #[cold]
    fn wait_after_interruption(&mut self) -> io::Result<()> {
        while !self.fetch_with_care(None)? {}
        Ok(())
    }

    #[cold]
    fn wait_for(&mut self, deadline: Timestamp) -> io::Result<()> {
        loop {
            let left = deadline - Timestamp::now();
            let fetched = self.fetch_with_care(Some(left))?;
            let is_over = fetched && Timestamp::now() >= deadline;
            // A wait can end early: a signal's handler ran, or the kernel counts milliseconds in
            // an int.
            if is_over || self.handed_out < self.events.len() {
                return Ok(());
            }
        }
    }

    /// Like [`fetch`](Self::fetch), for a reactor that may be nested. Returns `false` also when the
    /// wait brought nothing but the reactor's own signal.
    pub(crate) fn fetch_with_care(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        Ok(self.fetch(timeout)? && self.begin_nested_turn())
    }

    /// Makes one `epoll_wait`. Returns `false` when a signal's handler interrupted it.
    #[inline(always)]
    fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        // Before the call: a failed wait leaves no events, and the place in the batch has to agree.
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
            // Not a result: the caller repeats the wait, against its deadline.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the next report of this turn, or `None` when all have been handed out.
    ///
    /// First comes the batch in the kernel's order, then the sources that are revisited.
    ///
    /// # Examples
    ///
    /// A source that a handler removes is not reported any more, although its event was fetched:
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    ///
    /// let (one, other) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let tokens = [
    ///     reactor.insert(one, Watch::level(Interest::OUT))?,
    ///     reactor.insert(other, Watch::level(Interest::OUT))?,
    /// ];
    /// reactor.wait(None)?;
    /// let mut reports = 0;
    /// while let Some(Ready::Owned { token, .. }) = reactor.next_ready() {
    ///     reports += 1;
    ///     for other in tokens.into_iter().filter(|other| *other != token) {
    ///         reactor.close(other);
    ///     }
    /// }
    /// assert_eq!(reports, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    // Always: in a program with two loops over the same sources the compiler would call it from both, which costs
    // half as much again a report.
    #[inline(always)]
    pub fn next_ready(&mut self) -> Option<Ready<'_, T, S>>
    where
        S: Copy,
    {
        while let Some(event) = self.events.get(self.handed_out) {
            // First, so that a handler that panics is not given the same event again.
            self.handed_out += 1;
            let (index, generation) = unpack(event.data);
            // Looked at here and borrowed in `report`: a borrow that may be returned would last for the
            // whole loop. Nothing is written in between, so the compiler makes one lookup of both.
            match self.slots.get(index, generation) {
                Some(record) if record.state().is_plain() => {
                    return self.report(index, generation, event.readiness);
                }
                _ => self.look_at(event.data, event.readiness),
            }
        }
        let (token, readiness) = self.next_step()?;
        let (index, generation) = token.parts();
        self.report(index, generation, readiness)
    }

    /// Handles an event of a registration that is not plain, or that has ended: skips it, or makes the
    /// registration plain for it.
    #[cold]
    fn look_at(&mut self, data: u64, readiness: Readiness) {
        self.forget_rearmed();
        let (index, generation) = unpack(data);
        let Some(record) = self.slots.get_mut(index, generation) else {
            return self.on_stale_event(data);
        };
        // The kernel has disarmed a one-shot entry with this event.
        record.set_fetched();
        if record.state().contains(State::PARKED) {
            // Fetched before the source was parked. To arm it polls it again, so nothing is lost.
        } else if record.state().revisit().is_empty() {
            record.state_mut().insert(State::PASS);
            // The event is looked at once more, and passes.
            self.handed_out -= 1;
        } else {
            // One report for both, when the source is revisited.
            record.state_mut().add_revisit(readiness);
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
        let (generation, record) = self.slots.entry(index, generation)?;
        let token = Token::new(self.id, index, generation);
        match record {
            Record::Owned { source, .. } => Some(Ready::Owned { token, source, readiness }),
            Record::Watched { tag, .. } => Some(Ready::Watched { token, tag: *tag, readiness }),
            Record::Waker { .. } => {
                // Cleared before the wake is reported: a thread that wakes from now on writes again.
                self.waker.take();
                self.counters.wakes += 1;
                Some(Ready::Woken)
            }
        }
    }

    /// Returns the next source to be revisited in this turn.
    #[inline]
    fn next_step(&mut self) -> Option<(Token, Readiness)> {
        if self.steps_due.is_empty() { None } else { self.next_step_due() }
    }

    #[cold]
    fn next_step_due(&mut self) -> Option<(Token, Readiness)> {
        while self.steps_due.take_revisit() {
            let Some(token) = self.revisits.pop_front() else { break };
            // Removed since: its token was left in the queue.
            let Some(record) = self.record_mut(token) else { continue };
            let readiness = record.state().revisit();
            // Before the report, so that the handler can ask again.
            record.state_mut().remove(State::REVISIT | State::QUEUED);
            // Empty: the source was parked since.
            if !readiness.is_empty() {
                self.counters.revisits += 1;
                self.revisited = Some((token, self.counters.waits));
                return Some((token, readiness));
            }
        }
        self.steps_due = StepsDue::default();
        self.end_nested_turn();
        None
    }

    /// Returns the token under which the last report of this turn was handed out, whether or not the
    /// registration still exists; `None` before the first report. After a wake it names no source.
    ///
    /// A program that catches panics around its loop learns from it whose handler panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    ///
    /// let (ours, _theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let token = reactor.insert(ours, Watch::level(Interest::OUT))?;
    /// reactor.wait(None)?;
    ///
    /// let turn = AssertUnwindSafe(|| {
    ///     while let Some(_ready) = reactor.next_ready() {
    ///         std::panic::resume_unwind(Box::new("a handler that panics"));
    ///     }
    /// });
    /// assert!(catch_unwind(turn).is_err());
    /// assert_eq!(reactor.last_reported(), Some(token));
    /// assert!(reactor.close(token));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn last_reported(&self) -> Option<Token> {
        if let Some((token, _)) = self.revisited.filter(|&(_, turn)| turn == self.counters.waits) {
            return Some(token);
        }
        let event = self.events.get(self.handed_out.checked_sub(1)?)?;
        let (index, generation) = unpack(event.data);
        let generation = Generation::new(generation)?;
        Some(Token::new(self.id, index, generation))
    }

    /// Returns the number of registrations, owned and watched.
    #[must_use]
    pub fn len(&self) -> usize {
        // Without the waker, which has a slot of its own.
        self.slots.len() - 1
    }

    /// Returns whether there is no registration.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a waker, with which any thread can end this reactor's wait.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Returns the counters of this reactor.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the epoll instance, for [`Epoll::interest_list`] and the busy-poll parameters. To
    /// watch the reactor in another loop, use the reactor's own descriptor.
    #[must_use]
    pub fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}

impl<T: Source, S> fmt::Debug for Reactor<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("epoll", &self.epoll)
            .field("registrations", &self.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
