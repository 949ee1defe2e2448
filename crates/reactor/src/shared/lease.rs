//! A lease: one thread's exclusive access to a source.
//!
//! Invariants: the slot of a leased source is held, so no other thread touches it; the end of a lease arms the
//! source before it releases it.
//!
//! The usual lease is that of a report, with nothing to do at its end but to arm a one-shot source. Both are in
//! line, and such a lease is kept in registers: whatever else there is to do gets its parts by value.

use crate::shared::SharedReactor;
use crate::shared::counters::{WorkerCounters, count};
use crate::shared::ownership::Pending;
use crate::shared::table::{Arming, Content, HeldSlot};
use crate::{Registration, Source, Token};
use bitflags::bitflags;
use epoll_sys::{Event, Interest, Readiness};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::thread;

/// Exclusive access to a source of a [`SharedReactor`].
///
/// While it lasts no other thread gets the source. Dropping it gives the source back: it is armed again
/// if its report had disarmed it, and events that were reported meanwhile are handed out. So a handler
/// that returns early, or with `?`, loses nothing.
///
/// A lease that is dropped by a panic also requests the close of its source, whose state may be broken.
///
/// A lease stays on its thread. The methods that it shares with an [`Entry`](crate::Entry) are those of
/// [`Registration`].
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::Stream;
/// use epoll_reactor::shared::{LeaseReady, SharedReactor};
/// use epoll_reactor::{Interest, Readiness, Watch};
/// use std::io::{Read, Write};
///
/// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
/// let (ours, mut theirs) = Stream::pair()?;
/// reactor.insert(ours, Watch::oneshot(Interest::IN))?;
/// let mut worker = reactor.worker();
/// for _ in 0..2 {
///     assert_eq!(theirs.write(b"hello")?, 5);
///     worker.wait(None)?;
///     let Some(LeaseReady::Owned(mut lease)) = worker.next_ready() else { panic!("a report") };
///     assert!(lease.readiness().contains(Readiness::IN));
///     assert_eq!(lease.read(&mut [0; 16])?, 5);
///     // Here the lease ends and the stream is armed again.
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Lease<'a, T: Source, S = ()> {
    /// Full until the lease ends.
    held: Option<HeldSlot<'a, T>>,
    pending: Pending,
    terms: Terms<'a, T, S>,
}

/// The source of a lease, and the work at the end of the lease.
struct Terms<'a, T: Source, S> {
    shared: &'a SharedReactor<T, S>,
    /// The token without the number of the reactor.
    data: u64,
    plan: Plan,
    holder: Holder<'a>,
}

bitflags! {
    /// The work at the end of a lease, besides arming a source that its report has disarmed. Usually
    /// there is none, which one comparison tells.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Plan: u32 {
        /// The readiness with which the source will be revisited.
        const REVISIT = 0xffff;
        /// The interest has changed, so the source is armed in any case.
        const CHANGED = 1 << 16;
        /// The source is parked from then on.
        const PARKED = 1 << 17;
        /// The source was parked when the lease began.
        const WAS_PARKED = 1 << 18;
        /// The source was taken out, so the slot is vacated.
        const TAKEN_OUT = 1 << 19;
    }
}

/// The thread that took a lease.
#[derive(Clone, Copy)]
pub(crate) enum Holder<'a> {
    /// A worker, which looks at the queue of the reactor before it waits.
    Worker(&'a WorkerCounters),
    /// Any other thread.
    Other,
}

impl<'a, T: Source, S> Lease<'a, T, S> {
    /// Creates the lease of a slot that the caller has claimed.
    pub(crate) fn new(
        shared: &'a SharedReactor<T, S>,
        mut held: HeldSlot<'a, T>,
        token: Token,
        pending: Pending,
        holder: Holder<'a>,
    ) -> Self {
        let plan = Plan::begin(&mut held, pending);
        Self::with_plan(shared, held, token.data(), pending, plan, holder)
    }

    #[inline(always)]
    pub(crate) fn with_plan(
        shared: &'a SharedReactor<T, S>,
        held: HeldSlot<'a, T>,
        data: u64,
        pending: Pending,
        plan: Plan,
        holder: Holder<'a>,
    ) -> Self {
        Self { held: Some(held), pending, terms: Terms { shared, data, plan, holder } }
    }

    /// Creates the lease of a source that was claimed for an event, which was idle and not parked.
    #[inline(always)]
    pub(crate) fn of_event(
        shared: &'a SharedReactor<T, S>,
        mut held: HeldSlot<'a, T>,
        event: Event,
        counters: &'a WorkerCounters,
    ) -> Self {
        // An idle source is armed: otherwise its last lease has left it to the queue, or parked it.
        debug_assert_eq!(held.arming, Arming::Armed, "an event of a source that is not armed");
        if held.watch.is_oneshot() {
            held.arming = Arming::Disarmed;
        }
        let pending = Pending::ready(event.readiness);
        let holder = Holder::Worker(counters);
        Self::with_plan(shared, held, event.data, pending, Plan::empty(), holder)
    }

    /// Adds a source that was inserted to the epoll instance. Otherwise the end of the lease does.
    pub(crate) fn add(&mut self) -> io::Result<()> {
        match &mut self.held {
            Some(held) => self.terms.add(held),
            None => not_in_its_slot(),
        }
    }

    /// Returns the readiness that was reported; empty for a lease by
    /// [`SharedReactor::lease`] and for a notification.
    #[inline]
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.pending.readiness()
    }

    /// Returns whether this source is to be closed: the close was
    /// [requested](SharedReactor::request_close), a panic has dropped its lease, or it is
    /// [not watched](Self::is_unwatched) any more.
    #[inline]
    #[must_use]
    pub fn close_requested(&self) -> bool {
        self.pending.has(Pending::CLOSE) || self.is_unwatched()
    }

    /// Returns whether the kernel has refused to arm the source: it is out of memory, or
    /// `max_user_watches` is reached; or, of a source that was [inserted with a
    /// lease](SharedReactor::insert_leased), the descriptor is watched already or is one that epoll cannot
    /// watch. No event of the source is reported any more. It is handed out, without an event, until it is
    /// closed.
    #[must_use]
    pub fn is_unwatched(&self) -> bool {
        self.pending.has(Pending::UNWATCHED)
    }

    /// Returns whether the holder of this source was [notified](SharedReactor::notify).
    #[inline]
    #[must_use]
    pub fn is_notified(&self) -> bool {
        self.pending.has(Pending::NOTIFY)
    }

    /// Ends the lease, as dropping it does, but in line: for a loop in which that counts. It does not look
    /// whether the thread panics, so it never requests the close.
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
    /// reactor.insert(ours, Watch::oneshot(Interest::OUT))?;
    /// let mut worker = reactor.worker();
    /// for _ in 0..2 {
    ///     worker.wait(None)?;
    ///     let Some(LeaseReady::Owned(lease)) = worker.next_ready() else { panic!("a report") };
    ///     let token = lease.token();
    ///     lease.release();
    ///     assert!(reactor.lease(token).is_some());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline(always)]
    pub fn release(mut self) {
        let Some(mut held) = self.held.take() else { return };
        let Terms { shared, data, plan, holder } = self.terms;
        let terms = Terms { shared, data, plan, holder };
        // Armed while the source is held: an event that follows at once is left to this thread, and the
        // release finds it. After the release the source, and its descriptor, may be gone.
        if plan.is_empty() && terms.is_armed(&mut held) {
            if let Err(held) = held.release_event(data) {
                terms.release(held);
            }
        } else {
            terms.end(held);
        }
    }

    /// Takes out a source that the kernel has refused to watch.
    pub(crate) fn take_back(mut self) -> T {
        self.take_out()
    }

    fn take_out(&mut self) -> T {
        self.terms.plan |= Plan::TAKEN_OUT;
        match self.held.as_mut().and_then(|held| held.source.take()) {
            Some(source) => source,
            None => not_in_its_slot(),
        }
    }
}

impl Plan {
    /// Begins a lease of a source that was claimed.
    #[cold]
    pub(crate) fn begin<T>(held: &mut HeldSlot<'_, T>, pending: Pending) -> Self {
        if pending.has(Pending::REARM) {
            held.end_entry();
        }
        // A notification does not disarm a source, and to arm it after that would be a system call for nothing.
        if !pending.readiness().is_empty() {
            held.note_report();
        }
        let mut plan = Self::empty();
        if held.is_parked() {
            plan |= Self::WAS_PARKED;
            plan.set(Self::PARKED, !pending.has(Pending::UNPARK));
        }
        plan
    }
}

impl<T> Content<T> {
    /// Notes that the kernel has reported the source: that disarms one that is one-shot.
    fn note_report(&mut self) {
        if self.arming == Arming::Armed && self.watch.is_oneshot() {
            self.arming = Arming::Disarmed;
        }
    }

    /// Notes that the instance is a new one, which may have no entry for the source.
    fn end_entry(&mut self) {
        if self.arming != Arming::New {
            self.arming = Arming::Detached;
        }
    }
}

impl<T: Source, S> Registration for Lease<'_, T, S> {
    type Source = T;

    #[inline]
    fn token(&self) -> Token {
        self.terms.token()
    }

    fn interest(&self) -> Option<Interest> {
        let Some(held) = &self.held else { not_in_its_slot() };
        match self.terms.plan.contains(Plan::PARKED) {
            true => None,
            false => Some(held.watch.interest()),
        }
    }

    /// Changes the interest of the source when the lease ends, and keeps its trigger.
    ///
    /// Costs no system call of its own if the source is one-shot and was reported; otherwise an
    /// `EPOLL_CTL_MOD` if the interest changes.
    fn set_interest(&mut self, interest: Interest) -> io::Result<()> {
        let Some(held) = &mut self.held else { not_in_its_slot() };
        let wanted = held.watch.with_interest(interest);
        let is_changed = wanted != held.watch;
        held.watch = wanted;
        self.terms.plan.remove(Plan::PARKED);
        if is_changed {
            self.terms.plan.insert(Plan::CHANGED);
        }
        Ok(())
    }

    /// Makes the reactor hand the source out again after others, when the lease has ended. A source that was parked
    /// before is handed out this once, and stays parked.
    fn revisit(&mut self, readiness: Readiness) {
        self.terms.plan |= Plan::from_bits_retain(readiness.bits()) & Plan::REVISIT;
    }

    /// Silences the source when the lease ends. A revisit that the lease has asked for before is
    /// dropped, and so is an event that a worker has fetched.
    ///
    /// [`SharedReactor::unpark`] ends that, also if it is called before the lease has ended. Costs an
    /// `EPOLL_CTL_DEL`; for a one-shot source that was reported it saves the `EPOLL_CTL_MOD` instead.
    fn park(&mut self) -> io::Result<()> {
        if !self.terms.plan.contains(Plan::PARKED) {
            self.terms.plan.remove(Plan::REVISIT);
            self.terms.plan.insert(Plan::PARKED);
        }
        Ok(())
    }

    /// Watches the source as before when the lease ends. Costs a system call if it was parked.
    fn unpark(&mut self) -> io::Result<()> {
        self.terms.plan.remove(Plan::PARKED);
        Ok(())
    }

    /// Takes the source out of the reactor, `EPOLL_CTL_DEL`, and drops it, which closes its descriptor.
    ///
    /// It does not leave the deletion to the close, even if the descriptor is
    /// [unshared](Source::is_unshared). While another thread's wait polls the entry, the kernel holds a
    /// reference to the open file. A close at that moment would leave the end of the file to that thread,
    /// which may sleep for long, and the peer would not learn of the close until then.
    fn close(self) {
        // The slot is vacated before the descriptor is closed: the number may be used again at once.
        drop(self.remove());
    }

    /// Takes the source out of the reactor: `EPOLL_CTL_DEL`.
    fn remove(mut self) -> T {
        let source = self.take_out();
        let has_entry = self.held.as_ref().is_some_and(|held| match held.arming {
            Arming::Armed | Arming::Disarmed => true,
            Arming::Detached => !held.is_parked(),
            Arming::New => false,
        });
        if has_entry {
            // Ignored: it fails when the value has another descriptor by now, which has no entry.
            let _ = self.terms.shared.epoll.delete(source.as_fd());
            count(&self.terms.shared.counters.0.dels);
        }
        source
    }
}

impl<T: Source, S> Drop for Lease<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let Terms { shared, data, plan, holder } = self.terms;
            Terms { shared, data, plan, holder }.end(held);
        }
    }
}

impl<T: Source, S> Terms<'_, T, S> {
    #[inline]
    fn token(&self) -> Token {
        Token::of_event(self.shared.id, self.data)
    }

    /// Returns whether the source is armed, after arming it if only its report has disarmed it.
    #[inline]
    fn is_armed(&self, content: &mut Content<T>) -> bool {
        match content.arming {
            Arming::Armed => true,
            Arming::Disarmed => {
                let epoch = self.shared.epoch();
                let is_armed = self.modify(content).is_ok();
                if is_armed {
                    (content.arming, content.epoch) = (Arming::Armed, epoch);
                }
                is_armed
            }
            Arming::New | Arming::Detached => false,
        }
    }

    #[inline]
    fn modify(&self, content: &Content<T>) -> io::Result<()> {
        let Some(source) = &content.source else { not_in_its_slot() };
        self.shared.epoll.modify(source.as_fd(), self.data, content.watch)?;
        match self.holder {
            Holder::Worker(counters) => WorkerCounters::add(&counters.mods, 1),
            Holder::Other => count(&self.shared.counters.0.mods),
        }
        Ok(())
    }

    fn add(&self, content: &mut Content<T>) -> io::Result<()> {
        let epoch = self.shared.epoch();
        let Some(source) = &content.source else { not_in_its_slot() };
        let fd = source.as_fd();
        self.shared.epoll.add(fd, self.data, content.watch)?;
        count(&self.shared.counters.0.adds);
        if content.arming == Arming::New {
            // The kernel has accepted the number as a new one, so a watched descriptor that had it was closed.
            self.shared.watched.end_closed(fd.as_raw_fd());
        }
        (content.arming, content.epoch) = (Arming::Armed, epoch);
        Ok(())
    }

    /// Tells the kernel to watch the source from now on.
    fn arm(&self, held: &mut HeldSlot<'_, T>) {
        let content = &mut **held;
        let epoch = self.shared.epoch();
        let armed = match content.arming {
            Arming::New => self.add(content),
            Arming::Detached => self.add(content).or_else(|error| match error.kind() {
                // Armed while the instance was being replaced, so the new one has it already.
                io::ErrorKind::AlreadyExists => self.modify(content),
                _ => Err(error),
            }),
            Arming::Armed | Arming::Disarmed => {
                self.modify(content).or_else(|error| match error.kind() {
                    // The instance was replaced since the source was armed.
                    io::ErrorKind::NotFound if was_replaced(content.epoch, self.shared.epoch()) => {
                        self.add(content)
                    }
                    _ => Err(error),
                })
            }
        };
        match armed {
            Ok(()) => (content.arming, content.epoch) = (Arming::Armed, epoch),
            Err(_) => {
                // Not watched, it would be forgotten. Its next holder is to close it.
                if content.arming == Arming::Armed {
                    content.arming = Arming::Disarmed;
                }
                held.leave(Pending::UNWATCHED);
            }
        }
    }

    /// Ends a lease, whatever there is to do.
    #[cold]
    #[inline(never)]
    fn end(self, mut held: HeldSlot<'_, T>) {
        if self.plan.contains(Plan::TAKEN_OUT) {
            return self.shared.table.vacate(self.token().index(), held);
        }
        if thread::panicking() {
            held.leave(Pending::CLOSE);
        }
        let revisit = Readiness::from_bits_retain((self.plan & Plan::REVISIT).bits());
        let is_revisited = !revisit.is_empty();
        if self.plan.intersects(Plan::PARKED | Plan::WAS_PARKED) {
            self.change_silence(&mut held);
        } else if is_revisited && held.watch.is_oneshot() {
            // Armed by the lease of the revisit: an event now would only be left to that.
        } else if self.plan.contains(Plan::CHANGED) || held.arming != Arming::Armed {
            self.arm(&mut held);
        }
        // A source that is revisited is not released: the queue has it.
        if is_revisited {
            // Also if it is parked: its own holder has asked for it.
            let pending = Pending::ready(revisit).and(Pending::REVISIT);
            self.shared.hand_out_again(held, self.token(), pending, self.holder);
        } else {
            self.release(held);
        }
    }

    /// Parks or unparks a source.
    fn change_silence(&self, held: &mut HeldSlot<'_, T>) {
        let is_parked = self.plan.contains(Plan::PARKED);
        // Before the release: an event that another thread has fetched already then finds it parked.
        held.set_parked(is_parked);
        if !is_parked {
            return self.arm(held);
        }
        let Some(source) = &held.source else { not_in_its_slot() };
        if held.arming == Arming::Armed {
            // HUP and ERR are reported whatever the interest is, so the entry has to go. Ignored: with
            // ENOENT there is none, because the instance was replaced while the source was in use.
            let _ = self.shared.epoll.delete(source.as_fd());
            count(&self.shared.counters.0.dels);
            held.arming = Arming::Detached;
        }
    }

    /// Releases the source. Serves the requests and events that other threads have left while the lease
    /// lasted.
    #[cold]
    #[inline(never)]
    fn release(self, mut held: HeldSlot<'_, T>) {
        loop {
            let mut pending = match held.release() {
                Ok(()) => return,
                Err((kept, pending)) => {
                    held = kept;
                    pending
                }
            };
            // A parked source is handed out for requests only. Its events are dropped: unparking polls it.
            let is_parked = held.is_parked();
            let is_unparked = is_parked && pending.has(Pending::UNPARK);
            if is_unparked {
                held.set_parked(false);
            }
            if pending.has(Pending::REARM) {
                // The present instance may not have it.
                held.end_entry();
            }
            if is_unparked || !is_parked && pending.has(Pending::REARM) {
                self.arm(&mut held);
            }
            if is_parked {
                pending = pending.without_readiness();
            }
            pending = pending.without(Pending::UNPARK).without(Pending::REARM);
            if !pending.is_none() {
                return self.shared.hand_out_again(held, self.token(), pending, self.holder);
            }
        }
    }
}

impl<T: Source, S> Deref for Lease<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.held.as_deref() {
            Some(Content { source: Some(source), .. }) => source,
            _ => not_in_its_slot(),
        }
    }
}

impl<T: Source, S> DerefMut for Lease<'_, T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match self.held.as_deref_mut() {
            Some(Content { source: Some(source), .. }) => source,
            _ => not_in_its_slot(),
        }
    }
}

/// Returns whether the epoll instance may have been replaced between these epochs of the reactor.
fn was_replaced(armed: u8, present: u8) -> bool {
    // Odd while an instance is being replaced.
    present != armed || present % 2 == 1
}

/// Panics: the source of a lease is in its slot until the end of the lease takes it out.
#[cold]
fn not_in_its_slot() -> ! {
    unreachable!("a leased source is in its slot")
}

impl<T: Source + fmt::Debug, S> fmt::Debug for Lease<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("token", &self.token())
            .field("readiness", &self.pending.readiness())
            .field("source", &**self)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_the_same_from_one_rebuild_to_the_next_and_unsure_during_one() {
        for (armed, present, expected) in [
            (0, 0, false),
            (4, 4, false),
            (254, 254, false),
            (0, 1, true),
            (1, 1, true),
            (5, 5, true),
            (255, 255, true),
            (0, 2, true),
            (4, 6, true),
            (254, 0, true),
        ] {
            assert_eq!(was_replaced(armed, present), expected, "from {armed} to {present}");
        }
    }
}
