//! What other threads know of the drain: one atomic to read, and a way to be woken when it changes.

use crate::{Drain, Phase};
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The phase of a drain, without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Nothing has been asked.
    Running,
    /// Take nothing new, finish what there is.
    Draining,
    /// It is over.
    Stopped,
}

/// Tells other threads of a [`Drain`]'s phase. Clones share it.
///
/// The thread that owns the drain [publishes](Self::publish) after each change. The others read
/// [`state`](Self::state), which is one atomic load, and have themselves [woken](Self::wake_with).
///
/// ```
/// use epoll_shutdown::{Drain, Notice, Signal, State, Timestamp};
/// use std::sync::mpsc;
///
/// let notice = Notice::new();
/// let (wake, woken) = mpsc::channel();
/// notice.wake_with(move || drop(wake.send(())));
/// let other = notice.clone();
/// let thread = std::thread::spawn(move || {
///     woken.recv().unwrap();
///     other.state()
/// });
///
/// let mut drain = Drain::new(None);
/// drain.signal(Signal::TERM, Timestamp::EPOCH);
/// notice.publish(&drain);
/// assert_eq!(thread.join().unwrap(), State::Draining);
/// ```
#[derive(Clone, Default)]
pub struct Notice {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: AtomicU8,
    wakers: Mutex<Vec<Waker>>,
}

type Waker = Box<dyn Fn() + Send + Sync>;

impl Notice {
    /// Running, and nobody to wake.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The phase that was published last.
    #[inline]
    #[must_use]
    pub fn state(&self) -> State {
        match self.shared.state.load(Ordering::Acquire) {
            0 => State::Running,
            1 => State::Draining,
            _ => State::Stopped,
        }
    }

    /// Has `wake` called, from the publishing thread, whenever the phase has changed. It should do
    /// no more than wake a thread: the others wait for it, and calling this notice from within it
    /// never returns.
    ///
    /// A change that came before is not told again: read [`state`](Self::state) afterwards.
    pub fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.wakers().push(Box::new(wake));
    }

    /// Publishes the phase of `drain`, and wakes whoever wants to know if it has changed.
    ///
    /// A phase that lies behind the published one is not published.
    pub fn publish(&self, drain: &Drain) {
        let state = match drain.phase() {
            Phase::Running => State::Running,
            Phase::Draining { .. } => State::Draining,
            Phase::Stopped { .. } => State::Stopped,
        };
        self.advance(state);
    }

    /// Publishes that it is over, whatever the drain says: for an owner that cannot go on.
    pub fn stop(&self) {
        self.advance(State::Stopped);
    }

    fn advance(&self, state: State) {
        // The store comes before the wakes, so whoever is woken reads it.
        if self.shared.state.fetch_max(state as u8, Ordering::AcqRel) < state as u8 {
            self.wakers().iter().for_each(|wake| wake());
        }
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        // A waker that panicked leaves the list as it was.
        self.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("state", &self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_sys::{Signal, Timestamp};
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn each_change_wakes_once() {
        let (notice, wakes) = (Notice::new(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&wakes);
        notice.wake_with(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let mut drain = Drain::new(None);
        notice.publish(&drain);
        assert_eq!(wakes.load(Ordering::Relaxed), 0);
        for (expected, state) in [(1, State::Draining), (2, State::Stopped)] {
            drain.signal(Signal::TERM, Timestamp::EPOCH);
            notice.publish(&drain);
            notice.publish(&drain);
            assert_eq!((wakes.load(Ordering::Relaxed), notice.state()), (expected, state));
        }
    }

    #[test]
    fn an_older_phase_does_not_take_a_newer_ones_place() {
        let notice = Notice::new();
        let mut drain = Drain::new(None);
        let running = drain;
        drain.signal(Signal::TERM, Timestamp::EPOCH);
        notice.publish(&drain);
        notice.publish(&running);
        assert_eq!(notice.state(), State::Draining);
    }
}
