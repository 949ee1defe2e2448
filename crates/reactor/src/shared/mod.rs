//! An event loop for several threads on one epoll instance.
//!
//! A [`SharedReactor`] owns sources as a [`Reactor`](crate::Reactor) does. Any number of threads wait on
//! it, each through a [`Worker`] of its own. A report gives one thread a [`Lease`]: exclusive access to the
//! source until it is dropped. The kernel alone would not keep two threads apart (`epoll(7)`: an edge can
//! be reported to one thread while another still handles the one before), so an atomic word beside each
//! source does. Events of a source in use are kept there and handed out when its lease ends.
//!
//! The trigger decides how a source is armed again:
//!
//! - **One-shot** ([`Watch::oneshot`]): the kernel reports it once and is silent until the lease
//!   ends, which costs an `epoll_ctl(EPOLL_CTL_MOD)` for each report.
//! - **Edge** ([`Watch::edge`]): nothing is re-armed. An event that arrives while the source is in use
//!   wakes another thread, which leaves it to the holder and waits on.
//!
//! Level-triggered sources are refused: all threads would be woken for as long as one reads.
//!
//! Locks are taken in this order, where two are held: the suspects, the watched descriptors. The run queue,
//! the vacancies and the counters are locked last, each alone.

mod apart;
mod attention;
mod busy_polling;
mod by_slot;
mod counters;
mod lease;
mod ownership;
mod rebuild;
mod table;
mod watched;
mod worker;

#[cfg(all(epoll_kit_loom, test))]
mod model;

pub use lease::Lease;
pub use worker::{LeaseReady, WORKER_BATCH_MAX, Worker};

use crate::record::Arm;
use crate::registry::{Blocking, refuse_blocking};
use crate::slots::Generation;
use crate::suspects::Suspects;
use crate::token::ReactorId;
use crate::{Counters, InsertError, Registration, Source, Token, Waker};
use apart::Apart;
use attention::Attention;
use counters::SharedCounters;
use epoll_sys::{Epoll, EventFd, Interest, Watch};
use lease::Holder;
use ownership::{Claim, Pending};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use table::{Arming, Content, HeldSlot, Slot, Table};
use watched::WatchedTable;

/// The data of the reactor's own events; no token has a generation of zero.
const WAKER: u64 = 0;
const STOP: u64 = 1;
/// An event of an epoll instance that was replaced: the thread is to wait for the new one.
const REPLACED: u64 = 2;

/// An event loop for several threads, which share its sources.
///
/// It owns sources of type `T`, connections usually, and watches descriptors that live elsewhere, each
/// under a tag of type `S`. Every method can be called from any thread, also while others wait.
///
/// Like a [`Reactor`](crate::Reactor#nesting) it has a descriptor that is readable while it has
/// something to report, so that another loop can watch it. Its workers then wait with a timeout of zero:
/// one that sleeps in the kernel takes the events that the other loop is to see. If several loops watch it,
/// each hands out its batch to the end before it sleeps again: the descriptor shows that reports are left,
/// and not for which worker.
///
/// # Examples
///
/// Two threads, and a source that one of them handles at a time. Bytes that a write does not take are
/// kept, and written when there is room:
///
/// ```
/// use epoll_reactor::net::Stream;
/// use epoll_reactor::shared::{LeaseReady, SharedReactor};
/// use epoll_reactor::{Interest, Registration, Source, Watch};
/// use std::io::{self, ErrorKind, Read, Write};
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::thread;
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
/// # }
///
/// impl Client {
///     /// Echoes once. Returns `false` at the end.
///     fn echo(&mut self) -> io::Result<bool> {
///         let mut buffer = [0; 4096];
///         if self.pending.is_empty() {
///             let len = self.stream.read(&mut buffer)?;
///             self.pending.extend_from_slice(&buffer[..len]);
///             if len == 0 {
///                 return Ok(false);
///             }
///         }
///         let len = self.stream.write(&self.pending)?;
///         self.pending.drain(..len);
///         Ok(true)
///     }
/// }
///
/// fn serve(reactor: &SharedReactor<Client>) -> io::Result<()> {
///     let mut worker = reactor.worker();
///     while worker.wait(None)? {
///         while let Some(ready) = worker.next_ready() {
///             let LeaseReady::Owned(mut client) = ready else { continue };
///             match client.echo() {
///                 Ok(false) => client.close(),
///                 Err(error) if error.kind() != ErrorKind::WouldBlock => client.close(),
///                 _ if client.pending.is_empty() => client.set_interest(Interest::IN)?,
///                 _ => client.set_interest(Interest::OUT)?,
///             }
///             // The lease ends here, and the client is armed again.
///         }
///     }
///     Ok(())
/// }
///
/// let reactor = SharedReactor::new()?;
/// let (ours, theirs) = Stream::pair()?;
/// reactor.insert(Client { stream: ours, pending: Vec::new() }, Watch::oneshot(Interest::IN))?;
/// thread::scope(|threads| -> io::Result<()> {
///     let serving = [(); 2].map(|()| threads.spawn(|| serve(&reactor)));
/// #   let mut theirs = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(theirs));
/// #   theirs.set_nonblocking(false)?;
/// #   theirs.write_all(b"hello")?;
/// #   let mut echo = [0; 5];
/// #   theirs.read_exact(&mut echo)?;
/// #   assert_eq!(&echo, b"hello");
///     // …the peer writes and reads here…
///     reactor.stop()?;
///     serving.into_iter().try_for_each(|thread| thread.join().unwrap())
/// })?;
/// # Ok::<(), io::Error>(())
/// ```
///
/// # Fork and exec
///
/// A child of `fork` shares the epoll instance and the eventfds with its parent, and has none of the
/// parent's threads: a source that one of them had leased stays leased for ever. A child that goes on
/// with the reactor calls [`rebuild`](Self::rebuild) before anything else. `exec` closes the descriptors
/// of the reactor itself.
pub struct SharedReactor<T, S = ()> {
    epoll: Epoll,
    id: ReactorId,
    table: Table<T>,
    watched: WatchedTable<S>,
    /// Sources to be handed out again, which stay held meanwhile, and reports of watched descriptors that
    /// a dropped worker had fetched.
    run_queue: Apart<Mutex<VecDeque<(Token, Pending)>>>,
    /// The length of `run_queue` among it, which every wait looks at without the lock.
    attention: Attention,
    waker: Waker,
    /// Readable after the stop. Level-triggered and never read, so it ends every wait of every thread.
    stop: EventFd,
    /// The time for which waits look before they sleep; not zero.
    busy_polling: Option<Duration>,
    suspects: Mutex<Suspects>,
    /// The process that the epoll instance belongs to.
    process: AtomicU32,
    /// Counts up when the instance is about to be replaced, and when all sources have been armed in the new
    /// one.
    epoch: AtomicU32,
    counters: Apart<SharedCounters>,
}

impl<T: Source, S: Copy> SharedReactor<T, S> {
    /// Creates a reactor without sources.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. A reactor takes
    /// three descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let (waker, stop) = (Waker::new()?, EventFd::new(0)?);
        epoll.add(&waker, WAKER, Watch::edge(Interest::IN))?;
        epoll.add(&stop, STOP, Watch::level(Interest::IN))?;
        Ok(Self {
            epoll,
            id: ReactorId::new(),
            table: Table::new(),
            watched: WatchedTable::new(),
            run_queue: Apart::default(),
            attention: Attention::default(),
            waker,
            stop,
            busy_polling: None,
            suspects: Mutex::default(),
            process: AtomicU32::new(process::id()),
            epoch: AtomicU32::new(0),
            counters: Apart::default(),
        })
    }

    /// Creates a worker, with which one thread waits for this reactor. Its waits take at most
    /// [`WORKER_BATCH_MAX`] events.
    #[must_use]
    pub fn worker(&self) -> Worker<'_, T, S> {
        self.worker_with_batch_max(WORKER_BATCH_MAX)
    }

    /// Like [`worker`](Self::worker), with waits that take at most `batch_max` events; zero counts as
    /// one, and the most is what [`Events::with_capacity`](epoll_sys::Events::with_capacity) allows.
    ///
    /// No other thread serves the events that a thread has fetched, even while it is preempted. So a
    /// small batch keeps latencies low, and a large one saves system calls.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Watch};
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (one, other) = Stream::pair()?;
    /// reactor.insert(one, Watch::oneshot(Interest::OUT))?;
    /// reactor.insert(other, Watch::oneshot(Interest::OUT))?;
    /// let (mut first, mut second) = (reactor.worker_with_batch_max(1), reactor.worker());
    /// first.wait(None)?;
    /// second.wait(None)?;
    /// assert!(first.next_ready().is_some() && second.next_ready().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn worker_with_batch_max(&self, batch_max: usize) -> Worker<'_, T, S> {
        Worker::new(self, batch_max)
    }
}

impl<T: Source, S> SharedReactor<T, S> {
    /// Takes ownership of `source` and watches it, one-shot or edge-triggered.
    ///
    /// # Errors
    ///
    /// Each gives the source back. [`InvalidInput`](io::ErrorKind::InvalidInput): a level trigger, or
    /// a descriptor that blocks (see [`insert_blocking`](Self::insert_blocking)). The others of
    /// [`Reactor::insert`](crate::Reactor::insert).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Watch};
    /// use std::io::ErrorKind;
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, _theirs) = Stream::pair()?;
    /// let refused = reactor.insert(ours, Watch::level(Interest::IN)).unwrap_err();
    /// assert_eq!(refused.error.kind(), ErrorKind::InvalidInput);
    /// let token = reactor.insert(refused.source, Watch::edge(Interest::IN))?;
    /// assert!(reactor.contains(token));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn insert(&self, source: T, watch: Watch) -> Result<Token, InsertError<T>> {
        self.insert_now(source, watch, Blocking::Refused)
    }

    /// Like [`insert`](Self::insert), for a descriptor that blocks, one-shot. Its handler makes one read
    /// or write for each report and no more: another one may block.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert), but [`InvalidInput`](io::ErrorKind::InvalidInput) only for a
    /// level trigger, or an edge trigger on a descriptor that blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::shared::{LeaseReady, SharedReactor};
    /// use epoll_reactor::{Interest, Registration, Watch};
    /// use std::io::Read;
    /// use std::process::{ChildStdout, Command, Stdio};
    ///
    /// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let reactor: SharedReactor<ChildStdout> = SharedReactor::new()?;
    /// let output = child.stdout.take().expect("it is piped");
    /// reactor.insert_blocking(output, Watch::oneshot(Interest::IN))?;
    ///
    /// let (mut worker, mut printed) = (reactor.worker(), Vec::new());
    /// while !reactor.is_empty() {
    ///     worker.wait(None)?;
    ///     while let Some(ready) = worker.next_ready() {
    ///         let LeaseReady::Owned(mut output) = ready else { continue };
    ///         let mut buffer = [0; 64];
    ///         match output.read(&mut buffer)? {
    ///             0 => output.close(),
    ///             len => printed.extend_from_slice(&buffer[..len]),
    ///         }
    ///     }
    /// }
    /// assert_eq!(printed, b"hello\n");
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn insert_blocking(&self, source: T, watch: Watch) -> Result<Token, InsertError<T>> {
        self.insert_now(source, watch, Blocking::Allowed)
    }

    /// Like [`insert`](Self::insert), and returns the first lease of the source: no other thread gets it
    /// before that ends, and the kernel does not watch it before either. So no thread wakes up for a source
    /// that it does not get, and an interest that the lease changes costs no system call of its own.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert) that do not come from the kernel. A source that the kernel refuses when the
    /// lease ends is handed out as [unwatched](Lease::is_unwatched), again and again until it is closed: a loop has
    /// to look at [`close_requested`](Lease::close_requested).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Registration, Watch};
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, _theirs) = Stream::pair()?;
    /// let lease = reactor.insert_leased(ours, Watch::oneshot(Interest::IN))?;
    /// // Store the token where the threads look it up. No thread is given the stream before.
    /// let token = lease.token();
    /// drop(lease);
    /// assert!(reactor.contains(token));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn insert_leased(
        &self,
        source: T,
        watch: Watch,
    ) -> Result<Lease<'_, T, S>, InsertError<T>> {
        self.insert_held(source, watch, Blocking::Refused)
    }

    /// Inserts a source and adds it to the epoll instance.
    fn insert_now(
        &self,
        source: T,
        watch: Watch,
        blocking: Blocking,
    ) -> Result<Token, InsertError<T>> {
        let mut lease = self.insert_held(source, watch, blocking)?;
        // While it is held: another thread may fetch its first event before this call returns, and leaves it to
        // the lease.
        match lease.add() {
            Ok(()) => Ok(lease.token()),
            Err(error) => Err(InsertError { source: lease.take_back(), error }),
        }
    }

    fn insert_held(
        &self,
        source: T,
        watch: Watch,
        blocking: Blocking,
    ) -> Result<Lease<'_, T, S>, InsertError<T>> {
        if let Err(error) = refuse(&source, watch, blocking) {
            return Err(InsertError { source, error });
        }
        let Some((index, slot)) = self.table.take_vacancy() else {
            return Err(InsertError { source, error: io::ErrorKind::OutOfMemory.into() });
        };
        let (mut held, generation) = slot.occupy();
        let token = Token::new(self.id, index, generation);
        *held = Content { source: Some(source), watch, arming: Arming::New, epoch: 0 };
        Ok(Lease::new(self, held, token, Pending::NONE, Holder::Other))
    }

    /// Returns a lease of the source that the token names; `None` if there is none, or another thread
    /// has it.
    ///
    /// For work that is not about its readiness: its timer, its address, its end. Events that the kernel
    /// reports while the lease lasts are handed out afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Registration, Watch};
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, _theirs) = Stream::pair()?;
    /// let token = reactor.insert(ours, Watch::oneshot(Interest::IN))?;
    ///
    /// let lease = reactor.lease(token).expect("no other thread has it");
    /// assert!(reactor.lease(token).is_none(), "it is in use");
    /// lease.close();
    /// assert!(!reactor.contains(token));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn lease(&self, token: Token) -> Option<Lease<'_, T, S>> {
        let (index, generation) = self.id.parts_of(token)?;
        let slot = self.table.slot(index)?;
        match slot.claim_idle(generation) {
            Claim::Held(held) => Some(Lease::new(self, held, token, Pending::NONE, Holder::Other)),
            Claim::Deferred | Claim::Gone => None,
        }
    }

    /// Returns whether the token names a source, whether or not a thread currently holds it.
    #[must_use]
    pub fn contains(&self, token: Token) -> bool {
        let slot = self.id.parts_of(token).and_then(|(index, _)| self.table.slot(index));
        slot.and_then(Slot::occupant).map(Generation::get) == Some(token.generation())
    }

    /// Requests the close of a source from the thread that holds it, or holds it next: one more report
    /// will say so, see [`Lease::close_requested`]. Returns `false` if the token names no source.
    ///
    /// # Errors
    ///
    /// Those of [`Waker::wake`].
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::{LeaseReady, SharedReactor};
    /// use epoll_reactor::{Interest, Registration, Watch};
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, _theirs) = Stream::pair()?;
    /// let token = reactor.insert(ours, Watch::oneshot(Interest::IN))?;
    /// assert!(reactor.request_close(token)?);
    ///
    /// let mut worker = reactor.worker();
    /// while reactor.contains(token) {
    ///     worker.wait(None)?;
    ///     while let Some(ready) = worker.next_ready() {
    ///         match ready {
    ///             LeaseReady::Owned(stream) if stream.close_requested() => stream.close(),
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn request_close(&self, token: Token) -> io::Result<bool> {
        self.leave(token, Pending::CLOSE)
    }

    /// Notifies the current holder of a source, or the next one, about something unrelated to its
    /// readiness: one more report will say so, see [`Lease::is_notified`]. Its meaning is up to the
    /// program. Returns `false` if the token names no source.
    ///
    /// The notification reaches a busy source too, for which [`lease`](Self::lease) may never succeed. A parked
    /// source is reported this once.
    ///
    /// # Errors
    ///
    /// Those of [`Waker::wake`].
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::{LeaseReady, SharedReactor};
    /// use epoll_reactor::{Interest, Watch};
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, _theirs) = Stream::pair()?;
    /// let token = reactor.insert(ours, Watch::oneshot(Interest::IN))?;
    /// assert!(reactor.notify(token)?);
    ///
    /// let mut worker = reactor.worker();
    /// let mut is_notified = false;
    /// while !is_notified {
    ///     worker.wait(None)?;
    ///     while let Some(ready) = worker.next_ready() {
    ///         if let LeaseReady::Owned(stream) = ready {
    ///             is_notified = stream.is_notified();
    ///         }
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn notify(&self, token: Token) -> io::Result<bool> {
        self.leave(token, Pending::NOTIFY)
    }

    fn leave(&self, token: Token, pending: Pending) -> io::Result<bool> {
        let Some((index, generation)) = self.id.parts_of(token) else { return Ok(false) };
        let Some(slot) = self.table.slot(index) else { return Ok(false) };
        match slot.claim(generation, pending) {
            Claim::Gone => Ok(false),
            Claim::Deferred => Ok(true),
            Claim::Held(held) => {
                // The queue holds the source until a worker takes it from there.
                held.enqueue();
                self.requeue(token, pending);
                self.waker.wake().map(|()| true)
            }
        }
    }

    /// Arms a source that was [parked](Registration::park) as before, which reports it if it is ready.
    /// Returns `false` if the token names no source; a source that is not parked stays as it is.
    ///
    /// It may be called before the lease has ended that parks the source: that lease then arms the source
    /// when it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::{LeaseReady, SharedReactor};
    /// use epoll_reactor::{Interest, Registration, Watch};
    /// use std::io::Write;
    /// use std::time::Duration;
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, mut theirs) = Stream::pair()?;
    /// let mut stream = reactor.insert_leased(ours, Watch::edge(Interest::IN))?;
    /// let token = stream.token();
    /// stream.park()?;
    /// drop(stream);
    ///
    /// // Another thread computes the answer. Meanwhile nothing is reported.
    /// assert_eq!(theirs.write(b"next")?, 4);
    /// let mut worker = reactor.worker();
    /// worker.wait(Some(Duration::from_millis(10)))?;
    /// assert!(worker.next_ready().is_none());
    ///
    /// assert!(reactor.unpark(token));
    /// worker.wait(None)?;
    /// assert!(matches!(worker.next_ready(), Some(LeaseReady::Owned(_))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unpark(&self, token: Token) -> bool {
        let Some((index, generation)) = self.id.parts_of(token) else { return false };
        let Some(slot) = self.table.slot(index) else { return false };
        match slot.claim(generation, Pending::UNPARK) {
            Claim::Gone => false,
            Claim::Deferred => true,
            Claim::Held(held) => {
                // The end of the lease arms the source.
                drop(Lease::new(self, held, token, Pending::UNPARK, Holder::Other));
                true
            }
        }
    }

    /// Returns the tokens of the present sources, in no particular order. Takes a step for each slot that
    /// was ever used.
    ///
    /// # Examples
    ///
    /// Closing every source, as at the end of a drain:
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Registration, Watch};
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, _theirs) = Stream::pair()?;
    /// reactor.insert(ours, Watch::oneshot(Interest::IN))?;
    /// for token in reactor.tokens() {
    ///     match reactor.lease(token) {
    ///         Some(stream) => stream.close(),
    ///         // Another thread has it, and is asked to close it.
    ///         None => drop(reactor.request_close(token)?),
    ///     }
    /// }
    /// assert!(reactor.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        let name = |(index, generation)| Token::new(self.id, index, generation);
        let used = self.table.used();
        used.filter_map(|(index, slot)| Some((index, slot.occupant()?))).map(name).collect()
    }

    /// Leaves a source to the run queue, with what its next holder has to learn.
    fn hand_out_again(
        &self,
        held: HeldSlot<'_, T>,
        token: Token,
        pending: Pending,
        by: Holder<'_>,
    ) {
        // First: whoever takes the token out of the queue claims the source.
        held.enqueue();
        let count = self.requeue(token, pending);
        if matches!(by, Holder::Other) || count > 1 {
            // A worker looks at the queue before it waits, so for a single source it need not be woken.
            // Any other thread does not look. Ignored: after an error the source stays in the queue, where
            // the next wait finds it.
            let _ = self.waker.wake();
        }
    }

    /// Appends to the queue and returns its length.
    fn requeue(&self, token: Token, pending: Pending) -> usize {
        let mut queue = self.run_queue();
        queue.push_back((token, pending));
        // Counted under the lock, so that lengths are seen in the order of the changes.
        let is_nested = self.attention.add_queued();
        let len = queue.len();
        // Released before a system call.
        drop(queue);
        if is_nested {
            self.waker.signal();
        }
        len
    }

    fn dequeue(&self) -> Option<(Token, Pending)> {
        let mut queue = self.run_queue();
        let first = queue.pop_front()?;
        self.attention.remove_queued();
        Some(first)
    }

    fn run_queue(&self) -> MutexGuard<'_, VecDeque<(Token, Pending)>> {
        // Nothing panics under the lock unless memory runs out.
        self.run_queue.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the low bits of the epoch. They come round after 128 rebuilds, and nothing worse than one
    /// system call too many comes of that.
    fn epoch(&self) -> u8 {
        self.epoch.load(Ordering::SeqCst).to_le_bytes()[0]
    }

    /// Makes the descriptor readable if another loop may be watching it.
    fn signal_if_nested(&self) {
        if self.attention.is_nested() {
            self.waker.signal();
        }
    }
}

impl<T, S> SharedReactor<T, S> {
    /// Ends the reactor and returns its sources, in no particular order.
    pub fn into_sources(self) -> impl Iterator<Item = T> {
        self.table.into_sources()
    }

    /// Returns the number of sources that it owns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether it owns no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a waker, with which any thread can end the wait of one worker.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Ends all waits, present and future: [`Worker::wait`] returns `false` from now on, and the threads
    /// should end. [`into_sources`](Self::into_sources) then returns the sources that are left.
    ///
    /// # Errors
    ///
    /// Does not fail on Linux today; the `Result` leaves room for a write that the kernel refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Watch};
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, _theirs) = Stream::pair()?;
    /// reactor.insert(ours, Watch::oneshot(Interest::IN))?;
    /// std::thread::scope(|threads| {
    ///     let waiting = threads.spawn(|| reactor.worker().wait(None));
    ///     reactor.stop()?;
    ///     assert!(!waiting.join().unwrap()?);
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// assert_eq!(reactor.into_sources().count(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(&self) -> io::Result<()> {
        // Before the write: a thread that it wakes looks at the flag.
        self.attention.stop();
        self.stop.write(1)
    }

    /// Returns whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.attention.is_stopped()
    }

    /// Returns the sums of the counters of all threads.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.0.sum()
    }

    /// Returns the epoll instance, for [`Epoll::interest_list`] and the busy-poll parameters. To watch
    /// the reactor in another loop, use the reactor's own descriptor.
    #[must_use]
    pub fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}

fn refuse<T: Source>(source: &T, watch: Watch, blocking: Blocking) -> io::Result<()> {
    if !watch.is_edge() && !watch.is_oneshot() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a source that threads share must be one-shot or edge-triggered, not level-triggered",
        ));
    }
    if source.is_nonblocking() {
        return Ok(());
    }
    refuse_blocking(source.as_fd(), Arm::Normal(watch), blocking)
}

/// The descriptor of the epoll instance: readable while the reactor has something to report.
impl<T: Source, S> AsFd for SharedReactor<T, S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // Queued before anybody watched, so the descriptor does not show it yet.
        if self.attention.set_nested() {
            self.waker.signal();
        }
        self.epoll.as_fd()
    }
}

/// The same descriptor as by [`AsFd`].
impl<T: Source, S> AsRawFd for SharedReactor<T, S> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T, S> fmt::Debug for SharedReactor<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReactor")
            .field("epoll", &self.epoll)
            .field("sources", &self.len())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
