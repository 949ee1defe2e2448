//! The drain of the service: the first thread decides on it, and all threads see it. What each of them then
//! does with its connections is in `handler/drain.rs`, and when one of these is quiet in `timeouts.rs`.

use crate::supervisor::Watchdog;
use epoll_shutdown::{Drain, DrainOutcome, DrainWatch, Phase, Signal};
use epoll_timers::Timestamp;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The drain, as far as a single connection is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    pub(crate) since: Timestamp,
    /// The time at which connections that are still busy are ended.
    pub(crate) half_time: Option<Timestamp>,
}

/// The drain as all threads see it.
#[derive(Debug)]
pub(crate) struct DrainState {
    watch: DrainWatch,
    /// Set before `watch` has the phase.
    draining: OnceLock<Draining>,
    /// A signal to end has come. The drain may begin later.
    is_announced: AtomicBool,
}

impl DrainState {
    pub(crate) fn new() -> Self {
        Self {
            watch: DrainWatch::new(),
            draining: OnceLock::new(),
            is_announced: AtomicBool::new(false),
        }
    }

    /// Registers a callback that is called whenever the phase changes.
    pub(crate) fn on_change(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.watch.on_change(callback);
    }

    /// Returns the state of the drain, once it has begun.
    #[inline]
    pub(crate) fn draining(&self) -> Option<Draining> {
        self.draining.get().copied()
    }

    /// Returns whether threads have to tell their connections.
    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.watch.phase(), Phase::Draining { .. })
    }

    /// Returns whether threads have to end.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.watch.phase(), Phase::Stopped { .. })
    }

    /// Notes that a signal to end has come.
    pub(crate) fn announce(&self) {
        self.is_announced.store(true, Ordering::Relaxed);
    }

    /// Returns whether no signal to end has come, and nothing has failed.
    #[cfg(any(test, feature = "metrics"))]
    pub(crate) fn is_running(&self) -> bool {
        !self.is_announced.load(Ordering::Relaxed) && matches!(self.watch.phase(), Phase::Running)
    }

    /// Ends all threads without a drain, because something has failed.
    pub(crate) fn abort(&self) {
        self.watch.abort();
    }
}

/// The state with which the first thread decides on the drain, and the signs of life that it gives.
#[derive(Debug)]
pub(crate) struct Coordinator {
    drain: Drain,
    /// The time from the first signal to the beginning of the drain.
    delay: Duration,
    /// The first signal and the end of the delay, until then.
    delayed: Option<(Signal, Timestamp)>,
    /// `None` where nobody expects signs of life, or not from this process any more.
    watchdog: Option<Watchdog>,
}

impl Coordinator {
    pub(crate) fn new(drain: Drain, delay: Duration, watchdog: Option<Watchdog>) -> Self {
        Self { drain, delay, delayed: None, watchdog }
    }

    /// Changes the time before the drain, unless a signal to end has come, and the time that it may take, unless it
    /// has begun.
    pub(crate) fn set_times(&mut self, (delay, timeout): (Duration, Option<Duration>)) {
        if self.drain.phase() == Phase::Running {
            self.delay = delay;
            self.drain = Drain::new(timeout);
        }
    }

    /// Returns when to call [`beat`](Self::beat) first.
    pub(crate) fn first_beat(&self) -> Option<Timestamp> {
        self.watchdog.as_ref().map(Watchdog::next)
    }

    /// Gives a sign of life if one is due, and returns when the next one is.
    pub(crate) fn beat(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.watchdog.as_mut()?.beat(now)
    }

    /// Gives no sign of life any more: another process does.
    pub(crate) fn stop_beating(&mut self) {
        self.watchdog = None;
    }

    /// Acts on a signal to end: the first one begins the drain, or the delay before it, and the next one ends
    /// both. Returns the time at which to call [`expire`](Self::expire): that of the end of the delay, or the
    /// deadline of a drain that begins.
    pub(crate) fn on_signal(&mut self, signal: Signal, state: &DrainState) -> Option<Timestamp> {
        let now = Timestamp::now();
        match self.delayed.take() {
            // Whoever asks twice wants no more clients to be waited for.
            Some((first, _)) => {
                self.drain.on_signal(first, now);
            }
            None if self.drain.phase() == Phase::Running && !self.delay.is_zero() => {
                tracing::info!(%signal, delay = ?self.delay, "the drain begins after a delay");
                let begins_at = now + self.delay;
                self.delayed = Some((signal, begins_at));
                return Some(begins_at);
            }
            None => {}
        }
        self.advance(signal, now, state)
    }

    /// Begins the drain because of this signal, or ends it.
    fn advance(&mut self, signal: Signal, now: Timestamp, state: &DrainState) -> Option<Timestamp> {
        let mut ends_at = None;
        match self.drain.on_signal(signal, now) {
            Some(Phase::Draining { since, deadline, .. }) => {
                tracing::info!(%signal, "draining");
                let half_time = deadline.map(|deadline| since + (deadline - since) / 2);
                // There is one drain.
                let _ = state.draining.set(Draining { since, half_time });
                ends_at = deadline;
            }
            Some(_) => tracing::info!(%signal, "stopping at once"),
            None => {}
        }
        // The others are woken, and this thread too: it drains as they do.
        self.publish(state);
        ends_at
    }

    /// Begins the drain if its delay is over, and ends it if its deadline has passed. Returns the deadline of a
    /// drain that begins.
    pub(crate) fn expire(&mut self, now: Timestamp, state: &DrainState) -> Option<Timestamp> {
        if let Some((signal, _)) = self.delayed.take_if(|(_, begins_at)| *begins_at <= now) {
            return self.advance(signal, now, state);
        }
        self.drain.expire(now);
        self.publish(state);
        None
    }

    /// Ends the drain: no connection is left.
    pub(crate) fn finish(&mut self, state: &DrainState) {
        self.drain.finish();
        self.publish(state);
    }

    fn publish(&self, state: &DrainState) {
        state.watch.set(self.drain.phase());
    }

    /// Returns the outcome of a drain that is over.
    ///
    /// # Errors
    ///
    /// The phase of one that is not.
    pub(crate) fn outcome(&self) -> Result<DrainOutcome, Phase> {
        match self.drain.phase() {
            Phase::Stopped { outcome } => Ok(outcome),
            phase => Err(phase),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn half_of_the_time_is_published_before_the_phase_and_the_next_signal_ends_it() {
        let state = Arc::new(DrainState::new());
        let changes = Arc::new(AtomicU32::new(0));
        let (seen, counted) = (Arc::downgrade(&state), Arc::clone(&changes));
        state.on_change(move || {
            let state = seen.upgrade().expect("a state");
            assert!(state.draining().is_some(), "a phase before its times");
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let limit = Duration::from_secs(8);
        let mut coordinator = Coordinator::new(Drain::new(None), Duration::ZERO, None);
        coordinator.set_times((Duration::ZERO, Some(limit)));
        assert!(state.draining().is_none() && !state.is_draining() && !state.is_over());
        let deadline = coordinator.on_signal(Signal::TERM, &state).expect("a deadline");
        let Draining { since, half_time } = state.draining().expect("a drain");
        assert_eq!((deadline - since, half_time), (limit, Some(since + limit / 2)));
        assert!(state.is_draining() && coordinator.outcome().is_err());
        // Too late: those who drain know their times already.
        coordinator.set_times((Duration::ZERO, None));
        assert_eq!(coordinator.expire(since + limit / 2, &state), None);
        assert!(state.is_draining(), "its deadline has not come");
        assert_eq!(coordinator.on_signal(Signal::INT, &state), None);
        assert!(state.is_over());
        assert_eq!(coordinator.outcome(), Ok(DrainOutcome::Forced(Signal::INT)));
        assert_eq!(changes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn one_without_a_limit_has_no_half_time_and_ends_when_no_connection_is_left() {
        let state = DrainState::new();
        let mut coordinator = Coordinator::new(Drain::new(None), Duration::ZERO, None);
        assert_eq!(coordinator.on_signal(Signal::INT, &state), None);
        assert!(state.draining().is_some_and(|draining| draining.half_time.is_none()));
        assert!(state.is_draining());
        coordinator.finish(&state);
        assert!(state.is_over() && !state.is_draining());
        assert_eq!(coordinator.outcome(), Ok(DrainOutcome::Finished));
    }

    #[test]
    fn one_with_a_delay_begins_when_that_is_over_and_has_its_whole_time_then() {
        let state = DrainState::new();
        let (limit, delay) = (Duration::from_secs(8), Duration::from_secs(3));
        let mut coordinator = Coordinator::new(Drain::new(Some(limit)), limit, None);
        coordinator.set_times((delay, Some(limit)));
        let before = Timestamp::now();
        let begins_at = coordinator.on_signal(Signal::TERM, &state).expect("the end of a delay");
        assert!(begins_at - before >= delay);
        let early = Timestamp::from_nanos(begins_at.as_nanos() - 1);
        assert_eq!(coordinator.expire(early, &state), None);
        assert!(state.draining().is_none() && !state.is_draining());
        let deadline = coordinator.expire(begins_at, &state).expect("a deadline");
        assert_eq!(deadline - begins_at, limit);
        assert_eq!(state.draining().map(|draining| draining.since), Some(begins_at));
        assert_eq!(coordinator.expire(deadline, &state), None);
        assert_eq!(coordinator.outcome(), Ok(DrainOutcome::DeadlinePassed));
    }

    #[test]
    fn a_second_signal_during_the_delay_ends_everything_at_once() {
        let state = DrainState::new();
        let mut coordinator = Coordinator::new(Drain::new(None), Duration::from_secs(3), None);
        let begins_at = coordinator.on_signal(Signal::TERM, &state).expect("the end of a delay");
        assert_eq!(coordinator.on_signal(Signal::INT, &state), None);
        assert!(state.is_over() && state.draining().is_none());
        // The reminder for the end of the delay comes all the same.
        assert_eq!(coordinator.expire(begins_at, &state), None);
        assert_eq!(coordinator.outcome(), Ok(DrainOutcome::Forced(Signal::INT)));
    }

    #[test]
    fn it_runs_until_a_signal_is_announced_or_something_fails() {
        let (announced, failed) = (DrainState::new(), DrainState::new());
        assert!(announced.is_running() && failed.is_running());
        announced.announce();
        failed.abort();
        assert!(!announced.is_running() && !failed.is_running());
        assert!(!announced.is_draining() && !announced.is_over());
    }
}
