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
    /// reactor.rebuild()?;
    ///
    /// assert_eq!(theirs.write(b"hello")?, 5);
    /// let mut worker = reactor.worker();
    /// worker.wait(None)?;
    /// assert!(matches!(worker.next_ready(), Some(LeaseReady::Owned(_))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "fork")]
    pub fn rebuild(&self) -> io::Result<()> {
        // Held throughout: one rebuild at a time, and no descriptor is watched between the two instances.
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watched = self.watched.write();
        let (new, kick) = (Epoll::new()?, EventFd::new(1)?);
        // All that can fail comes before the replacement, so that an error leaves the present instance.
        watched.copy_entries(&self.epoll, &new)?;
        self.waker.renew()?;
        self.stop.renew()?;
        if self.is_stopped() {
            self.stop.write(1)?;
        }
        new.add(&self.waker, WAKER, Watch::edge(Interest::IN))?;
        new.add(&self.stop, STOP, Watch::level(Interest::IN))?;
        if self.process.swap(process::id(), Ordering::Relaxed) == process::id() {
            // Threads that wait for the old instance return, and wait for the new one. By a level that is
            // never read, so that each of them is woken. In a child of `fork` there are none, and the old
            // instance is the parent's.
            self.epoll.add(&kick, REPLACED, Watch::level(Interest::IN))?;
        }
        self.epoll.replace(&new)?;
        count(&self.counters.rebuilds);
        suspects.clear();
        // Kept open, or its event would be gone before the threads have seen it.
        watched.kick = Some(kick);
        // Released before sources are armed: the end of a lease may hand out, wake and drop.
        drop(watched);
        drop(suspects);
        for token in self.tokens() {
            self.arm_anew(token);
        }
        Ok(())
    }

    /// Arms a source in the present instance, or leaves that to its holder.
    fn arm_anew(&self, token: Token) {
        let (index, generation) = token.parts();
        let Some(slot) = self.table.slot(index) else { return };
        if let Claim::Held(_) = slot.ownership.claim(generation, Pending::REARM) {
            drop(Lease::new(self, slot, token, Pending::REARM, Holder::Other));
        }
    }

    /// Counts an event of a registration that has ended, and replaces the instance after too many.
    #[cold]
    pub(crate) fn on_stale_event(&self, data: u64) {
        // A statement of its own, which ends the lock: the rebuild takes it again.
        let is_suspect = self.suspects.lock().unwrap_or_else(PoisonError::into_inner).count(data);
        // A nested reactor is left to its owner: the outer loop would lose sight of a new instance.
        if is_suspect && !self.is_nested.load(Ordering::Relaxed) && self.rebuild().is_err() {
            // The error is ignored: descriptors or memory are short, and the present instance works, if
            // with stale events. After a hundred more of them it is tried again.
            self.suspects.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}
