//! Signals: which of them end the service, and the queue in which they reach the first thread. SIGTERM and
//! SIGINT end it, SIGHUP and any other one asks for the counters, but for the one that restarts it, see
//! `signals/restarter.rs`.

pub(crate) mod reader;
pub(crate) mod restarter;

use epoll_shutdown::Signal;
use std::sync::{Mutex, PoisonError};

/// Returns whether a signal asks the server to end.
pub(crate) fn is_ending(signal: Signal) -> bool {
    matches!(signal, Signal::TERM | Signal::INT)
}

/// Returns the exit status of a process that this signal has ended.
pub fn exit_status(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}

/// Signals on their way to the first thread: two that end the server at most, and each other one once.
#[derive(Default)]
pub(crate) struct SignalQueue(Mutex<Vec<Signal>>);

impl SignalQueue {
    /// Puts a signal in. One that asks for the counters counts once until it is taken, as a standard
    /// signal that is pending does.
    pub(crate) fn push(&self, signal: Signal) {
        let mut queued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_ending(signal) || !queued.contains(&signal) {
            queued.push(signal);
        }
    }

    /// Takes all signals, the oldest first.
    pub(crate) fn take(&self) -> Vec<Signal> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_taken_in_order_and_requests_for_counters_are_merged() {
        let queue = SignalQueue::default();
        for signal in [Signal::HUP, Signal::TERM, Signal::HUP, Signal::TERM, Signal::USR1] {
            queue.push(signal);
        }
        let taken = [Signal::HUP, Signal::TERM, Signal::TERM, Signal::USR1];
        assert_eq!(queue.take(), taken);
        assert_eq!(queue.take(), []);
        queue.push(Signal::HUP);
        assert_eq!(queue.take(), [Signal::HUP]);
    }

    #[test]
    fn the_exit_status_is_that_of_a_shell() {
        assert_eq!((exit_status(Signal::INT), exit_status(Signal::TERM)), (130, 143));
    }
}
