//! Parked sources: registered, but not reported, whatever happens to them, until they are unparked.
//!
//! Kernel facts: (a) HUP and ERR are reported whatever the interest is, so a level-triggered source whose
//! peer has gone is reported for ever, and an edge-triggered one once more; (b) only a deleted entry, and a
//! one-shot entry that was reported, are silent; (c) adding or arming a source polls it, so it is reported
//! if it is ready.

use crate::reactor::Reactor;
use crate::record::{Arm, Record, State};
use crate::registry::no_such_source;
use crate::{Source, Token};
use epoll_sys::Watch;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

impl<T: Source, S> Reactor<T, S> {
    /// Silences an owned source: it is not reported until it is unparked.
    ///
    /// For a source that waits for something other than its own readiness: a job on another thread,
    /// another connection. Whatever its peer does, no wait ends for it, with any trigger. Reports of it
    /// that are left of the present batch, and a revisit that was asked for, are dropped; the kernel is
    /// asked again when the source is unparked. A source that is parked already stays as it is, with a
    /// revisit that was asked for meanwhile.
    ///
    /// Parking costs an `EPOLL_CTL_DEL`, except for a one-shot source that was reported, which is silent
    /// already. [`unpark`](Self::unpark), [`set_interest`](Self::set_interest) and
    /// [`modify`](Self::modify) end it. The kernel then polls the source, so it is reported if it is
    /// ready, with an edge trigger too: a source that is watched for `OUT` at once while there is room.
    ///
    /// While it is parked, the kernel does not have it: a second registration of its descriptor is not
    /// refused then, and makes the end of the parking fail with
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists).
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the token names no owned source.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Readiness, Reactor, Ready, Watch};
    /// use std::time::Duration;
    ///
    /// let (ours, theirs) = Stream::pair()?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// let token = reactor.insert(ours, Watch::level(Interest::IN))?;
    ///
    /// reactor.park(token)?;
    /// drop(theirs);
    /// reactor.wait(Some(Duration::from_millis(10)))?;
    /// assert!(reactor.next_ready().is_none(), "HUP is not reported either");
    ///
    /// reactor.unpark(token)?;
    /// reactor.wait(None)?;
    /// let Some(Ready::Owned { readiness, .. }) = reactor.next_ready() else { unreachable!() };
    /// assert!(readiness.contains(Readiness::HUP));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn park(&mut self, token: Token) -> io::Result<()> {
        match self.record(token) {
            Some(Record::Owned { .. }) => self.silence(token, None),
            _ => Err(no_such_source()),
        }
    }

    /// Watches a source that was [parked](Self::park) as before. A source that is not parked stays as it
    /// is.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the token names no owned source. The others of
    /// [`Epoll::add`](epoll_sys::Epoll::add); the source stays parked then.
    pub fn unpark(&mut self, token: Token) -> io::Result<()> {
        match self.record(token) {
            Some(Record::Owned { .. }) => self.end_silence(token, None),
            _ => Err(no_such_source()),
        }
    }

    /// Returns whether the token names a source or a watched descriptor that is parked.
    #[must_use]
    pub fn is_parked(&self, token: Token) -> bool {
        self.record(token).is_some_and(|record| record.state().contains(State::PARKED))
    }

    /// Like [`park`](Self::park), for a descriptor that lives elsewhere.
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
    /// use epoll_reactor::{Interest, Reactor, Watch};
    /// use std::time::Duration;
    ///
    /// let counter = EventFd::new(1)?;
    /// let mut reactor = Reactor::watch_only()?;
    /// let token = reactor.watch(&counter, (), Watch::level(Interest::IN))?;
    /// reactor.park_watched(token, &counter)?;
    /// reactor.wait(Some(Duration::ZERO))?;
    /// assert!(reactor.next_ready().is_none());
    ///
    /// reactor.unpark_watched(token, &counter)?;
    /// reactor.wait(None)?;
    /// assert!(reactor.next_ready().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn park_watched(&mut self, token: Token, source: impl AsFd) -> io::Result<()> {
        self.check_watched(token, source.as_fd())?;
        self.silence(token, Some(source.as_fd()))
    }

    /// Like [`unpark`](Self::unpark), for a descriptor that lives elsewhere.
    ///
    /// # Errors
    ///
    /// Those of [`park_watched`](Self::park_watched) and [`unpark`](Self::unpark).
    pub fn unpark_watched(&mut self, token: Token, source: impl AsFd) -> io::Result<()> {
        self.check_watched(token, source.as_fd())?;
        self.end_silence(token, Some(source.as_fd()))
    }

    /// Silences a source whose descriptor is `elsewhere`, if the reactor does not own it.
    fn silence(&mut self, token: Token, elsewhere: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let (index, generation) = token.parts();
        let Some(record) = self.slots.get_mut(index, generation) else { return Ok(()) };
        if record.state().contains(State::PARKED) {
            return Ok(());
        }
        // A one-shot source that was reported is silent already, and so is one without an entry.
        if !record.state().intersects(State::DISARMED | State::DETACHED) {
            if let Some(fd) = elsewhere.or(record.owned_fd()) {
                match self.epoll.delete(fd) {
                    // Somebody who shares the instance, a forked child, has deleted it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    deleted => deleted?,
                }
                self.counters.dels += 1;
                record.state_mut().insert(State::DETACHED);
            }
        }
        // The token stays in the queue of revisits, where it is skipped. PASS would let an event of the
        // present batch through.
        record.state_mut().remove(State::REVISIT | State::PASS);
        record.state_mut().insert(State::PARKED);
        Ok(())
    }

    fn end_silence(&mut self, token: Token, elsewhere: Option<BorrowedFd<'_>>) -> io::Result<()> {
        match self.record(token) {
            Some(record) if record.state().contains(State::PARKED) => {
                let watch = record.watch();
                self.arm(token, elsewhere, watch)
            }
            _ => Ok(()),
        }
    }

    /// Tells the kernel to watch a source as `watch` from now on.
    pub(crate) fn arm(
        &mut self,
        token: Token,
        elsewhere: Option<BorrowedFd<'_>>,
        watch: Watch,
    ) -> io::Result<()> {
        let (index, generation) = token.parts();
        let Some(record) = self.slots.get_mut(index, generation) else { return Ok(()) };
        let Some(fd) = elsewhere.or(record.owned_fd()) else { return Ok(()) };
        if record.state().is_detached() {
            let arm = match record.arm() {
                Arm::Normal(_) => Arm::Normal(watch),
                // Cannot be modified, so it is added as it was.
                exclusive @ Arm::Exclusive(_) => exclusive,
            };
            arm.add(&self.epoll, fd, token.data())?;
            self.counters.adds += 1;
        } else {
            self.epoll.modify(fd, token.data(), watch)?;
            self.counters.mods += 1;
        }
        // Last: what the kernel refuses stays as it was, parked or disarmed.
        record.set_armed(watch);
        if watch.is_oneshot() && self.handed_out < self.events.len() {
            self.note_rearmed(token);
        }
        Ok(())
    }

    /// Notes that a one-shot source was armed while events were still to be handed out.
    #[cold]
    fn note_rearmed(&mut self, token: Token) {
        self.forget_rearmed();
        let (index, generation) = token.parts();
        if let Some(record) = self.slots.get_mut(index, generation) {
            record.state_mut().insert(State::REARMED);
            self.rearmed.push(token);
        }
    }
}

impl<T, S> Reactor<T, S> {
    /// Forgets which one-shot sources were armed during the batch of an earlier wait.
    pub(crate) fn forget_rearmed(&mut self) {
        if self.rearmed_at == self.counters.waits {
            return;
        }
        self.rearmed_at = self.counters.waits;
        for token in self.rearmed.drain(..) {
            let (index, generation) = token.parts();
            if let Some(record) = self.slots.get_mut(index, generation) {
                record.state_mut().remove(State::REARMED);
            }
        }
    }
}

impl<T: Source, S> Record<T, S> {
    fn owned_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Record::Owned { source, .. } => Some(source.as_fd()),
            Record::Watched { .. } | Record::Waker { .. } => None,
        }
    }
}
