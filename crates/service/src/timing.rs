//! The timers of connections, and what was found when they were looked at.

use crate::Timeouts;
use crate::timeouts::Sample;
use epoll_reactor::Token;
use epoll_timers::Timers;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of timers that a pass may touch before the loop looks after its connections again.
pub(crate) const TIMER_STEPS_MAX: usize = 1024;

/// The timers of connections that are kept together.
///
/// Who locks it may have a connection in hand, but does not wait for one.
pub(crate) struct Timing {
    /// With the slot of the connection: a token would cost every timer twelve bytes more. The slot is the
    /// connection's for as long as its timer lasts, because closing ends the timer before the registration.
    pub(crate) timers: Timers<u32>,
    /// The timeouts that they are set by. They are here because whoever needs them locks this anyway, and they may
    /// be changed at any time.
    pub(crate) timeouts: Timeouts,
    /// The findings about connections that were looked at.
    pub(crate) samples: HashMap<Token, Sample>,
}

impl Timing {
    pub(crate) fn new(mut timers: Timers<u32>, timeouts: Timeouts) -> Arc<Mutex<Self>> {
        timers.set_steps_max(TIMER_STEPS_MAX);
        Arc::new(Mutex::new(Self { timers, timeouts, samples: HashMap::new() }))
    }

    /// Returns the finding about this connection.
    #[inline]
    pub(crate) fn sample(&self, token: Token) -> Option<Sample> {
        // A hash costs more than the look.
        if self.samples.is_empty() { None } else { self.samples.get(&token).copied() }
    }

    /// Forgets what was found about this connection.
    #[inline]
    pub(crate) fn remove_sample(&mut self, token: Token) {
        if !self.samples.is_empty() {
            self.samples.remove(&token);
        }
    }
}

pub(crate) fn lock(timing: &Mutex<Timing>) -> MutexGuard<'_, Timing> {
    // A panic may leave a timer too many or too few; the service lives on.
    timing.lock().unwrap_or_else(PoisonError::into_inner)
}
