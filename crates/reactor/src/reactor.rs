//! The loop: one `epoll_wait` a turn, and the reports of that turn one by one.
//!
//! Kernel facts it copes with: (a) one batch can hold an event of a source that the handler of an
//! earlier event removed, and its descriptor may be another source by then: the generation in the
//! event's data decides; (b) an edge-triggered source that was not read to the end is not reported
//! again: it can ask to be revisited; (c) a wait ends with `EINTR` when a signal handler ran: it is
//! repeated against the deadline; (d) an exclusive registration cannot be modified.

use crate::slots::Slots;
use crate::token::ReactorId;
use crate::{Counters, InsertError, Source, Token, Waker};
use epoll_sys::{Epoll, Events, ExclusiveWatch, Interest, Readiness, Watch, is_nonblocking};
use std::collections::VecDeque;
use std::io;
use std::ops::{Index, IndexMut};
use std::os::fd::{AsFd, BorrowedFd};
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
pub struct Reactor<T, S = ()> {
    epoll: Epoll,
    id: ReactorId,
    slots: Slots<Registration<T, S>>,
    events: Events,
    /// How many of `events` have been handed out.
    handed_out: usize,
    /// Sources that asked to be revisited, in that order.
    revisits: VecDeque<Token>,
    /// How many of `revisits` belong to this turn.
    revisits_due: usize,
    waker: Waker,
    counters: Counters,
}

struct Registration<T, S> {
    subject: Subject<T, S>,
    /// What it will be told when it is revisited; empty when it has not asked.
    revisit: Readiness,
    armed: Armed,
}

enum Subject<T, S> {
    Owned(T),
    Watched(S),
    Waker,
}

/// What the kernel was asked for last.
#[derive(Clone, Copy)]
enum Armed {
    Shared(Watch),
    Exclusive(ExclusiveWatch),
}

/// One report of [`Reactor::next_ready`].
#[derive(Debug)]
pub enum Ready<'a, T, S = ()> {
    /// A source that the reactor owns.
    Owned {
        /// Its name.
        token: Token,
        /// The source itself.
        source: &'a mut T,
        /// What it is ready for.
        readiness: Readiness,
    },
    /// A descriptor that lives elsewhere.
    Watched {
        /// The name of its registration.
        token: Token,
        /// The tag under which it was registered.
        tag: S,
        /// What it is ready for.
        readiness: Readiness,
    },
    /// A [`Waker`] of this reactor was used.
    Woken,
}

impl<T: Source, S: Copy> Reactor<T, S> {
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
            waker: Waker::new()?,
            counters: Counters::default(),
        };
        let waker = reactor.waker.clone();
        let armed = Armed::Shared(Watch::edge(Interest::IN));
        reactor.prepare(waker.as_fd(), armed)?;
        reactor.occupy(Subject::Waker, armed);
        Ok(reactor)
    }

    /// Takes ownership of `source` and watches it.
    ///
    /// A source that is ready already is reported by the next wait, whatever the trigger.
    ///
    /// # Errors
    ///
    /// Each gives the source back.
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): an edge trigger on a descriptor that blocks.
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this descriptor is registered already.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it is a regular file or a directory.
    /// - [`StorageFull`](io::ErrorKind::StorageFull) and
    ///   [`OutOfMemory`](io::ErrorKind::OutOfMemory): the kernel takes no more, or no more than 2^32
    ///   registrations exist.
    ///
    /// The others of [`Epoll::add`].
    #[inline]
    pub fn insert(&mut self, source: T, watch: Watch) -> Result<Token, InsertError<T>> {
        self.insert_armed(source, Armed::Shared(watch))
    }

    /// Like [`insert`](Self::insert) with `EPOLLEXCLUSIVE`: of all epoll instances that watch this
    /// source exclusively at least one is woken, not all.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert), and [`InvalidInput`](io::ErrorKind::InvalidInput) for an
    /// epoll instance.
    pub fn insert_exclusive(
        &mut self,
        source: T,
        watch: ExclusiveWatch,
    ) -> Result<Token, InsertError<T>> {
        self.insert_armed(source, Armed::Exclusive(watch))
    }

    fn insert_armed(&mut self, source: T, armed: Armed) -> Result<Token, InsertError<T>> {
        if !T::NONBLOCKING {
            if let Err(error) = refuse_blocking_edge(source.as_fd(), armed) {
                return Err(InsertError { source, error });
            }
        }
        match self.prepare(source.as_fd(), armed) {
            Ok(token) => {
                self.occupy(Subject::Owned(source), armed);
                Ok(token)
            }
            Err(error) => Err(InsertError { source, error }),
        }
    }

    /// Watches a descriptor that lives elsewhere; its reports carry `tag`.
    ///
    /// It is borrowed for the call alone. End it with [`unwatch`](Self::unwatch) before it is
    /// closed; a descriptor that was closed first leaves a registration that is never reported.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert).
    pub fn watch(&mut self, source: impl AsFd, tag: S, watch: Watch) -> io::Result<Token> {
        self.watch_armed(source.as_fd(), tag, Armed::Shared(watch))
    }

    /// Like [`watch`](Self::watch) with `EPOLLEXCLUSIVE`.
    ///
    /// # Errors
    ///
    /// Those of [`insert_exclusive`](Self::insert_exclusive).
    pub fn watch_exclusive(
        &mut self,
        source: impl AsFd,
        tag: S,
        watch: ExclusiveWatch,
    ) -> io::Result<Token> {
        self.watch_armed(source.as_fd(), tag, Armed::Exclusive(watch))
    }

    fn watch_armed(&mut self, fd: BorrowedFd<'_>, tag: S, armed: Armed) -> io::Result<Token> {
        refuse_blocking_edge(fd, armed)?;
        let token = self.prepare(fd, armed)?;
        self.occupy(Subject::Watched(tag), armed);
        Ok(token)
    }

    /// Issues the `EPOLL_CTL_ADD` for the slot that the next [`occupy`](Self::occupy) will fill.
    #[inline]
    fn prepare(&mut self, fd: BorrowedFd<'_>, armed: Armed) -> io::Result<Token> {
        let (index, generation) = self.slots.next().ok_or(io::ErrorKind::OutOfMemory)?;
        let token = Token { index, generation, reactor: self.id };
        match armed {
            Armed::Shared(watch) => self.epoll.add(fd, token.data(), watch)?,
            Armed::Exclusive(watch) => self.epoll.add_exclusive(fd, token.data(), watch)?,
        }
        self.counters.adds += 1;
        Ok(token)
    }

    #[inline]
    fn occupy(&mut self, subject: Subject<T, S>, armed: Armed) {
        self.slots.insert(Registration { subject, revisit: Readiness::empty(), armed });
    }

    /// Watches an owned source another way from now on: `EPOLL_CTL_MOD`.
    ///
    /// The kernel looks at the source again, so one that is ready is reported anew by the next wait,
    /// whatever its trigger. A report of it that is in the present batch stays there.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound): the token names no owned source.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the source is registered exclusively (remove
    ///   it and insert it again), or an edge trigger on a descriptor that blocks.
    ///
    /// The others of [`Epoll::modify`].
    pub fn modify(&mut self, token: Token, watch: Watch) -> io::Result<()> {
        self.id.check(token);
        let Some(Registration { subject: Subject::Owned(source), armed, .. }) =
            self.slots.get_mut(token.index, token.generation)
        else {
            return Err(no_such_source());
        };
        if !T::NONBLOCKING {
            refuse_blocking_edge(source.as_fd(), Armed::Shared(watch))?;
        }
        modify(&self.epoll, source.as_fd(), token, armed, watch)?;
        self.counters.mods += 1;
        Ok(())
    }

    /// Watches an owned source for `interest` from now on, with the trigger it has.
    ///
    /// Costs a system call only where it has an effect: when the interest differs from the one in
    /// force, or when the source is one-shot, which its report has disarmed.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify).
    #[inline]
    pub fn set_interest(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.id.check(token);
        match self.slots.get(token.index, token.generation) {
            Some(Registration { armed: Armed::Shared(watch), .. }) => {
                let wanted = watch.with_interest(interest);
                if wanted == *watch && !wanted.is_oneshot() {
                    return Ok(());
                }
                self.modify(token, wanted)
            }
            Some(Registration { armed: Armed::Exclusive(_), .. }) => Err(exclusive()),
            None => Err(no_such_source()),
        }
    }

    /// Watches a descriptor that lives elsewhere another way from now on.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`NotFound`](io::ErrorKind::NotFound) also when `source`
    /// is another descriptor than the one that was registered.
    pub fn modify_watched(
        &mut self,
        token: Token,
        source: impl AsFd,
        watch: Watch,
    ) -> io::Result<()> {
        self.id.check(token);
        let Some(Registration { subject: Subject::Watched(_), armed, .. }) =
            self.slots.get_mut(token.index, token.generation)
        else {
            return Err(no_such_source());
        };
        refuse_blocking_edge(source.as_fd(), Armed::Shared(watch))?;
        modify(&self.epoll, source.as_fd(), token, armed, watch)?;
        self.counters.mods += 1;
        Ok(())
    }

    /// Takes an owned source out and gives it back: `EPOLL_CTL_DEL`.
    ///
    /// It is not reported any more, not even if the present batch holds a report of it. `None`: the
    /// token names no owned source.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let source = self.take_owned(token)?;
        // It fails when the value has another descriptor by now, and then there is no entry to
        // delete for it.
        let _ = self.epoll.delete(source.as_fd());
        self.counters.dels += 1;
        Some(source)
    }

    /// Takes an owned source out and drops it, which closes its descriptor.
    ///
    /// Where the type promises that its descriptor is [unshared](Source::UNSHARED), closing alone
    /// ends the registration, and a system call is saved. `false`: the token names no owned source.
    #[inline]
    pub fn close(&mut self, token: Token) -> bool {
        if T::UNSHARED { self.take_owned(token).is_some() } else { self.remove(token).is_some() }
    }

    fn take_owned(&mut self, token: Token) -> Option<T> {
        self.get(token)?;
        match self.slots.remove(token.index, token.generation)?.subject {
            Subject::Owned(source) => Some(source),
            Subject::Watched(_) | Subject::Waker => None,
        }
    }

    /// Ends the registration of a descriptor that lives elsewhere: `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the token names no watched descriptor, or `source` is
    /// another one. In the second case the registration has ended nevertheless: its reports are
    /// dropped as stale.
    pub fn unwatch(&mut self, token: Token, source: impl AsFd) -> io::Result<()> {
        self.id.check(token);
        match self.slots.get(token.index, token.generation) {
            Some(Registration { subject: Subject::Watched(_), .. }) => {
                self.slots.remove(token.index, token.generation);
                self.counters.dels += 1;
                self.epoll.delete(source)
            }
            _ => Err(no_such_source()),
        }
    }

    /// Reports an owned source again in the next turn, whose wait then does not sleep.
    ///
    /// For a source that stopped before its descriptor was dry, so that one busy peer cannot keep
    /// the others waiting: nothing is lost, not even with an edge trigger, because what has happened
    /// to the source in the meantime is added to `readiness`. Each source is reported once a turn.
    /// A token that names no owned source changes nothing.
    #[inline]
    pub fn revisit(&mut self, token: Token, readiness: Readiness) {
        self.id.check(token);
        let Some(registration) = self.slots.get_mut(token.index, token.generation) else { return };
        if !matches!(registration.subject, Subject::Owned(_)) || readiness.is_empty() {
            return;
        }
        if registration.revisit.is_empty() {
            self.revisits.push_back(token);
        }
        registration.revisit |= readiness;
    }

    /// Fetches the next batch: waits until a source is ready, a [`Waker`] is used or `timeout` is
    /// over. `None` waits without end; zero only looks.
    ///
    /// Returns how many reports there are at the most; zero after the timeout. It does not wait at
    /// all while reports of the last batch have not been handed out, and does not sleep while a
    /// source is to be revisited. A signal handler that runs meanwhile neither ends the wait nor
    /// moves its end. The timeout has the precision that [`Epoll::wait`] describes and is never cut
    /// short.
    ///
    /// # Errors
    ///
    /// None that is known.
    #[inline]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        match timeout {
            None => self.turn(None),
            Some(Duration::ZERO) => self.turn(Some(Duration::ZERO)),
            // A deadline beyond the clock's end is none.
            Some(timeout) => match Instant::now().checked_add(timeout) {
                Some(deadline) => self.wait_until(deadline),
                None => self.turn(None),
            },
        }
    }

    /// Like [`wait`](Self::wait), until `deadline` at the latest. A deadline that has passed only
    /// looks.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn wait_until(&mut self, deadline: Instant) -> io::Result<usize> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let reports = self.turn(Some(left))?;
            // An older kernel counts milliseconds in an int: a long wait ends before its deadline.
            if reports > 0 || left.is_zero() || Instant::now() >= deadline {
                return Ok(reports);
            }
        }
    }

    /// One wait that a signal may interrupt only when `timeout` is to be computed anew.
    #[inline]
    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let left = self.events.len() - self.handed_out + self.revisits_due;
        if left > 0 {
            return Ok(left);
        }
        self.revisits_due = self.revisits.len();
        let timeout = if self.revisits_due > 0 { Some(Duration::ZERO) } else { timeout };
        self.handed_out = 0;
        loop {
            self.counters.waits += 1;
            match self.epoll.wait(&mut self.events, timeout) {
                Ok(count) => {
                    self.counters.events += count as u64;
                    self.counters.batch_max = self.counters.batch_max.max(count as u64);
                    return Ok(count + self.revisits_due);
                }
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                // The end of a timed wait stands still while its length does not: ask the caller.
                Err(_) if timeout.is_some_and(|timeout| !timeout.is_zero()) => return Ok(0),
                Err(_) => {}
            }
        }
    }

    /// The next report of this turn; `None` when all have been handed out.
    ///
    /// First the batch in the kernel's order, then the sources that asked to be revisited.
    #[inline]
    pub fn next_ready(&mut self) -> Option<Ready<'_, T, S>> {
        let (token, readiness) = loop {
            let Some(event) = self.events.get(self.handed_out) else {
                break self.next_revisit()?;
            };
            self.handed_out += 1;
            let token = Token::from_data(event.data, self.id);
            match self.slots.get_mut(token.index, token.generation) {
                // Revisited later in this turn, and told both then.
                Some(registration) if !registration.revisit.is_empty() => {
                    registration.revisit |= event.readiness;
                }
                Some(_) => break (token, event.readiness),
                None => self.count_stale(token),
            }
        };
        match &mut self.slots.get_mut(token.index, token.generation)?.subject {
            Subject::Owned(source) => Some(Ready::Owned { token, source, readiness }),
            Subject::Watched(tag) => Some(Ready::Watched { token, tag: *tag, readiness }),
            Subject::Waker => {
                self.waker.take();
                self.counters.wakes += 1;
                Some(Ready::Woken)
            }
        }
    }

    #[cold]
    fn count_stale(&mut self, token: Token) {
        self.counters.stale += 1;
        crate::log::trace!("stale event dropped", token);
    }

    #[inline]
    fn next_revisit(&mut self) -> Option<(Token, Readiness)> {
        while self.revisits_due > 0 {
            self.revisits_due -= 1;
            let token = self.revisits.pop_front()?;
            // A source that was removed since is passed over.
            if let Some(registration) = self.slots.get_mut(token.index, token.generation) {
                self.counters.revisits += 1;
                return Some((token, std::mem::take(&mut registration.revisit)));
            }
        }
        None
    }

    /// The source that the reactor owns under this name.
    #[inline]
    pub fn get(&self, token: Token) -> Option<&T> {
        self.id.check(token);
        match self.slots.get(token.index, token.generation) {
            Some(Registration { subject: Subject::Owned(source), .. }) => Some(source),
            _ => None,
        }
    }

    /// The source that the reactor owns under this name, to change it.
    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.id.check(token);
        match self.slots.get_mut(token.index, token.generation) {
            Some(Registration { subject: Subject::Owned(source), .. }) => Some(source),
            _ => None,
        }
    }

    /// The sources that the reactor owns, in no order that means anything. Visits every slot.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let reactor = self.id;
        self.slots.iter_mut().filter_map(move |(index, generation, registration)| {
            match &mut registration.subject {
                Subject::Owned(source) => Some((Token { index, generation, reactor }, source)),
                Subject::Watched(_) | Subject::Waker => None,
            }
        })
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

fn modify(
    epoll: &Epoll,
    fd: BorrowedFd<'_>,
    token: Token,
    armed: &mut Armed,
    watch: Watch,
) -> io::Result<()> {
    if matches!(armed, Armed::Exclusive(_)) {
        return Err(exclusive());
    }
    epoll.modify(fd, token.data(), watch)?;
    *armed = Armed::Shared(watch);
    Ok(())
}

/// An edge is reported once, so its handler reads until nothing is left: a descriptor that blocks
/// would hang the loop there.
fn refuse_blocking_edge(fd: BorrowedFd<'_>, armed: Armed) -> io::Result<()> {
    let edge = match armed {
        Armed::Shared(watch) => watch.is_edge(),
        Armed::Exclusive(watch) => watch.is_edge(),
    };
    if edge && !is_nonblocking(fd)? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an edge-triggered source must be non-blocking, and this one blocks",
        ));
    }
    Ok(())
}

fn exclusive() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "an exclusive registration cannot be modified; remove it and insert it again",
    )
}

fn no_such_source() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such source in this reactor")
}

impl<T: Source, S: Copy> Index<Token> for Reactor<T, S> {
    type Output = T;

    /// The source under this name.
    ///
    /// # Panics
    ///
    /// When the token names no owned source; see [`Reactor::get`].
    #[inline]
    fn index(&self, token: Token) -> &T {
        self.get(token).expect("the token names no source of this reactor")
    }
}

impl<T: Source, S: Copy> IndexMut<Token> for Reactor<T, S> {
    #[inline]
    fn index_mut(&mut self, token: Token) -> &mut T {
        self.get_mut(token).expect("the token names no source of this reactor")
    }
}

/// A reactor is readable when it has something to report, so that another epoll can watch it.
impl<T, S> AsFd for Reactor<T, S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
