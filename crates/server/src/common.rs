//! What the threads of a server have in common: the limits, the drain, and the way to the first of them,
//! which decides.

use crate::client::Draining;
use crate::seats::Seats;
use crate::signals::SignalQueue;
use crate::stats::Stats;
use epoll_reactor::Waker;
use epoll_shutdown::{DrainWatch, Signal};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) struct Common {
    pub(crate) seats: Seats,
    /// The phase of the drain.
    pub(crate) watch: DrainWatch,
    /// Signals for the first thread.
    pub(crate) signals: SignalQueue,
    /// Set before the watch has the phase.
    draining: OnceLock<Draining>,
    /// The threads that wait for a reactor of their own; the first is the one that decides.
    wakers: Vec<Waker>,
    roll: Mutex<Roll>,
    /// What the first thread that failed failed with.
    failure: Mutex<Option<anyhow::Error>>,
}

/// A roll call: every thread logs its counters, the last one the sum of what became of connections.
#[derive(Default)]
struct Roll {
    /// How many there have been.
    calls: u64,
    missing: usize,
    sum: Stats,
}

impl Common {
    pub(crate) fn new(seats: Seats, wakers: Vec<Waker>) -> Self {
        let watch = DrainWatch::new();
        for waker in &wakers {
            let waker = waker.clone();
            watch.on_change(move || wake(&waker));
        }
        Self {
            seats,
            watch,
            signals: SignalQueue::default(),
            draining: OnceLock::new(),
            wakers,
            roll: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    pub(crate) fn draining(&self) -> Option<Draining> {
        self.draining.get().copied()
    }

    /// How the drain goes, for whoever is told of it afterwards.
    pub(crate) fn begin_to_drain(&self, draining: Draining) {
        // There is one drain.
        let _ = self.draining.set(draining);
    }

    /// Has the first thread look whether it is all over.
    pub(crate) fn tell_if_over(&self) {
        if self.seats.is_over() {
            self.wake_first();
        }
    }

    /// Hands a signal to the first thread.
    pub(crate) fn on_signal(&self, signal: Signal) {
        self.signals.push(signal);
        self.wake_first();
    }

    fn wake_first(&self) {
        self.wakers.first().into_iter().for_each(wake);
    }

    /// Ends everything because of `error`.
    pub(crate) fn fail(&self, error: anyhow::Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.watch.abort();
    }

    pub(crate) fn take_failure(&self) -> Option<anyhow::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has every thread log its counters.
    pub(crate) fn call_roll(&self) {
        let mut roll = self.roll();
        *roll = Roll { calls: roll.calls + 1, missing: self.wakers.len(), sum: Stats::default() };
        self.wakers.iter().for_each(wake);
    }

    /// Whether there was a roll call since the one that was `seen` last.
    pub(crate) fn is_called(&self, seen: &mut u64) -> bool {
        let calls = self.roll().calls;
        std::mem::replace(seen, calls) != calls
    }

    /// Adds what a thread has to say to the roll `call` that it saw; the sum, if it was the last. What it
    /// has to say to an earlier one than the last is late: it will be asked again.
    pub(crate) fn answer(&self, call: u64, stats: Stats) -> Option<Stats> {
        let mut roll = self.roll();
        if call != roll.calls {
            return None;
        }
        roll.missing = roll.missing.saturating_sub(1);
        roll.sum += stats;
        (roll.missing == 0).then(|| roll.sum.clone())
    }

    fn roll(&self) -> MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: &Waker) {
    // No error of it is known.
    if let Err(error) = waker.wake() {
        tracing::error!(%error, "a thread cannot be woken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_reactor::Reactor;

    #[test]
    fn who_is_late_for_a_roll_call_is_not_counted_twice_in_the_next() {
        let reactors = [(); 2].map(|()| Reactor::<std::net::TcpStream>::new().unwrap());
        let wakers = reactors.iter().map(Reactor::waker).collect();
        let common = Common::new(Seats::new(1, None, 2), wakers);
        let [mut first, mut second] = [0; 2];
        let one = || Stats { opened: 1, ..Stats::default() };
        common.call_roll();
        assert!(common.is_called(&mut first));
        common.call_roll();
        assert!(common.answer(first, one()).is_none());
        assert!(common.is_called(&mut second) && common.is_called(&mut first));
        assert!(common.answer(first, one()).is_none());
        let sum = common.answer(second, one()).expect("the last one to answer");
        assert_eq!(sum.opened, 2);
        assert!(!common.is_called(&mut first) && !common.is_called(&mut second));
    }
}
