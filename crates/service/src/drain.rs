//! The drain of the service: the first thread decides on it, and all threads see it. What each of them then
//! does with its connections is in `handler/drain.rs`, and when one of these is quiet in `timeouts.rs`.

use crate::supervisor::Watchdog;
use epoll_shutdown::{Drain, DrainOutcome, DrainWatch, Phase, Signal};
use epoll_timers::Timestamp;
use std::sync::OnceLock;

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
}

impl DrainState {
    pub(crate) fn new() -> Self {
        Self { watch: DrainWatch::new(), draining: OnceLock::new() }
    }

    /// Has `callback` called whenever the phase changes.
    pub(crate) fn on_change(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.watch.on_change(callback);
    }

    /// Returns how the drain goes, once it has begun.
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

    /// Ends all threads without a drain, because something has failed.
    pub(crate) fn abort(&self) {
        self.watch.abort();
    }
}

/// The state with which the first thread decides on the drain, and the signs of life that it gives.
#[derive(Debug)]
pub(crate) struct Coordinator {
    drain: Drain,
    /// `None` where nobody expects signs of life, or not from this process any more.
    watchdog: Option<Watchdog>,
}

impl Coordinator {
    pub(crate) fn new(drain: Drain, watchdog: Option<Watchdog>) -> Self {
        Self { drain, watchdog }
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

    /// Acts on a signal to end: the first one begins the drain, the next one ends it. Returns the deadline
    /// of a drain that begins, at which to call [`expire`](Self::expire).
    pub(crate) fn on_signal(&mut self, signal: Signal, state: &DrainState) -> Option<Timestamp> {
        let mut ends_at = None;
        match self.drain.on_signal(signal, Timestamp::now()) {
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

    /// Ends the drain if its deadline has passed.
    pub(crate) fn expire(&mut self, now: Timestamp, state: &DrainState) {
        self.drain.expire(now);
        self.publish(state);
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
    use std::time::Duration;

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
        let mut coordinator = Coordinator::new(Drain::new(Some(limit)), None);
        assert!(state.draining().is_none() && !state.is_draining() && !state.is_over());
        let deadline = coordinator.on_signal(Signal::TERM, &state).expect("a deadline");
        let Draining { since, half_time } = state.draining().expect("a drain");
        assert_eq!((deadline - since, half_time), (limit, Some(since + limit / 2)));
        assert!(state.is_draining() && coordinator.outcome().is_err());
        coordinator.expire(since + limit / 2, &state);
        assert!(state.is_draining(), "its deadline has not come");
        assert_eq!(coordinator.on_signal(Signal::INT, &state), None);
        assert!(state.is_over());
        assert_eq!(coordinator.outcome(), Ok(DrainOutcome::Forced(Signal::INT)));
        assert_eq!(changes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn one_without_a_limit_has_no_half_time_and_ends_when_no_connection_is_left() {
        let state = DrainState::new();
        let mut coordinator = Coordinator::new(Drain::new(None), None);
        assert_eq!(coordinator.on_signal(Signal::INT, &state), None);
        assert!(state.draining().is_some_and(|draining| draining.half_time.is_none()));
        assert!(state.is_draining());
        coordinator.finish(&state);
        assert!(state.is_over() && !state.is_draining());
        assert_eq!(coordinator.outcome(), Ok(DrainOutcome::Finished));
    }
}
