//! A new epoll instance for a reactor: after `fork`, and to get rid of an entry that cannot be deleted.
//!
//! Kernel facts: (a) an entry is the pair of an open file description and a descriptor number, and is
//! removed with the last descriptor of the description: if the number was closed while a clone is open,
//! the entry cannot be deleted and is reported for ever; (b) a child of `fork` shares the epoll instance
//! with its parent; (c) a source that is added is reported if it is ready, whatever its trigger.

use crate::record::{Record, State};
use crate::token::unpack;
use crate::turn::WAKER_DATA;
use crate::{Reactor, Source, Token};
use epoll_sys::{Epoll, Interest, InterestEntry, Watch};
use std::io;

impl<T, S> Reactor<T, S> {
    #[cold]
    pub(crate) fn on_stale_event(&mut self, data: u64) {
        self.counters.stale += 1;
        crate::log::trace!("stale event dropped", data);
        if self.suspects.count(data) {
            // At the next wait: here the batch of the present instance is being handed out.
            self.nesting.set_rebuild_due();
        }
    }
}

impl<T: Source, S> Reactor<T, S> {
    /// Replaces the epoll instance by a new one, and watches every source there as before.
    ///
    /// A reactor does this by itself after a hundred stale events of one registration. They mean that a
    /// descriptor was closed while a clone of it is open, so that its entry cannot be deleted: a watched
    /// descriptor before [`unwatch`](Self::unwatch), or a source that broke its promise to be
    /// [unshared](Source::is_unshared). A reactor that is [nested](Self#nesting) leaves it to its
    /// owner, because the outer loop would lose sight of it.
    ///
    /// **After `fork`** a child calls it before it uses the reactor in any other way. It then has an
    /// instance and a [`Waker`](crate::Waker) of its own; the parent's are untouched. Otherwise the
    /// two share one: each takes the other's events, and with [`close`](Self::close) or
    /// [`remove`](Self::remove) the child deletes the entry of the parent's source too.
    ///
    /// Sources that are ready are reported anew, those with an edge trigger too. Parked sources stay
    /// parked, one-shot sources that were reported stay disarmed, and revisits and reports that were
    /// not handed out stay due. The [descriptor](std::os::fd::AsFd) of the reactor is another one afterwards:
    /// a loop that watches it has to watch it again.
    ///
    /// Returns the tokens of watched descriptors that were closed, whose registrations end.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. Those of
    /// [`Epoll::add`]. The reactor then goes on with the instance that it had.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    /// use std::io::Write;
    ///
    /// let (ours, mut theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let token = reactor.insert(ours, Watch::edge(Interest::IN))?;
    ///
    /// assert!(reactor.rebuild()?.is_empty());
    /// assert_eq!(theirs.write(b"hello")?, 5);
    /// reactor.wait(None)?;
    /// assert!(matches!(reactor.next_ready(), Some(Ready::Owned { token: it, .. }) if it == token));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "fork")]
    pub fn rebuild(&mut self) -> io::Result<Vec<Token>> {
        self.note_fetched();
        let epoll = Epoll::new()?;
        let mut closed = Vec::new();
        for (index, generation, record) in self.slots.iter() {
            let token = Token::new(self.id, index, generation);
            // Silent: adding a source would arm it.
            if record.state().is_silent() || record.state().is_detached() {
                continue;
            }
            match record {
                // Below, when nothing else can fail: from its renewal on, wakes do not reach the present
                // instance, which stays in use after an error.
                Record::Waker { .. } => {}
                Record::Owned { source, .. } => {
                    record.arm().add(&epoll, source.as_fd(), token.data())?;
                }
                Record::Watched { fd, .. } => {
                    let (events, data) = (record.arm().bits(), token.data());
                    let entry = InterestEntry { fd: *fd, events, data };
                    // Only the number is known, and another file may have it by now: the present
                    // instance tells, which watches the file or does not.
                    match epoll.copy_entry(&self.epoll, entry) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => closed.push(token),
                        copied => copied?,
                    }
                }
            }
        }
        self.renew_waker(&epoll)?;
        for (_, _, record) in self.slots.iter_mut() {
            // Silent ones were not added, so arming them is an ADD from now on.
            let state = record.state_mut();
            state.set(State::DETACHED, state.is_silent() || state.is_detached());
        }
        for &token in &closed {
            self.end_watched(token);
        }
        self.epoll = epoll;
        self.suspects.clear();
        self.nesting.set_rebuilt();
        self.counters.rebuilds += 1;
        Ok(closed)
    }

    /// Notes that the kernel has disarmed the one-shot sources whose events are still to be handed out.
    fn note_fetched(&mut self) {
        self.forget_rearmed();
        for event in (self.handed_out..self.events.len()).filter_map(|at| self.events.get(at)) {
            let (index, generation) = unpack(event.data);
            if let Some(record) = self.slots.get_mut(index, generation) {
                record.set_fetched();
            }
        }
    }

    /// Gives the waker an eventfd of its own and watches it in the new instance.
    fn renew_waker(&mut self, epoll: &Epoll) -> io::Result<()> {
        self.waker.renew()?;
        let watch = Watch::edge(Interest::IN);
        epoll.add(&self.waker, WAKER_DATA, watch).inspect_err(|_| {
            // The instance that stays in use watches the former eventfd, so it is given the new one.
            // Ignored: if the kernel has no room for that either, wakes end no wait until the rebuild
            // is tried again.
            let _ = self.epoll.add(&self.waker, WAKER_DATA, watch);
        })
    }
}
