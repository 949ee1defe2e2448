//! What the threads of a service have in common: the limits, the state of the drain, requests for
//! statistics, and the way to the first of them, which decides.

use crate::admission::Admission;
use crate::drain::DrainState;
use crate::error::Error;
use crate::refusals::RefusalLog;
use crate::signals::{SignalQueue, is_ending};
use crate::stats::Stats;
use epoll_reactor::Waker;
use epoll_shutdown::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) struct Control {
    pub(crate) admission: Admission,
    pub(crate) drain: DrainState,
    pub(crate) refusals: RefusalLog,
    /// Signals for the first thread.
    pub(crate) signals: SignalQueue,
    /// The wakers of the threads that wait for a reactor of their own; the first one decides.
    wakers: Vec<Waker>,
    stats: Mutex<StatsRequest>,
    /// The error of the first thread that failed.
    failure: Mutex<Option<Error>>,
    /// Every thread serves, or has.
    is_serving: AtomicBool,
    hand_over: OnceLock<HandOver>,
}

/// The hand-over of sockets to another process, which serves.
#[derive(Debug)]
struct HandOver {
    /// The signal that asked for it, and then begins the drain.
    signal: Signal,
    /// For each address, whether the other process listens there.
    taken: Vec<bool>,
}

/// A request for statistics: every thread logs its counters, the last one the sums over all connections.
#[derive(Default)]
struct StatsRequest {
    /// The number of requests so far.
    epoch: u64,
    missing: usize,
    sum: Stats,
}

impl Control {
    pub(crate) fn new(admission: Admission, wakers: Vec<Waker>) -> Self {
        let drain = DrainState::new();
        for waker in &wakers {
            let waker = waker.clone();
            drain.on_change(move || wake(&waker));
        }
        Self {
            admission,
            drain,
            refusals: RefusalLog::default(),
            signals: SignalQueue::default(),
            wakers,
            stats: Mutex::default(),
            failure: Mutex::default(),
            is_serving: AtomicBool::new(false),
            hand_over: OnceLock::new(),
        }
    }

    /// Notes that every thread serves.
    pub(crate) fn set_serving(&self) {
        self.is_serving.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.is_serving.load(Ordering::SeqCst)
    }

    /// Begins the drain because another process serves at the addresses that are `taken`.
    pub(crate) fn hand_over(&self, signal: Signal, taken: Vec<bool>) {
        // There is one hand-over.
        let _ = self.hand_over.set(HandOver { signal, taken });
        self.on_signal(signal);
    }

    /// Returns whether another process listens at the address with this index.
    pub(crate) fn is_handed_over(&self, entry: usize) -> bool {
        let taken = self.hand_over.get().and_then(|done| done.taken.get(entry));
        taken.copied().unwrap_or(false)
    }

    /// Returns whether a signal begins the drain, or ends it if it has begun; any other one asks for the counters.
    pub(crate) fn begins_drain(&self, signal: Signal) -> bool {
        is_ending(signal) || self.hand_over.get().is_some_and(|done| done.signal == signal)
    }

    /// Wakes the first thread if there is no connection left and will not be one.
    pub(crate) fn wake_first_if_drained(&self) {
        if self.admission.is_drained() {
            self.wake_first();
        }
    }

    /// Returns whether new clients should come: every thread serves, and no signal to end has come.
    #[cfg(any(test, feature = "metrics"))]
    pub(crate) fn is_ready(&self) -> bool {
        self.is_serving.load(Ordering::Acquire) && self.drain.is_running()
    }

    /// Hands a signal to the first thread.
    pub(crate) fn on_signal(&self, signal: Signal) {
        if self.begins_drain(signal) {
            // Here, and not by the first thread, which may be busy: balancers are to see it at once.
            self.drain.announce();
        }
        self.signals.push(signal);
        self.wake_first();
    }

    pub(crate) fn wake_first(&self) {
        self.wakers.first().into_iter().for_each(wake);
    }

    /// Ends everything because of `error`.
    pub(crate) fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.drain.abort();
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has every thread log its counters.
    pub(crate) fn request_stats(&self) {
        let mut request = self.stats();
        *request = StatsRequest {
            epoch: request.epoch + 1,
            missing: self.wakers.len(),
            sum: Stats::default(),
        };
        self.wakers.iter().for_each(wake);
    }

    /// Returns whether statistics were requested since the request that was `seen` last.
    pub(crate) fn is_stats_requested(&self, seen: &mut u64) -> bool {
        let epoch = self.stats().epoch;
        std::mem::replace(seen, epoch) != epoch
    }

    /// Adds the statistics of a thread to the request that it saw, and returns the sum if it was the last
    /// one. An answer to an earlier request is dropped: the thread will be asked again.
    pub(crate) fn submit_stats(&self, epoch: u64, stats: Stats) -> Option<Stats> {
        let mut request = self.stats();
        if epoch != request.epoch {
            return None;
        }
        request.missing = request.missing.saturating_sub(1);
        request.sum += stats;
        (request.missing == 0).then(|| request.sum.clone())
    }

    fn stats(&self) -> MutexGuard<'_, StatsRequest> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn it_is_ready_from_when_every_thread_serves_until_a_signal_to_end() {
        let reactor = Reactor::<std::net::TcpStream>::new().unwrap();
        let control = Control::new(Admission::new(1, None, 1), vec![reactor.waker()]);
        assert!(!control.is_ready());
        control.set_serving();
        control.on_signal(Signal::HUP);
        assert!(control.is_ready());
        control.on_signal(Signal::INT);
        assert!(!control.is_ready());
    }

    #[test]
    fn a_thread_that_answers_late_is_not_counted_twice_for_the_next_request() {
        let reactors = [(); 2].map(|()| Reactor::<std::net::TcpStream>::new().unwrap());
        let wakers = reactors.iter().map(Reactor::waker).collect();
        let control = Control::new(Admission::new(1, None, 2), wakers);
        let [mut first, mut second] = [0; 2];
        let one = || Stats { opened: 1, ..Stats::default() };
        control.request_stats();
        assert!(control.is_stats_requested(&mut first));
        control.request_stats();
        assert!(control.submit_stats(first, one()).is_none());
        assert!(control.is_stats_requested(&mut second) && control.is_stats_requested(&mut first));
        assert!(control.submit_stats(first, one()).is_none());
        let sum = control.submit_stats(second, one()).expect("the last one to answer");
        assert_eq!(sum.opened, 2);
        assert!(
            !control.is_stats_requested(&mut first) && !control.is_stats_requested(&mut second)
        );
    }
}
