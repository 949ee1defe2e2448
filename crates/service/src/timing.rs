//! The timers of connections, and what was found when they were looked at.

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
    pub(crate) timers: Timers<Token>,
    /// The findings about connections that were looked at.
    pub(crate) samples: HashMap<Token, Sample>,
}

impl Timing {
    pub(crate) fn new(mut timers: Timers<Token>) -> Arc<Mutex<Self>> {
        timers.set_steps_max(TIMER_STEPS_MAX);
        Arc::new(Mutex::new(Self { timers, samples: HashMap::new() }))
    }
}

pub(crate) fn lock(timing: &Mutex<Timing>) -> MutexGuard<'_, Timing> {
    // A panic may leave a timer too many or too few; the service lives on.
    timing.lock().unwrap_or_else(PoisonError::into_inner)
}
