//! A lease: a source in one thread's hands.

use crate::shared::handover::Note;
use crate::shared::table::{Content, Guard, Slot};
use crate::shared::{SharedReactor, counters::count};
use crate::{Source, Token};
use epoll_sys::{Interest, Readiness};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::thread;

/// Exclusive access to a source of a [`SharedReactor`].
///
/// While it lasts no other thread gets the source. Dropping it gives the source back: one that was
/// disarmed by its report is armed again, which is the last thing that is done to it, and what was
/// reported meanwhile is handed out anew. So a handler that returns early, or with `?`, loses nothing.
///
/// A lease that is dropped by a panic also asks for the close of its source: nobody else should take
/// it for a sound one.
///
/// A lease stays on its thread.
pub struct Lease<'a, T: Source, S = ()> {
    shared: &'a SharedReactor<T, S>,
    slot: &'a Slot<T>,
    /// Locked, and full, until the lease ends.
    content: Option<Guard<'a, T>>,
    token: Token,
    note: Note,
    /// Whether its report has disarmed it.
    is_disarmed: bool,
    /// Whether it is to be watched for something else than before.
    is_changed: bool,
    /// What it will be told when it is revisited; empty when it is not going to be.
    revisit: Readiness,
    holder: Holder,
}

/// On whose behalf a lease was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A thread that will look for what is to be handed out anew.
    Worker,
    /// Any other.
    Stranger,
}

impl<'a, T: Source, S> Lease<'a, T, S> {
    /// For a slot that the caller has claimed.
    #[inline]
    pub(crate) fn new(
        shared: &'a SharedReactor<T, S>,
        slot: &'a Slot<T>,
        token: Token,
        note: Note,
        holder: Holder,
    ) -> Self {
        let content = slot.content();
        // Who was not told by the kernel has not disarmed it either.
        let is_disarmed = holder == Holder::Worker
            && content.as_ref().is_some_and(|content| content.watch.is_oneshot());
        Self {
            shared,
            slot,
            content: Some(content),
            token,
            note,
            is_disarmed,
            is_changed: false,
            revisit: Readiness::empty(),
            holder,
        }
    }

    /// The name of the source.
    #[inline]
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// What the source is ready for; empty for a lease that [`SharedReactor::lease`] gave.
    #[inline]
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.note.readiness()
    }

    /// Whether this source is to be closed: someone has [asked](SharedReactor::ask_to_close) for that, a
    /// panic has dropped its lease, or it is [not watched](Self::is_unwatched) any more.
    #[inline]
    #[must_use]
    pub fn is_asked_to_close(&self) -> bool {
        self.note.has(Note::CLOSE) || self.is_unwatched()
    }

    /// Whether the kernel has refused to arm it again, or to watch it for something else. Nothing would
    /// be reported of it any more. It is not known to happen.
    #[must_use]
    pub fn is_unwatched(&self) -> bool {
        self.note.has(Note::UNWATCHED)
    }

    /// Whether someone has [called](SharedReactor::call) whoever holds this source.
    #[inline]
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.note.has(Note::CALL)
    }

    /// Watches the source for `interest` from the end of the lease on, with the trigger it has.
    ///
    /// Costs no system call of its own when the source is one-shot; with an edge trigger an
    /// `EPOLL_CTL_MOD` when the interest changes.
    pub fn set_interest(&mut self, interest: Interest) {
        let content = self.content_mut();
        let wanted = content.watch.with_interest(interest);
        self.is_changed |= wanted != content.watch;
        self.content_mut().watch = wanted;
    }

    /// Has the source handed out again after others, with `readiness` and what comes by then.
    ///
    /// For a source that stopped before its descriptor was dry, so that one busy peer cannot keep the
    /// others waiting. Nothing comes of an empty `readiness`.
    pub fn revisit(&mut self, readiness: Readiness) {
        self.revisit |= readiness;
    }

    /// Takes the source out of the reactor: `EPOLL_CTL_DEL`.
    #[must_use]
    pub fn remove(mut self) -> T {
        let source = self.take_out();
        // It fails when the value has another descriptor by now, and then there is no entry.
        let _ = self.shared.epoll.delete(source.as_fd());
        count(&self.shared.counters.dels);
        source
    }

    /// Takes the source out of the reactor, `EPOLL_CTL_DEL`, and drops it, which closes its descriptor.
    ///
    /// It does not leave that to the close, not even where the descriptor is
    /// [unshared](Source::UNSHARED). A thread that waits looks at what is armed and what was; for that
    /// moment the kernel holds the open file for it. If it were closed just then, the end of the file
    /// would be left to that thread, which may sleep on for long, and the peer would not hear of it.
    pub fn close(self) {
        // Its place is vacant before its descriptor is: no report of it can reach another.
        drop(self.remove());
    }

    /// Takes a source out that the kernel does not know.
    pub(crate) fn take_back(mut self) -> T {
        self.take_out()
    }

    fn take_out(&mut self) -> T {
        match self.content.as_mut().and_then(|content| content.take()) {
            Some(content) => content.source,
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

    /// Tells the kernel what the source is watched for from now on.
    fn arm(&self, content: &Content<T>) {
        match self.shared.epoll.modify(content.source.as_fd(), self.token.data(), content.watch) {
            Ok(()) => count(&self.shared.counters.mods),
            // Not known to happen. Unwatched it would be forgotten: its next holder is to close it.
            Err(_) => self.note(Note::UNWATCHED),
        }
    }

    fn note(&self, note: Note) {
        self.slot.handover.claim(self.token.generation.get(), note);
    }
}

impl<T: Source, S> Drop for Lease<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        let Some(guard) = self.content.take() else { return };
        let Some(content) = &*guard else {
            drop(guard);
            return self.shared.table.vacate(self.token.index, self.slot);
        };
        if thread::panicking() {
            self.note(Note::CLOSE);
        }
        let is_revisited = !self.revisit.is_empty();
        // A one-shot source that is revisited is armed when that is over.
        if (self.is_disarmed || self.is_changed) && !(is_revisited && content.watch.is_oneshot()) {
            self.arm(content);
        }
        // Before it is released: whoever holds it next does not wait for the lock.
        drop(guard);
        let note = if is_revisited {
            Some(Note::ready(self.revisit))
        } else {
            self.slot.handover.release()
        };
        if let Some(note) = note {
            self.shared.hand_out_again(self.token, note, self.holder);
        }
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

/// A source is in its slot for as long as its lease lasts; only the lease's end takes it out.
#[cold]
fn not_in_its_slot() -> ! {
    unreachable!("a leased source is in its slot")
}

impl<T: Source + fmt::Debug, S> fmt::Debug for Lease<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("token", &self.token)
            .field("readiness", &self.note.readiness())
            .field("source", &**self)
            .finish_non_exhaustive()
    }
}
