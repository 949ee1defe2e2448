//! An event loop for several threads on one epoll instance.
//!
//! A [`SharedReactor`] owns sources as a [`Reactor`](crate::Reactor) does. Any number of threads wait on
//! it, each through a [`Worker`] of its own. A report gives one thread a [`Lease`]: exclusive access to the
//! source until it is dropped. The kernel alone would not keep two threads apart (`epoll(7)`: an edge can
//! be reported to one thread while another still handles the one before); a word beside each source does,
//! see `handover.rs`. What is reported of a source in use is noted there and handed out when it is free.
//!
//! How a source is re-armed is a matter of its trigger:
//!
//! - **One-shot** ([`Watch::oneshot`]): the kernel reports it once and is silent until the lease
//!   ends, which costs an `epoll_ctl(EPOLL_CTL_MOD)` for each report.
//! - **Edge** ([`Watch::edge`]): nothing is re-armed. What arrives while the source is in use wakes
//!   another thread for no more than a note.
//!
//! Level-triggered sources are refused: all threads would be woken for as long as one reads.

mod counters;
mod handover;
mod lease;
mod sync;
mod table;
mod worker;

#[cfg(all(loom, test))]
mod model;

pub use lease::Lease;
pub use worker::{BATCH_MAX, Ready, Worker};

use crate::reactor::Armed;
use crate::registry::{no_such_source, refuse_blocking_edge};
use crate::slots::Slots;
use crate::token::ReactorId;
use crate::{Counters, InsertError, Source, Token, Waker};
use counters::{Shared, count};
use epoll_sys::{Epoll, EventFd, Interest, Watch};
use handover::{Claim, Note};
use lease::Holder;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use table::{Content, INDEX_END, Table};

/// What epoll carries for the waker and for the stop; no token has a generation of zero.
const WAKER: u64 = 0;
const STOP: u64 = 1;

/// An event loop for several threads, which share its sources.
///
/// It owns sources of type `T`, connections usually, and watches descriptors that live elsewhere, each
/// under a tag of type `S`. Every method can be called from any thread, also while others wait.
///
/// # Examples
///
/// Two threads, and a source that is handled by one of them at a time:
///
/// ```
/// use epoll_reactor::shared::{Ready, SharedReactor};
/// use epoll_reactor::{Interest, Watch};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::{io, thread};
///
/// fn serve(reactor: &SharedReactor<UnixStream>) -> io::Result<()> {
///     let mut worker = reactor.worker();
///     while worker.wait(None)? {
///         while let Some(ready) = worker.next_ready() {
///             if let Ready::Owned(mut stream) = ready {
///                 let mut word = [0; 5];
///                 stream.read_exact(&mut word)?;
///                 stream.write_all(&word)?;
///                 // Here the lease ends, and the stream is armed again.
///             }
///         }
///     }
///     Ok(())
/// }
///
/// let reactor = SharedReactor::new()?;
/// let (ours, mut theirs) = UnixStream::pair()?;
/// reactor.insert(ours, Watch::oneshot(Interest::IN))?;
/// thread::scope(|threads| -> io::Result<()> {
///     let serving = [(); 2].map(|()| threads.spawn(|| serve(&reactor)));
///     theirs.write_all(b"hello")?;
///     let mut echo = [0; 5];
///     theirs.read_exact(&mut echo)?;
///     assert_eq!(&echo, b"hello");
///     reactor.stop()?;
///     serving.into_iter().try_for_each(|thread| thread.join().unwrap())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SharedReactor<T, S = ()> {
    epoll: Epoll,
    id: ReactorId,
    table: Table<T>,
    watched: RwLock<Slots<Tagged<S>>>,
    /// Sources that stay held for whoever serves what was noted of them, and reports of descriptors
    /// that live elsewhere, which a worker has left undone.
    again: Mutex<VecDeque<(Token, Note)>>,
    /// The length of `again`.
    again_len: AtomicUsize,
    waker: Waker,
    /// Readable from the stop on, for every thread and every wait.
    stop: EventFd,
    is_stopped: AtomicBool,
    counters: Shared,
}

/// A descriptor that lives elsewhere.
struct Tagged<S> {
    tag: S,
    fd: RawFd,
}

impl<T: Source, S> SharedReactor<T, S> {
    /// A reactor without sources.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. A reactor takes
    /// three.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let (waker, stop) = (Waker::new()?, EventFd::new(0)?);
        epoll.add(&waker, WAKER, Watch::edge(Interest::IN))?;
        epoll.add(&stop, STOP, Watch::level(Interest::IN))?;
        Ok(Self {
            epoll,
            id: ReactorId::new(),
            table: Table::new(),
            watched: RwLock::new(Slots::new()),
            again: Mutex::new(VecDeque::new()),
            again_len: AtomicUsize::new(0),
            waker,
            stop,
            is_stopped: AtomicBool::new(false),
            counters: Shared::default(),
        })
    }

    /// Takes ownership of `source` and watches it, one-shot or edge-triggered.
    ///
    /// # Errors
    ///
    /// Each gives the source back. [`InvalidInput`](io::ErrorKind::InvalidInput): a level trigger, or
    /// an edge trigger on a descriptor that blocks. The others of
    /// [`Reactor::insert`](crate::Reactor::insert).
    pub fn insert(&self, source: T, watch: Watch) -> Result<Token, InsertError<T>> {
        self.insert_leased(source, watch).map(|lease| lease.token())
    }

    /// Like [`insert`](Self::insert), and the caller is the first to have the source: nobody else is
    /// given it before the lease ends.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert).
    pub fn insert_leased(
        &self,
        source: T,
        watch: Watch,
    ) -> Result<Lease<'_, T, S>, InsertError<T>> {
        if let Err(error) = refuse::<T>(&source, watch) {
            return Err(InsertError { source, error });
        }
        let Some((index, slot)) = self.table.take_vacancy() else {
            return Err(InsertError { source, error: io::ErrorKind::OutOfMemory.into() });
        };
        // Held from the first moment, so that a report that is faster than this is noted.
        let generation = slot.handover.occupy();
        let token = Token { index, generation, reactor: self.id };
        let added = self.epoll.add(source.as_fd(), token.data(), watch);
        *slot.content() = Some(Content { source, watch });
        let lease = Lease::new(self, slot, token, Note::NOTHING, Holder::Stranger);
        match added {
            Ok(()) => {
                count(&self.counters.adds);
                Ok(lease)
            }
            Err(error) => Err(InsertError { source: lease.take_back(), error }),
        }
    }

    /// Exclusive access to a source, if there is one by this name and nobody has it just now.
    ///
    /// For what is not about its readiness: its timer, its address, its end. While the lease lasts,
    /// what is reported of the source is noted and handed out afterwards.
    #[must_use]
    pub fn lease(&self, token: Token) -> Option<Lease<'_, T, S>> {
        self.id.check(token);
        let slot = self.table.slot(token.index)?;
        match slot.handover.claim_idle(token.generation.get()) {
            Claim::Held(_) => Some(Lease::new(self, slot, token, Note::NOTHING, Holder::Stranger)),
            Claim::Noted | Claim::Gone => None,
        }
    }

    /// Whether the token names a source, in somebody's hands or not.
    #[must_use]
    pub fn contains(&self, token: Token) -> bool {
        self.id.check(token);
        let occupant = self.table.slot(token.index).and_then(|slot| slot.handover.occupant());
        occupant == Some(token.generation)
    }

    /// Asks whoever holds the source next, or has it now, to close it: one more report will say so,
    /// see [`Lease::is_asked_to_close`]. `false`: the token names no source.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn ask_to_close(&self, token: Token) -> io::Result<bool> {
        self.leave(token, Note::CLOSE)
    }

    /// Calls whoever holds the source next, or has it now, to see to something that has nothing to do
    /// with its readiness: one more report will say so, see [`Lease::is_called`]. What it is about is
    /// the callers' own affair. `false`: the token names no source.
    ///
    /// A source that is busy is never [free](Self::lease) for long, but this reaches it.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn call(&self, token: Token) -> io::Result<bool> {
        self.leave(token, Note::CALL)
    }

    fn leave(&self, token: Token, note: Note) -> io::Result<bool> {
        self.id.check(token);
        let Some(slot) = self.table.slot(token.index) else { return Ok(false) };
        match slot.handover.claim(token.generation.get(), note) {
            Claim::Gone => Ok(false),
            Claim::Noted => Ok(true),
            Claim::Held(_) => {
                self.push_again(token, note);
                self.waker.wake().map(|()| true)
            }
        }
    }

    /// The sources that there are just now, in no order that means anything. Visits every slot.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        let name = |(index, generation)| Token { index, generation, reactor: self.id };
        let used = self.table.used();
        used.filter_map(|(index, slot)| Some((index, slot.handover.occupant()?)))
            .map(name)
            .collect()
    }

    fn hand_out_again(&self, token: Token, note: Note, holder: Holder) {
        let count = self.push_again(token, note);
        if holder == Holder::Stranger || count > 1 {
            // A worker looks before it waits, but does one after the other; a stranger does not look.
            let _ = self.waker.wake();
        }
    }

    /// How many there are now.
    fn push_again(&self, token: Token, note: Note) -> usize {
        let mut again = self.again();
        again.push_back((token, note));
        self.again_len.store(again.len(), Ordering::Release);
        again.len()
    }

    fn pop_again(&self) -> Option<(Token, Note)> {
        let mut again = self.again();
        let first = again.pop_front();
        self.again_len.store(again.len(), Ordering::Release);
        first
    }

    fn again(&self) -> MutexGuard<'_, VecDeque<(Token, Note)>> {
        // Nothing in there panics but for want of memory.
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Source, S: Copy> SharedReactor<T, S> {
    /// A thread's way to wait for this reactor, with waits that take at most [`BATCH_MAX`] events.
    #[must_use]
    pub fn worker(&self) -> Worker<'_, T, S> {
        self.worker_with_batch_max(BATCH_MAX)
    }

    /// Like [`worker`](Self::worker), with waits that take at most `batch_max` events; zero counts as
    /// one.
    ///
    /// What a thread has fetched waits for that thread, even while it is preempted: few is quick.
    #[must_use]
    pub fn worker_with_batch_max(&self, batch_max: usize) -> Worker<'_, T, S> {
        Worker::new(self, batch_max)
    }

    /// Watches a descriptor that lives elsewhere; its reports carry `tag`. Nobody leases it: with a
    /// level or an edge trigger it may be reported to several threads at once.
    ///
    /// It is borrowed for the call alone. [`unwatch`](Self::unwatch) it before it is closed.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::watch`](crate::Reactor::watch).
    pub fn watch(&self, source: impl AsFd, tag: S, watch: Watch) -> io::Result<Token> {
        refuse_blocking_edge(source.as_fd(), Armed::Shared(watch))?;
        let mut watched = self.watched.write().unwrap_or_else(PoisonError::into_inner);
        let (index, generation) = watched.next().ok_or(io::ErrorKind::OutOfMemory)?;
        let token = Token { index: index | INDEX_END, generation, reactor: self.id };
        self.epoll.add(&source, token.data(), watch)?;
        watched.insert(Tagged { tag, fd: source.as_fd().as_raw_fd() });
        count(&self.counters.adds);
        Ok(token)
    }

    /// Watches such a descriptor another way from now on, or arms it again: `EPOLL_CTL_MOD`.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::modify_watched`](crate::Reactor::modify_watched).
    pub fn modify_watched(&self, token: Token, source: impl AsFd, watch: Watch) -> io::Result<()> {
        refuse_blocking_edge(source.as_fd(), Armed::Shared(watch))?;
        let watched = self.watched.read().unwrap_or_else(PoisonError::into_inner);
        self.check_watched(&watched, token, &source)?;
        self.epoll.modify(source, token.data(), watch)?;
        count(&self.counters.mods);
        Ok(())
    }

    /// Ends the registration of such a descriptor: `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the token names no watched descriptor, or `source` is
    /// another one; then the registration stays.
    pub fn unwatch(&self, token: Token, source: impl AsFd) -> io::Result<()> {
        let mut watched = self.watched.write().unwrap_or_else(PoisonError::into_inner);
        self.check_watched(&watched, token, &source)?;
        self.epoll.delete(source)?;
        count(&self.counters.dels);
        watched.remove(token.index & !INDEX_END, token.generation.get());
        Ok(())
    }

    /// Ends the registration of such a descriptor that was closed without [`unwatch`](Self::unwatch).
    /// `false`: the token names no watched descriptor.
    ///
    /// Closing has removed the kernel's entry, unless the descriptor had been cloned.
    pub fn forget(&self, token: Token) -> bool {
        self.id.check(token);
        let mut watched = self.watched.write().unwrap_or_else(PoisonError::into_inner);
        token.index & INDEX_END != 0
            && watched.remove(token.index & !INDEX_END, token.generation.get()).is_some()
    }

    fn check_watched(
        &self,
        watched: &Slots<Tagged<S>>,
        token: Token,
        source: impl AsFd,
    ) -> io::Result<()> {
        self.id.check(token);
        let is_tagged = token.index & INDEX_END != 0;
        match watched.get(token.index & !INDEX_END, token.generation.get()) {
            Some(tagged) if is_tagged && tagged.fd == source.as_fd().as_raw_fd() => Ok(()),
            _ => Err(no_such_source()),
        }
    }
}

impl<T, S> SharedReactor<T, S> {
    /// Ends the reactor and gives its sources, in no order that means anything.
    pub fn into_sources(self) -> impl Iterator<Item = T> {
        self.table.into_sources()
    }

    /// How many sources it owns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it owns no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Something that makes one waiting thread return, from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Ends all waits, present and future: [`Worker::wait`] answers `false` from now on, and the threads
    /// should end. What nobody was given by then [into_sources](Self::into_sources) gives back.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn stop(&self) -> io::Result<()> {
        self.is_stopped.store(true, Ordering::Release);
        self.stop.write(1)
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// What all threads together have done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.sum()
    }

    /// The epoll instance, for [`Epoll::interest_list`] and the busy-poll parameters.
    #[must_use]
    pub fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}

fn refuse<T: Source>(source: &T, watch: Watch) -> io::Result<()> {
    if !watch.is_edge() && !watch.is_oneshot() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a source that threads share must be one-shot or edge-triggered, not level-triggered",
        ));
    }
    if T::NONBLOCKING {
        return Ok(());
    }
    refuse_blocking_edge(source.as_fd(), Armed::Shared(watch))
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
