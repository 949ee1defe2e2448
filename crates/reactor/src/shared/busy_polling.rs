//! Busy polling of the threads that share a reactor; see the same of [`Reactor`](crate::Reactor).

use crate::shared::SharedReactor;
use std::time::Duration;

impl<T, S> SharedReactor<T, S> {
    /// Sets for how long each worker looks again and again before it sleeps, if its last wait brought something, as
    /// [`Reactor::set_busy_polling`](crate::Reactor::set_busy_polling) does for one thread. Each thread that looks
    /// keeps a processor busy.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::shared::SharedReactor;
    /// use std::time::Duration;
    ///
    /// let mut reactor: SharedReactor<Stream> = SharedReactor::new()?;
    /// reactor.set_busy_polling(Some(Duration::from_micros(50)));
    /// let mut worker = reactor.worker();
    /// reactor.waker().wake()?;
    /// worker.wait(None)?;
    /// while worker.next_ready().is_some() {}
    ///
    /// worker.wait(Some(Duration::from_millis(5)))?;
    /// assert!(reactor.counters().spins > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_busy_polling(&mut self, time: Option<Duration>) {
        self.busy_polling = time.filter(|time| !time.is_zero());
        self.attention.set_busy_polling(self.busy_polling.is_some());
    }
}
