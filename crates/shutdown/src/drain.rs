//! The drain as a state machine. Pure: no clock and no system call; signals and times come in.
//!
//! It is running until the first signal; then draining, until everything has finished, the deadline is
//! reached or a second signal comes; then stopped, for good.

use epoll_sys::{Signal, Timestamp};
use std::time::Duration;

/// The phase of a program between running and stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No signal to end has come.
    Running,
    /// The program accepts no new work and finishes the work that it has.
    Draining {
        /// The signal that began the drain.
        signal: Signal,
        /// The time at which the drain began.
        since: Timestamp,
        /// The time at which unfinished work is cut off; `None`: never.
        deadline: Option<Timestamp>,
    },
    /// The drain is over.
    Stopped {
        /// The reason for which it is over.
        outcome: DrainOutcome,
    },
}

/// The reason for which a drain is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Everything finished.
    Finished,
    /// The deadline was reached first.
    DeadlinePassed,
    /// This signal came while the program was draining.
    Forced(Signal),
    /// The program cannot go on, see [`DrainWatch::abort`](crate::DrainWatch::abort).
    Aborted,
}

/// A graceful shutdown, from the first signal to the end.
///
/// Its owner reads the clock and passes the times in. Each input returns the new phase, if it has changed
/// the phase.
///
/// It is a plain value. Other threads see its phase through a [`DrainWatch`](crate::DrainWatch).
///
/// # Examples
///
/// ```
/// use epoll_shutdown::{Drain, DrainOutcome, Phase, Signal, Timestamp};
/// use std::time::Duration;
///
/// let at = |seconds| Timestamp::after_epoch(Duration::from_secs(seconds));
/// let mut drain = Drain::new(Some(Duration::from_secs(10)));
/// drain.on_signal(Signal::TERM, at(100));
/// assert_eq!(drain.deadline(), Some(at(110)));
///
/// drain.expire(at(109));
/// assert!(matches!(drain.phase(), Phase::Draining { .. }));
/// drain.expire(at(110));
/// assert_eq!(drain.phase(), Phase::Stopped { outcome: DrainOutcome::DeadlinePassed });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    phase: Phase,
    timeout: Option<Duration>,
}

impl Drain {
    /// Creates a drain that is running. Draining may take `timeout`; `None`: any time.
    #[must_use]
    pub fn new(timeout: Option<Duration>) -> Self {
        Self { phase: Phase::Running, timeout }
    }

    /// Returns the phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the time at which unfinished work is cut off, while it drains. A deadline beyond the end of
    /// time is none.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Draining { deadline, .. } => deadline,
            Phase::Running | Phase::Stopped { .. } => None,
        }
    }

    /// Handles a signal that asks for the end: the first begins the drain, the second stops it.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Drain, DrainOutcome, Phase, Signal, Timestamp};
    ///
    /// let mut drain = Drain::new(None);
    /// drain.on_signal(Signal::TERM, Timestamp::EPOCH);
    /// let outcome = DrainOutcome::Forced(Signal::INT);
    /// let stopped = Phase::Stopped { outcome };
    /// assert_eq!(drain.on_signal(Signal::INT, Timestamp::EPOCH), Some(stopped));
    /// assert_eq!(drain.on_signal(Signal::INT, Timestamp::EPOCH), None);
    /// ```
    pub fn on_signal(&mut self, signal: Signal, now: Timestamp) -> Option<Phase> {
        match self.phase {
            Phase::Running => {
                let deadline = self.timeout.and_then(|timeout| now.checked_add(timeout));
                self.enter(Phase::Draining { signal, since: now, deadline })
            }
            Phase::Draining { .. } => self.stop(DrainOutcome::Forced(signal)),
            Phase::Stopped { .. } => None,
        }
    }

    /// Stops the drain if its deadline is reached at `now`.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Drain, DrainOutcome, Phase, Signal, Timestamp};
    /// use std::time::Duration;
    ///
    /// let at = |seconds| Timestamp::after_epoch(Duration::from_secs(seconds));
    /// let mut drain = Drain::new(Some(Duration::from_secs(10)));
    /// assert_eq!(drain.expire(at(100)), None, "it does not drain yet");
    /// drain.on_signal(Signal::TERM, at(100));
    /// let outcome = DrainOutcome::DeadlinePassed;
    /// assert_eq!(drain.expire(at(110)), Some(Phase::Stopped { outcome }));
    /// ```
    pub fn expire(&mut self, now: Timestamp) -> Option<Phase> {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.stop(DrainOutcome::DeadlinePassed)
        } else {
            None
        }
    }

    /// Stops the drain because everything has finished. Before the drain it changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_shutdown::{Drain, DrainOutcome, Phase, Signal, Timestamp};
    ///
    /// let mut drain = Drain::new(None);
    /// assert_eq!(drain.finish(), None);
    /// drain.on_signal(Signal::TERM, Timestamp::EPOCH);
    /// let outcome = DrainOutcome::Finished;
    /// assert_eq!(drain.finish(), Some(Phase::Stopped { outcome }));
    /// ```
    pub fn finish(&mut self) -> Option<Phase> {
        match self.phase {
            Phase::Draining { .. } => self.stop(DrainOutcome::Finished),
            Phase::Running | Phase::Stopped { .. } => None,
        }
    }

    fn stop(&mut self, outcome: DrainOutcome) -> Option<Phase> {
        self.enter(Phase::Stopped { outcome })
    }

    fn enter(&mut self, phase: Phase) -> Option<Phase> {
        self.phase = phase;
        Some(phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Input {
        Signal,
        Expire(u64),
        Finish,
    }

    const INPUTS: [Input; 4] = [Input::Signal, Input::Expire(5), Input::Expire(500), Input::Finish];

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_epoch(Duration::from_secs(seconds))
    }

    fn feed(drain: &mut Drain, input: Input, now: u64) -> Option<Phase> {
        match input {
            Input::Signal => drain.on_signal(Signal::TERM, at(now)),
            Input::Expire(time) => drain.expire(at(now + time)),
            Input::Finish => drain.finish(),
        }
    }

    /// Returns the phase that follows `before`, as the documentation describes it.
    fn expected(before: Phase, input: Input, now: u64, timeout: Option<Duration>) -> Phase {
        let stopped = |outcome| Phase::Stopped { outcome };
        match (before, input) {
            (Phase::Running, Input::Signal) => Phase::Draining {
                signal: Signal::TERM,
                since: at(now),
                deadline: timeout.map(|timeout| at(now) + timeout),
            },
            (Phase::Draining { .. }, Input::Signal) => stopped(DrainOutcome::Forced(Signal::TERM)),
            (Phase::Draining { .. }, Input::Finish) => stopped(DrainOutcome::Finished),
            (Phase::Draining { deadline: Some(deadline), .. }, Input::Expire(time))
                if at(now + time) >= deadline =>
            {
                stopped(DrainOutcome::DeadlinePassed)
            }
            (unchanged, _) => unchanged,
        }
    }

    /// Every sequence of five inputs, with and without a timeout.
    #[test]
    fn each_input_leads_to_its_phase_and_returns_it_if_it_is_another() {
        for timeout in [None, Some(Duration::from_secs(10))] {
            for code in 0..INPUTS.len().pow(5) {
                let mut drain = Drain::new(timeout);
                assert_eq!(drain.phase(), Phase::Running);
                for place in 0..5 {
                    let before = drain.phase();
                    let input = INPUTS[code / INPUTS.len().pow(place) % INPUTS.len()];
                    let returned = feed(&mut drain, input, u64::from(place));
                    let after = expected(before, input, u64::from(place), timeout);
                    assert_eq!(drain.phase(), after, "{before:?} {input:?}");
                    assert_eq!(returned, (after != before).then_some(after));
                    let deadline = match after {
                        Phase::Draining { deadline, .. } => deadline,
                        _ => None,
                    };
                    assert_eq!(drain.deadline(), deadline);
                }
            }
        }
    }

    #[test]
    fn the_deadline_is_reached_at_its_time_and_not_before() {
        let mut drain = Drain::new(Some(Duration::from_secs(10)));
        drain.on_signal(Signal::TERM, at(100));
        let before = at(110) - Duration::from_nanos(1);
        assert_eq!(drain.expire(before), None);
        let outcome = DrainOutcome::DeadlinePassed;
        assert_eq!(drain.expire(at(110)), Some(Phase::Stopped { outcome }));
        assert_eq!(drain.expire(at(111)), None);
    }

    #[test]
    fn the_second_signal_is_the_one_that_is_named() {
        let mut drain = Drain::new(None);
        drain.on_signal(Signal::TERM, at(0));
        let outcome = DrainOutcome::Forced(Signal::INT);
        assert_eq!(drain.on_signal(Signal::INT, at(0)), Some(Phase::Stopped { outcome }));
        assert_eq!(drain.on_signal(Signal::TERM, at(0)), None);
    }

    #[test]
    fn a_deadline_beyond_the_end_of_time_is_none() {
        let mut drain = Drain::new(Some(Duration::MAX));
        drain.on_signal(Signal::TERM, at(1));
        assert_eq!(drain.deadline(), None);
        assert_eq!(drain.expire(Timestamp::MAX), None);
    }
}
