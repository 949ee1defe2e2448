//! Watched descriptors of a shared reactor, which live elsewhere. No thread leases them.
//!
//! Invariant: a descriptor's number names one registration, the latest. See `registry.rs` for the kernel
//! facts. The lock is held over the `epoll_ctl`, so that the table and the kernel change in the same order.

use crate::record::Arm;
use crate::registry::{Blocking, no_such_source, refuse_blocking};
use crate::shared::SharedReactor;
use crate::shared::counters::count;
use crate::shared::table::INDEX_END;
use crate::slots::{Generation, Slots};
use crate::{Source, Token};
use epoll_sys::{Epoll, EventFd, InterestEntry, Watch};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) struct WatchedTable<S>(RwLock<Watched<S>>);

pub(crate) struct Watched<S> {
    slots: Slots<Descriptor<S>>,
    /// The slot and the generation of each number.
    numbers: BTreeMap<RawFd, (u32, u32)>,
    /// An eventfd that ends the waits for an epoll instance that was replaced.
    pub(crate) kick: Option<EventFd>,
}

struct Descriptor<S> {
    tag: S,
    fd: RawFd,
    watch: Watch,
    /// `true` if it is not reported, and the kernel has no entry for it.
    is_parked: bool,
}

impl<S> WatchedTable<S> {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(Watched { slots: Slots::new(), numbers: BTreeMap::new(), kick: None }))
    }

    // Nothing panics under the lock unless memory runs out.

    fn read(&self) -> RwLockReadGuard<'_, Watched<S>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Watched<S>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the registration of the descriptor that had `number`, if there is one: another descriptor has
    /// that number now.
    #[inline]
    pub(crate) fn end_closed(&self, number: RawFd) {
        // Read first: after nearly every insertion there is none, and readers do not exclude each other.
        if self.read().numbers.contains_key(&number) {
            let mut watched = self.write();
            if let Some((index, generation)) = watched.numbers.remove(&number) {
                watched.slots.remove(index, generation);
            }
        }
    }
}

impl<S: Copy> WatchedTable<S> {
    /// Returns the tag of a descriptor that is to be reported; `None` if its registration has ended.
    pub(crate) fn tag(&self, index: u32, generation: u32) -> Option<Report<S>> {
        let watched = self.read();
        let descriptor = watched.slots.get(index & !INDEX_END, generation)?;
        if descriptor.is_parked {
            return Some(Report::Parked);
        }
        Some(Report::Ready(descriptor.tag, Generation::new(generation)?))
    }
}

/// The report of an event of a watched descriptor.
pub(crate) enum Report<S> {
    Ready(S, Generation),
    /// None: the event was fetched before the descriptor was parked.
    Parked,
}

impl<S> Watched<S> {
    /// Watches in `new` every descriptor that `old` watches. Ends the registrations of those that were
    /// closed.
    pub(crate) fn copy_entries(
        &mut self,
        old: &Epoll,
        new: &Epoll,
    ) -> io::Result<Vec<(u32, Generation)>> {
        let mut closed = Vec::new();
        for (index, generation, descriptor) in self.slots.iter() {
            if descriptor.is_parked {
                continue;
            }
            let data = u64::from(generation.get()) << 32 | u64::from(index | INDEX_END);
            let (fd, events) = (descriptor.fd, descriptor.watch.bits());
            // Only the number is known, and another file may have it by now: `old` tells, which watches
            // the file or does not.
            match new.copy_entry(old, InterestEntry { fd, events, data }) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    closed.push((index, generation));
                }
                copied => copied?,
            }
        }
        for &(index, generation) in &closed {
            self.remove(index, generation.get());
        }
        Ok(closed)
    }

    fn remove(&mut self, index: u32, generation: u32) -> Option<Descriptor<S>> {
        let descriptor = self.slots.remove(index, generation)?;
        if self.numbers.get(&descriptor.fd) == Some(&(index, generation)) {
            self.numbers.remove(&descriptor.fd);
        }
        Some(descriptor)
    }

    /// Returns the descriptor that `token` names, if it is `source`, and its slot.
    fn find(
        &mut self,
        parts: Option<(u32, u32)>,
        source: BorrowedFd<'_>,
    ) -> io::Result<(u32, &mut Descriptor<S>)> {
        let (index, generation) = parts.ok_or_else(no_such_source)?;
        let slot = index & !INDEX_END;
        match self.slots.get_mut(slot, generation) {
            Some(descriptor) if index & INDEX_END != 0 && descriptor.fd == source.as_raw_fd() => {
                Ok((slot, descriptor))
            }
            _ => Err(no_such_source()),
        }
    }
}

impl<T: Source, S> SharedReactor<T, S> {
    /// Watches a descriptor that lives elsewhere; its reports carry `tag`. No thread leases it, so with a
    /// level or an edge trigger it may be reported to several threads at once.
    ///
    /// It is borrowed for the call alone. [`unwatch`](Self::unwatch) it before it is closed. If it is
    /// closed first, its registration lasts until [`forget`](Self::forget) or until a descriptor with
    /// its number is registered, and is reported only while a clone of the descriptor is open. While the
    /// descriptor is parked, the kernel does not have it: to register it again ends this registration
    /// instead of failing with [`AlreadyExists`](io::ErrorKind::AlreadyExists).
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::watch`](crate::Reactor::watch).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::EventFd;
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::{LeaseReady, SharedReactor};
    /// use epoll_reactor::{Interest, Watch};
    ///
    /// let counter = EventFd::new(1)?;
    /// let reactor: SharedReactor<Stream, &str> = SharedReactor::new()?;
    /// let token = reactor.watch(&counter, "counter", Watch::oneshot(Interest::IN))?;
    ///
    /// let mut worker = reactor.worker();
    /// worker.wait(None)?;
    /// let ready = worker.next_ready();
    /// assert!(matches!(ready, Some(LeaseReady::Watched { tag: "counter", .. })));
    /// reactor.unwatch(token, &counter)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watch(&self, source: impl AsFd, tag: S, watch: Watch) -> io::Result<Token> {
        let fd = source.as_fd();
        refuse_blocking(fd, Arm::Normal(watch), Blocking::Allowed)?;
        let mut watched = self.watched.write();
        let (index, generation) = watched.slots.next().ok_or(io::ErrorKind::OutOfMemory)?;
        let token = Token::new(self.id, index | INDEX_END, generation);
        self.epoll.add(fd, token.data(), watch)?;
        count(&self.counters.0.adds);
        let number = fd.as_raw_fd();
        watched.slots.insert(Descriptor { tag, fd: number, watch, is_parked: false });
        // If the number was watched, its descriptor was closed, or the kernel would have said EEXIST.
        if let Some((index, generation)) = watched.numbers.insert(number, (index, generation.get()))
        {
            watched.slots.remove(index, generation);
        }
        Ok(token)
    }

    /// Changes the interest and the trigger of a watched descriptor, or arms it again: `EPOLL_CTL_MOD`. A
    /// descriptor that is parked is parked no longer.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::modify_watched`](crate::Reactor::modify_watched).
    ///
    /// # Examples
    ///
    /// One thread at a time handles the counter, which is one-shot and armed again at the end:
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::EventFd;
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::{LeaseReady, SharedReactor};
    /// use epoll_reactor::{Interest, Watch};
    ///
    /// let counter = EventFd::new(1)?;
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let oneshot = Watch::oneshot(Interest::IN);
    /// reactor.watch(&counter, (), oneshot)?;
    /// let mut worker = reactor.worker();
    /// for _ in 0..2 {
    ///     worker.wait(None)?;
    ///     while let Some(LeaseReady::Watched { token, .. }) = worker.next_ready() {
    ///         assert_eq!(counter.read()?, 1);
    ///         reactor.modify_watched(token, &counter, oneshot)?;
    ///         counter.write(1)?;
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn modify_watched(&self, token: Token, source: impl AsFd, watch: Watch) -> io::Result<()> {
        let fd = source.as_fd();
        refuse_blocking(fd, Arm::Normal(watch), Blocking::Allowed)?;
        let mut watched = self.watched.write();
        let (_, descriptor) = watched.find(self.id.parts_of(token), fd)?;
        if descriptor.is_parked {
            self.epoll.add(fd, token.data(), watch)?;
            count(&self.counters.0.adds);
        } else {
            self.epoll.modify(fd, token.data(), watch)?;
            count(&self.counters.0.mods);
        }
        (descriptor.watch, descriptor.is_parked) = (watch, false);
        Ok(())
    }

    /// Silences a watched descriptor until it is unparked: `EPOLL_CTL_DEL`. Whatever happens to it, no
    /// thread is woken.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the token names no watched descriptor, or `source` is
    /// another one.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::EventFd;
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Watch};
    /// use std::time::Duration;
    ///
    /// let counter = EventFd::new(1)?;
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let token = reactor.watch(&counter, (), Watch::level(Interest::IN))?;
    /// let mut worker = reactor.worker();
    /// reactor.park_watched(token, &counter)?;
    /// worker.wait(Some(Duration::ZERO))?;
    /// assert!(worker.next_ready().is_none());
    ///
    /// reactor.unpark_watched(token, &counter)?;
    /// worker.wait(None)?;
    /// assert!(worker.next_ready().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn park_watched(&self, token: Token, source: impl AsFd) -> io::Result<()> {
        let mut watched = self.watched.write();
        let (_, descriptor) = watched.find(self.id.parts_of(token), source.as_fd())?;
        if !descriptor.is_parked {
            self.epoll.delete(source)?;
            count(&self.counters.0.dels);
            descriptor.is_parked = true;
        }
        Ok(())
    }

    /// Watches a descriptor that was parked as before. One that is not parked stays as it is.
    ///
    /// # Errors
    ///
    /// Those of [`park_watched`](Self::park_watched) and [`watch`](Self::watch).
    pub fn unpark_watched(&self, token: Token, source: impl AsFd) -> io::Result<()> {
        let mut watched = self.watched.write();
        let (_, descriptor) = watched.find(self.id.parts_of(token), source.as_fd())?;
        if descriptor.is_parked {
            self.epoll.add(source, token.data(), descriptor.watch)?;
            count(&self.counters.0.adds);
            descriptor.is_parked = false;
        }
        Ok(())
    }

    /// Ends the registration of a watched descriptor: `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the token names no watched descriptor, or `source` is
    /// another one; then the registration stays.
    pub fn unwatch(&self, token: Token, source: impl AsFd) -> io::Result<()> {
        let mut watched = self.watched.write();
        let (slot, descriptor) = watched.find(self.id.parts_of(token), source.as_fd())?;
        if !descriptor.is_parked {
            self.epoll.delete(source)?;
            count(&self.counters.0.dels);
        }
        watched.remove(slot, token.generation());
        Ok(())
    }

    /// Ends the registration of a descriptor that was closed without [`unwatch`](Self::unwatch).
    /// Returns `false` if the token names no watched descriptor.
    ///
    /// Closing has removed the kernel's entry, unless the descriptor had been cloned: then the kernel
    /// goes on reporting it until the reactor [rebuilds](Self::rebuild) its epoll instance.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::EventFd;
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use epoll_reactor::{Interest, Watch};
    ///
    /// let counter = EventFd::new(0)?;
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let token = reactor.watch(&counter, (), Watch::level(Interest::IN))?;
    /// drop(counter);
    /// assert!(reactor.forget(token));
    /// assert!(!reactor.forget(token), "its registration has ended");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn forget(&self, token: Token) -> bool {
        match self.id.parts_of(token) {
            Some((index, generation)) if index & INDEX_END != 0 => {
                self.watched.write().remove(index & !INDEX_END, generation).is_some()
            }
            _ => false,
        }
    }
}
