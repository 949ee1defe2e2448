//! A lease: one thread's exclusive access to a source.
//!
//! Invariants: the slot of a leased source is held, and its content is locked, so no other thread touches
//! either; the end of a lease arms the source before it releases it.

use crate::shared::ownership::Pending;
use crate::shared::table::{Arming, Content, Guard, Slot};
use crate::shared::{SharedReactor, counters::count};
use crate::{Registration, Source, Token};
use bitflags::bitflags;
use epoll_sys::{Interest, Readiness};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
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
    shared: &'a SharedReactor<T, S>,
    slot: &'a Slot<T>,
    /// Locked, and full, until the lease ends.
    content: Option<Guard<'a, T>>,
    token: Token,
    pending: Pending,
    plan: Plan,
    holder: Holder,
}

bitflags! {
    /// The work at the end of a lease, besides arming a source that its report has disarmed. Usually
    /// there is none, which one comparison tells.
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Plan: u32 {
        /// The readiness with which the source will be revisited.
        const REVISIT = 0xffff;
        /// The interest has changed, so the source is armed in any case.
        const CHANGED = 1 << 16;
        /// The source is parked from then on.
        const PARKED = 1 << 17;
        /// The source was parked when the lease began.
        const WAS_PARKED = 1 << 18;
    }
}

/// The thread that took a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A worker, which looks at the queue of the reactor before it waits.
    Worker,
    /// Any other thread.
    Other,
}

impl<'a, T: Source, S> Lease<'a, T, S> {
    /// Creates the lease of a slot that the caller has claimed.
    #[inline]
    pub(crate) fn new(
        shared: &'a SharedReactor<T, S>,
        slot: &'a Slot<T>,
        token: Token,
        pending: Pending,
        holder: Holder,
    ) -> Self {
        let mut content = slot.content();
        if let Some(content) = content.as_mut() {
            // The instance is a new one and has no entry for the source.
            if pending.has(Pending::REARM) {
                content.arming = Arming::Detached;
            }
            // Only a report of the kernel disarms a one-shot source. A notification does not, and to arm
            // the source after it would be a system call for nothing.
            let is_armed = content.arming == Arming::Armed;
            if is_armed && content.watch.is_oneshot() && !pending.readiness().is_empty() {
                content.arming = Arming::Disarmed;
            }
        }
        let mut plan = Plan::empty();
        if slot.ownership.is_parked() {
            plan |= Plan::WAS_PARKED;
            plan.set(Plan::PARKED, !pending.has(Pending::UNPARK));
        }
        Self { shared, slot, content: Some(content), token, pending, plan, holder }
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
    /// `max_user_watches` is reached. No event of the source would be reported any more.
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

    /// Takes out a source that the kernel has refused to watch.
    pub(crate) fn take_back(mut self) -> T {
        self.take_out().source
    }

    fn take_out(&mut self) -> Content<T> {
        match self.content.as_mut().and_then(|content| content.take()) {
            Some(content) => content,
            None => not_in_its_slot(),
        }
    }

    #[inline]
    fn content_mut(&mut self) -> &mut Content<T> {
        match self.content.as_deref_mut() {
            Some(Some(content)) => content,
            _ => not_in_its_slot(),
        }
    }

    fn leave(&self, pending: Pending) {
        self.slot.ownership.claim(self.token.generation(), pending);
    }
}

impl<T: Source, S> Registration for Lease<'_, T, S> {
    type Source = T;

    #[inline]
    fn token(&self) -> Token {
        self.token
    }

    /// Changes the interest of the source when the lease ends, and keeps its trigger.
    ///
    /// Costs no system call of its own if the source is one-shot and was reported; otherwise an
    /// `EPOLL_CTL_MOD` if the interest changes.
    fn set_interest(&mut self, interest: Interest) -> io::Result<()> {
        let content = self.content_mut();
        let wanted = content.watch.with_interest(interest);
        let is_changed = wanted != content.watch;
        content.watch = wanted;
        self.plan.remove(Plan::PARKED);
        if is_changed {
            self.plan.insert(Plan::CHANGED);
        }
        Ok(())
    }

    /// Has the source handed out again after others, when the lease has ended. A source that was parked
    /// before is handed out this once, and stays parked.
    fn revisit(&mut self, readiness: Readiness) {
        self.plan |= Plan::from_bits_retain(readiness.bits()) & Plan::REVISIT;
    }

    /// Silences the source when the lease ends. A revisit that the lease has asked for before is
    /// dropped, and so is an event that a worker has fetched.
    ///
    /// [`SharedReactor::unpark`] ends that, also if it is called before the lease has ended. Costs an
    /// `EPOLL_CTL_DEL`; for a one-shot source that was reported it saves the `EPOLL_CTL_MOD` instead.
    fn park(&mut self) -> io::Result<()> {
        if !self.plan.contains(Plan::PARKED) {
            self.plan.remove(Plan::REVISIT);
            self.plan.insert(Plan::PARKED);
        }
        Ok(())
    }

    /// Watches the source as before when the lease ends. Costs a system call if it was parked.
    fn unpark(&mut self) -> io::Result<()> {
        self.plan.remove(Plan::PARKED);
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
        let content = self.take_out();
        if !self.slot.ownership.is_parked() || content.arming != Arming::Detached {
            // Ignored: it fails when the value has another descriptor by now, which has no entry.
            let _ = self.shared.epoll.delete(content.source.as_fd());
            count(&self.shared.counters.dels);
        }
        content.source
    }
}

impl<T: Source, S> Drop for Lease<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        let Some(mut guard) = self.content.take() else { return };
        let Some(content) = &mut *guard else {
            // Before the slot is vacant: its next occupant locks the content.
            drop(guard);
            return self.shared.table.vacate(self.token.index(), self.slot);
        };
        if thread::panicking() {
            self.leave(Pending::CLOSE);
        }
        if !self.plan.is_empty() {
            return self.end_as_planned(guard);
        }
        // While the source is held: an event that follows at once is left to this thread, and the release
        // finds it. After the release the source, and its descriptor, may be gone.
        if content.arming != Arming::Armed {
            self.arm(content);
        }
        // Before the release: the next holder does not wait for the lock.
        drop(guard);
        if let Some(pending) = self.slot.ownership.release() {
            self.hand_out_again(pending);
        }
    }
}

impl<T: Source, S> Lease<'_, T, S> {
    /// Tells the kernel to watch the source from now on.
    fn arm(&self, content: &mut Content<T>) {
        let (epoll, data, watch) = (&self.shared.epoll, self.token.data(), content.watch);
        let counters = &self.shared.counters;
        let epoch = self.shared.epoch();
        let fd = content.source.as_fd();
        let add = || epoll.add(fd, data, watch).inspect(|()| count(&counters.adds));
        let modify = || epoll.modify(fd, data, watch).inspect(|()| count(&counters.mods));
        let armed = match content.arming {
            Arming::Detached => add().or_else(|error| match error.kind() {
                // Inserted while the instance was being replaced, so the new one has it already.
                io::ErrorKind::AlreadyExists => modify(),
                _ => Err(error),
            }),
            Arming::Armed | Arming::Disarmed => modify().or_else(|error| match error.kind() {
                // The instance was replaced since the source was armed.
                io::ErrorKind::NotFound if was_replaced(content.epoch, self.shared.epoch()) => {
                    add()
                }
                _ => Err(error),
            }),
        };
        match armed {
            Ok(()) => (content.arming, content.epoch) = (Arming::Armed, epoch),
            Err(_) => {
                // Not watched, it would be forgotten. Its next holder is to close it.
                if content.arming == Arming::Armed {
                    content.arming = Arming::Disarmed;
                }
                self.leave(Pending::UNWATCHED);
            }
        }
    }

    /// Ends a lease that has a plan.
    #[cold]
    fn end_as_planned(&self, mut guard: Guard<'_, T>) {
        let Some(content) = &mut *guard else { return };
        let revisit = Readiness::from_bits_retain((self.plan & Plan::REVISIT).bits());
        let is_revisited = !revisit.is_empty();
        if self.plan.intersects(Plan::PARKED | Plan::WAS_PARKED) {
            self.change_silence(content);
        } else if is_revisited && content.watch.is_oneshot() {
            // Armed by the lease of the revisit: an event now would only be left to that.
        } else if self.plan.contains(Plan::CHANGED) || content.arming != Arming::Armed {
            self.arm(content);
        }
        drop(guard);
        // A source that is revisited is not released: it stays held while it is in the queue.
        if is_revisited {
            // Also if it is parked: its own holder has asked for it.
            let pending = Pending::ready(revisit).and(Pending::REVISIT);
            self.shared.hand_out_again(self.token, pending, self.holder);
        } else if let Some(pending) = self.slot.ownership.release() {
            self.hand_out_again(pending);
        }
    }

    /// Parks or unparks a source.
    #[cold]
    fn change_silence(&self, content: &mut Content<T>) {
        let is_parked = self.plan.contains(Plan::PARKED);
        // Before the release: an event that another thread has fetched already then finds it parked.
        self.slot.ownership.set_parked(is_parked);
        if !is_parked {
            return self.arm(content);
        }
        if content.arming == Arming::Armed {
            // HUP and ERR are reported whatever the interest is, so the entry has to go. Ignored: with
            // ENOENT there is none, because the instance was replaced while the source was in use.
            let _ = self.shared.epoll.delete(content.source.as_fd());
            count(&self.shared.counters.dels);
            content.arming = Arming::Detached;
        }
    }

    /// Serves the requests and events that other threads have left while the lease lasted.
    #[cold]
    fn hand_out_again(&self, mut pending: Pending) {
        // A parked source is handed out for requests only. Its events are dropped: unparking polls it.
        while pending.has(Pending::UNPARK)
            || pending.has(Pending::REARM)
            || self.plan.contains(Plan::PARKED)
        {
            let mut content = self.slot.content();
            if let Some(content) = content.as_mut() {
                let is_parked = self.slot.ownership.is_parked();
                let is_unparked = is_parked && pending.has(Pending::UNPARK);
                if is_unparked {
                    self.slot.ownership.set_parked(false);
                }
                if pending.has(Pending::REARM) {
                    // The present instance may not have it.
                    content.arming = Arming::Detached;
                }
                if is_unparked || !is_parked && pending.has(Pending::REARM) {
                    self.arm(content);
                }
                if is_parked {
                    pending = pending.without_readiness();
                }
            }
            drop(content);
            pending = pending.without(Pending::UNPARK).without(Pending::REARM);
            if !pending.is_none() {
                break;
            }
            match self.slot.ownership.release() {
                Some(more) => pending = more,
                None => return,
            }
        }
        self.shared.hand_out_again(self.token, pending, self.holder);
    }
}

impl<T: Source, S> Deref for Lease<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.content.as_deref() {
            Some(Some(content)) => &content.source,
            _ => not_in_its_slot(),
        }
    }
}

impl<T: Source, S> DerefMut for Lease<'_, T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.content_mut().source
    }
}

/// Panics: the source of a lease is in its slot until the end of the lease takes it out.
/// Returns whether the epoll instance may have been replaced between these epochs of the reactor.
fn was_replaced(armed: u8, present: u8) -> bool {
    // Odd while an instance is being replaced.
    present != armed || present % 2 == 1
}

#[cold]
fn not_in_its_slot() -> ! {
    unreachable!("a leased source is in its slot")
}

impl<T: Source + fmt::Debug, S> fmt::Debug for Lease<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("token", &self.token)
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
