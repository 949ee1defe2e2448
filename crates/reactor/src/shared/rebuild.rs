//! A new epoll instance for a shared reactor, while threads wait for the old one.
//!
//! Kernel facts: (a) `dup3` replaces what a number refers to in one step, so every call that begins
//! afterwards goes to the new instance; (b) a thread that waits keeps the old instance, and returns when
//! something is ready there: an eventfd that is readable wakes all of them, one after the other.
//!
//! Every source is armed in the new instance by its holder: by this thread if it is idle, otherwise by the
//! end of its lease. A source that is being inserted meanwhile is held, so it is added to the new instance
//! by its insertion, or armed there by the end of its first lease.

use crate::shared::lease::{Holder, Lease};
use crate::shared::ownership::{Claim, Pending};
use crate::shared::table::INDEX_END;
use crate::shared::{REPLACED, STOP, SharedReactor, WAKER, counters::count};
use crate::{Source, Token};
use epoll_sys::{Epoll, EventFd, Interest, Watch};
use std::io;
use std::process;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl<T: Source, S> SharedReactor<T, S> {
    /// Replaces the epoll instance by a new one, and watches every source there as before, also while
    /// other threads wait.
    ///
    /// It has the reasons of [`Reactor::rebuild`](crate::Reactor::rebuild), a child of `fork` among them,
    /// and like that one happens by itself after a hundred stale events of one registration. Sources that
    /// are ready are reported anew. The [descriptor](std::os::fd::AsFd) of the reactor keeps its number,
    /// but a loop that watches it has to watch it again.
    ///
    /// Returns the tokens of watched descriptors that were closed, whose registrations end. A one-shot
    /// descriptor that lives elsewhere is armed again.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. Those of
    /// [`Epoll::add`] for the descriptors that live elsewhere. The reactor then goes on with the instance
    /// that it had. A source that the kernel refuses is reported as
    /// [unwatched](crate::shared::Lease::is_unwatched).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::{LeaseReady, SharedReactor};
    /// use epoll_reactor::{Interest, Watch};
    /// use std::io::Write;
    ///
    /// let reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// let (ours, mut theirs) = Stream::pair()?;
    /// reactor.insert(ours, Watch::oneshot(Interest::IN))?;
    /// assert!(reactor.rebuild()?.is_empty());
    ///
    /// assert_eq!(theirs.write(b"hello")?, 5);
    /// let mut worker = reactor.worker();
    /// worker.wait(None)?;
    /// assert!(matches!(worker.next_ready(), Some(LeaseReady::Owned(_))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "fork")]
    pub fn rebuild(&self) -> io::Result<Vec<Token>> {
        // Held throughout: one rebuild at a time. Nothing that is done meanwhile waits for a stale event.
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = self.replace_instance();
        if replaced.is_ok() {
            suspects.clear();
        }
        // Also after an error, for a lease that has ended meanwhile may have met either instance.
        for token in self.tokens() {
            self.arm_anew(token);
        }
        self.epoch.fetch_add(1, Ordering::SeqCst);
        replaced
    }

    /// Replaces the instance. The sources are armed afterwards.
    fn replace_instance(&self) -> io::Result<Vec<Token>> {
        // Odd until the sources are armed: a source that an instance does not know is to be added to it.
        self.epoch.fetch_add(1, Ordering::SeqCst);
        // Held throughout, so that no descriptor is watched between the two instances.
        let mut watched = self.watched.write();
        let (old, new) = (Epoll::new()?, Epoll::new()?);
        old.replace(&self.epoll)?;
        if watched.kick.is_none() {
            watched.kick = Some(EventFd::new(1)?);
        }
        let is_forked = self.process.load(Ordering::Relaxed) != process::id();
        if is_forked {
            // The eventfds are the parent's as well.
            self.waker.renew()?;
            self.stop.renew()?;
            if self.is_stopped() {
                self.stop.write(1)?;
            }
        }
        // All that can fail comes before the replacement, so that an error leaves the present instance.
        new.add(&self.waker, WAKER, Watch::edge(Interest::IN))?;
        new.add(&self.stop, STOP, Watch::level(Interest::IN))?;
        let closed = watched.copy_entries(&old, &new)?;
        let kick = watched.kick.as_ref().filter(|_| !is_forked);
        if let Some(kick) = kick {
            match old.add(kick, REPLACED, Watch::level(Interest::empty())) {
                // From an attempt that failed afterwards.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                added => added?,
            }
        }
        self.epoll.replace(&new)?;
        // Not before: after an error a child still has the instance of its parent.
        self.process.store(process::id(), Ordering::Relaxed);
        if let Some(kick) = kick {
            // Threads that wait for the old instance return, and wait for the new one: not before it is in
            // place, or they would turn round. By a level that is never read and never closed, so that each
            // of them is woken, whenever it looks. In a child of `fork` there are none.
            old.modify(kick, REPLACED, Watch::level(Interest::IN))?;
        }
        count(&self.counters.0.rebuilds);
        let token = |(index, generation)| Token::new(self.id, index | INDEX_END, generation);
        Ok(closed.into_iter().map(token).collect())
    }

    /// Arms a source in the present instance, or leaves that to its holder.
    fn arm_anew(&self, token: Token) {
        let (index, generation) = token.parts();
        let Some(slot) = self.table.slot(index) else { return };
        if let Claim::Held(held) = slot.claim(generation, Pending::REARM) {
            drop(Lease::new(self, held, token, Pending::REARM, Holder::Other));
        }
    }

    /// Counts an event of a registration that has ended, and replaces the instance after too many.
    #[cold]
    pub(crate) fn on_stale_event(&self, data: u64) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        // A nested reactor is left to its owner: the outer loop would lose sight of a new instance.
        if !suspects.count(data) || self.attention.is_nested() {
            return;
        }
        // Cleared in any case: an error means that descriptors or memory are short, and the present instance
        // works, if with stale events. After a hundred more of them it is tried again. And another thread
        // that has counted this one does not replace the instance once more.
        suspects.clear();
        drop(suspects);
        let _ = self.rebuild();
    }
}
