//! Busy polling: waits that look again and again for a while before they sleep.
//!
//! Invariant: without it a turn does nothing for it. Its flag is in the value that every wait tests anyhow.
//!
//! This is done by the loop, for any source. The kernel's own busy polling, which is for network devices, is set
//! on the epoll instance: [`Epoll::set_busy_poll`](epoll_sys::Epoll::set_busy_poll).

use crate::{Reactor, Source};
use epoll_sys::Timestamp;
use std::io;
use std::time::Duration;

impl<T: Source, S> Reactor<T, S> {
    /// Sets for how long a wait after a turn with reports looks again and again before it sleeps, counted from the
    /// call. `None` and zero disable it, which is the default. A wait after one that brought nothing sleeps at
    /// once too, unless that one merely looked.
    ///
    /// A report comes sooner by the time that it takes to wake a thread, some 20 to 40 µs on a
    /// virtual machine, if it comes within `time`. The price is the processor, which the thread keeps busy while it
    /// looks. Wakes, timers and everything else that is watched end the wait as they do otherwise, and a
    /// wait with a timeout is no longer than that. A wait that only looks does so once.
    ///
    /// [`Counters::spins`](crate::Counters::spins) counts the looks.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::{Reactor, net::Stream};
    /// use std::time::Duration;
    ///
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// reactor.set_busy_polling(Some(Duration::from_micros(50)));
    /// reactor.waker().wake()?;
    /// reactor.wait(None)?;
    /// while reactor.next_ready().is_some() {}
    ///
    /// reactor.wait(Some(Duration::from_millis(5)))?;
    /// assert!(reactor.counters().spins > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_busy_polling(&mut self, time: Option<Duration>) {
        self.busy_polling = time.filter(|time| !time.is_zero());
        self.nesting.set_busy_polling(self.busy_polling.is_some());
    }

    /// Looks until there is something to report, or the time to look is over. Returns whether there is something.
    #[cold]
    pub(crate) fn spin(&mut self, deadline: Option<Timestamp>) -> io::Result<bool> {
        let is_busy = std::mem::take(&mut self.is_busy) || self.was_busy();
        let Some(time) = self.busy_polling.filter(|_| is_busy) else { return Ok(false) };
        let mut now = Timestamp::now();
        let begun = now;
        let end = end(now, time, deadline);
        while end.is_none_or(|end| now < end) {
            self.counters.spins += 1;
            self.fetch_with_care(Some(Duration::ZERO))?;
            if self.handed_out < self.events.len() {
                return Ok(true);
            }
            now = Timestamp::now();
        }
        // A wait that only looks, between two parts of a turn, says nothing about what follows.
        self.is_busy = deadline.is_some_and(|deadline| deadline <= begun);
        Ok(false)
    }

    /// Returns whether the turn that is over had something to report.
    fn was_busy(&self) -> bool {
        let has_revisited = self.revisited.is_some_and(|(_, turn)| turn == self.counters.waits);
        !self.events.is_empty() || has_revisited
    }
}

/// Returns when a wait that begins now stops looking; `None` is never.
pub(crate) fn end(
    now: Timestamp,
    time: Duration,
    deadline: Option<Timestamp>,
) -> Option<Timestamp> {
    // A time beyond the clock's end is none.
    now.checked_add(time).into_iter().chain(deadline).min()
}
