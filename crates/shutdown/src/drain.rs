//! The drain as a state machine. Pure: no clock and no system call; signals and times come in.
//!
//! Running, until the first signal; draining, until everything has finished, the deadline has come,
//! or a second signal; stopped, for good.

use epoll_sys::{Signal, Timestamp};
use std::time::Duration;

/// Where a program is between running and stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been asked of it.
    Running,
    /// It takes nothing new and finishes what it has.
    Draining {
        /// The signal that began it.
        signal: Signal,
        /// When it began.
        since: Timestamp,
        /// When what has not finished is cut; `None`: it may take for ever.
        deadline: Option<Timestamp>,
    },
    /// It is over.
    Stopped {
        /// How it came to an end.
        end: End,
    },
}

/// How a drain came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything finished.
    Finished,
    /// The deadline came first.
    DeadlinePassed,
    /// This signal came while it was draining.
    Forced(Signal),
}

/// A graceful shutdown, from the first signal to the end.
///
/// Times are those of whatever clock its owner reads.
///
/// ```
/// use epoll_shutdown::{Drain, End, Phase, Signal, Timestamp};
/// use std::time::Duration;
///
/// let at = |seconds| Timestamp::after_epoch(Duration::from_secs(seconds));
/// let mut drain = Drain::new(Some(Duration::from_secs(10)));
/// drain.signal(Signal::TERM, at(100));
/// assert_eq!(drain.deadline(), Some(at(110)));
///
/// drain.pass(at(109));
/// assert!(matches!(drain.phase(), Phase::Draining { .. }));
/// drain.pass(at(110));
/// assert_eq!(drain.phase(), Phase::Stopped { end: End::DeadlinePassed });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    phase: Phase,
    timeout: Option<Duration>,
}

impl Drain {
    /// Running; once it drains, it may take `timeout`, or for ever.
    #[must_use]
    pub fn new(timeout: Option<Duration>) -> Self {
        Self { phase: Phase::Running, timeout }
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When what has not finished is cut, while it drains. A deadline beyond the end of time is
    /// none.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Draining { deadline, .. } => deadline,
            Phase::Running | Phase::Stopped { .. } => None,
        }
    }

    /// A signal has come that asks for the end: the first begins the drain, the second stops it.
    /// The answer is the phase that it led to, if it led to another one.
    pub fn signal(&mut self, signal: Signal, now: Timestamp) -> Option<Phase> {
        match self.phase {
            Phase::Running => {
                let deadline = self.timeout.and_then(|timeout| now.checked_add(timeout));
                self.enter(Phase::Draining { signal, since: now, deadline })
            }
            Phase::Draining { .. } => self.stop(End::Forced(signal)),
            Phase::Stopped { .. } => None,
        }
    }

    /// Time has passed: stops the drain if its deadline has come.
    pub fn pass(&mut self, now: Timestamp) -> Option<Phase> {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.stop(End::DeadlinePassed)
        } else {
            None
        }
    }

    /// Everything has finished: stops the drain. While running it changes nothing.
    pub fn finish(&mut self) -> Option<Phase> {
        match self.phase {
            Phase::Draining { .. } => self.stop(End::Finished),
            Phase::Running | Phase::Stopped { .. } => None,
        }
    }

    fn stop(&mut self, end: End) -> Option<Phase> {
        self.enter(Phase::Stopped { end })
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
        Pass(u64),
        Finish,
    }

    const INPUTS: [Input; 4] = [Input::Signal, Input::Pass(5), Input::Pass(500), Input::Finish];

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_epoch(Duration::from_secs(seconds))
    }

    fn feed(drain: &mut Drain, input: Input, now: u64) -> Option<Phase> {
        match input {
            Input::Signal => drain.signal(Signal::TERM, at(now)),
            Input::Pass(time) => drain.pass(at(now + time)),
            Input::Finish => drain.finish(),
        }
    }

    fn rank(phase: Phase) -> u8 {
        match phase {
            Phase::Running => 0,
            Phase::Draining { .. } => 1,
            Phase::Stopped { .. } => 2,
        }
    }

    /// Every sequence of five inputs, with and without a timeout.
    #[test]
    fn the_phase_only_ever_moves_on_and_each_move_is_told() {
        for timeout in [None, Some(Duration::from_secs(10))] {
            for code in 0..INPUTS.len().pow(5) {
                let mut drain = Drain::new(timeout);
                let mut signals = 0;
                for place in 0..5 {
                    let before = drain.phase();
                    let input = INPUTS[code / INPUTS.len().pow(place) % INPUTS.len()];
                    let told = feed(&mut drain, input, u64::from(place));
                    signals += u32::from(matches!(input, Input::Signal));
                    let after = drain.phase();
                    assert!(rank(after) >= rank(before));
                    assert_eq!(told, (after != before).then_some(after));
                    assert!(signals > 0 || after == Phase::Running, "nothing begins by itself");
                    assert!(signals < 2 || rank(after) == 2, "a second signal stops");
                    let early = matches!(after, Phase::Stopped { end: End::DeadlinePassed });
                    assert!(!early || timeout.is_some(), "without a timeout no deadline passes");
                }
            }
        }
    }

    #[test]
    fn the_second_signal_is_the_one_that_is_told() {
        let mut drain = Drain::new(None);
        drain.signal(Signal::TERM, at(0));
        let end = End::Forced(Signal::INT);
        assert_eq!(drain.signal(Signal::INT, at(0)), Some(Phase::Stopped { end }));
        assert_eq!(drain.signal(Signal::TERM, at(0)), None);
    }

    #[test]
    fn a_deadline_beyond_the_end_of_time_is_none() {
        let mut drain = Drain::new(Some(Duration::MAX));
        drain.signal(Signal::TERM, at(1));
        assert_eq!(drain.deadline(), None);
        assert_eq!(drain.pass(Timestamp::MAX), None);
    }
}
