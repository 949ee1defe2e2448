//! The next timeout of a connection, as a function of its state and of the drain.

use crate::Timeouts;
use crate::drain::Draining;
use crate::stats::Closed;
use epoll_connection::Awaits;
use epoll_timers::Timestamp;
use std::time::Duration;

/// The time for which a connection must be quiet before each of the two checks that prove that it has finished,
/// while the service drains. Bytes that were on their way when the drain began arrive well within it.
const QUIET_PERIOD: Duration = Duration::from_millis(100);

/// The number of looks at the send queue within a write timeout.
const WRITE_TIMEOUT_CHECKS: u32 = 8;

/// The state that the timeouts of a connection depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) awaits: Awaits,
    /// No more input will be received.
    pub(crate) is_finishing: bool,
    /// The time at which a byte last moved, or the connection began to linger.
    pub(crate) last_activity: Timestamp,
    /// The deadline of the protocol.
    pub(crate) protocol: Option<Timestamp>,
}

/// The finding of a look at a connection. The socket is writable again only when much of its buffer is free,
/// so a peer that takes little is told from one that takes nothing by looking at its send queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    /// The send queue of a peer that has yet to take what was sent.
    SendQueue {
        /// The time at which the queue was last seen to be shorter than before.
        shrank_at: Timestamp,
        looked_at: Timestamp,
        /// The number of bytes that the peer had not taken by then.
        bytes: u64,
    },
    /// The activity of a connection that may have finished.
    Quiet {
        /// The time at which a byte had last moved.
        last_activity: Timestamp,
        looked_at: Timestamp,
    },
}

/// The action that a deadline asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// See whether the peer has taken something.
    CheckProgress,
    /// Tell the protocol.
    Protocol,
    /// Close it, for this reason.
    Close(Closed),
    /// The connection may be finished: if it is, receive what has arrived and end.
    FinishGracefully,
    /// The connection has been busy for long enough: end.
    StopReading,
}

/// Returns what is due next, and when.
pub(crate) fn next(
    times: Times,
    timeouts: &Timeouts,
    draining: Option<Draining>,
    sample: Option<Sample>,
) -> Option<(Timestamp, Deadline)> {
    let close = closing(times, timeouts, sample);
    if times.is_finishing {
        return close;
    }
    let protocol = times.protocol.map(|time| (time, Deadline::Protocol));
    let next = earlier(protocol, close);
    let Some(draining) = draining else { return next };
    let [end, finish] = ending(times, draining, sample);
    earlier(earlier(next, end), finish)
}

/// Returns the one that is due first; the first one if both are.
fn earlier<T>(
    one: Option<(Timestamp, T)>,
    other: Option<(Timestamp, T)>,
) -> Option<(Timestamp, T)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Returns the timeout that goes with what is awaited. A time beyond the end of the clock never comes.
fn closing(
    times: Times,
    timeouts: &Timeouts,
    sample: Option<Sample>,
) -> Option<(Timestamp, Deadline)> {
    let since = times.last_activity;
    let after = |limit: Option<Duration>, what| Some((since.checked_add(limit?)?, what));
    match times.awaits {
        Awaits::Connect => after(timeouts.connect, Deadline::Close(Closed::ConnectTimedOut)),
        Awaits::Input => after(timeouts.idle, Deadline::Close(Closed::Idle)),
        // The one that it waits for has a timeout.
        Awaits::Receiver => None,
        // Its pause ends in any case.
        Awaits::Allowance => None,
        Awaits::Close => {
            // A peer that is still taking what was sent before our end has not come to it.
            let looked_at = match sample {
                Some(Sample::SendQueue { looked_at, .. }) => looked_at.max(since),
                _ => since,
            };
            let end = looked_at.checked_add(timeouts.linger?)?;
            Some((end, Deadline::Close(Closed::LingeredOut)))
        }
        Awaits::Room => match sample {
            Some(Sample::SendQueue { shrank_at, looked_at, .. }) if shrank_at > since => {
                let limit = timeouts.write?;
                let next = looked_at + limit / WRITE_TIMEOUT_CHECKS;
                Some((next.min(shrank_at + limit), Deadline::CheckProgress))
            }
            _ => {
                let limit = timeouts.write.map(|limit| limit / WRITE_TIMEOUT_CHECKS);
                after(limit, Deadline::CheckProgress)
            }
        },
    }
}

/// Returns the deadlines that the drain gives a connection.
fn ending(
    times: Times,
    draining: Draining,
    sample: Option<Sample>,
) -> [Option<(Timestamp, Deadline)>; 2] {
    // What is being established has nothing to finish.
    let stop = match times.awaits {
        Awaits::Connect => Deadline::Close(Closed::ConnectTimedOut),
        _ => Deadline::StopReading,
    };
    let end = draining.half_time.map(|time| (time, stop));
    // One that waits for room is not quiet: its peer has yet to read.
    let is_reading = times.awaits == Awaits::Input;
    let looked_at = match sample {
        Some(Sample::Quiet { last_activity, looked_at })
            if last_activity == times.last_activity =>
        {
            looked_at
        }
        _ => times.last_activity,
    };
    let begin = times.last_activity.max(draining.since).max(looked_at);
    let finish = is_reading.then(|| (begin + QUIET_PERIOD, Deadline::FinishGracefully));
    [end, finish]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMEOUTS: Timeouts = Timeouts {
        connect: Some(Duration::from_secs(1)),
        idle: Some(Duration::from_secs(60)),
        write: Some(Duration::from_secs(8)),
        drain: None,
        linger: Some(Duration::from_secs(2)),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_epoch(Duration::from_secs(seconds))
    }

    /// A connection whose last byte moved at 100 seconds.
    fn times(awaits: Awaits) -> Times {
        let is_finishing = awaits == Awaits::Close;
        Times { awaits, is_finishing, last_activity: at(100), protocol: None }
    }

    #[test]
    fn the_timeout_goes_with_what_is_awaited() {
        for (awaits, deadline) in [
            (Awaits::Connect, (at(101), Deadline::Close(Closed::ConnectTimedOut))),
            (Awaits::Input, (at(160), Deadline::Close(Closed::Idle))),
            (Awaits::Room, (at(101), Deadline::CheckProgress)),
            (Awaits::Close, (at(102), Deadline::Close(Closed::LingeredOut))),
        ] {
            assert_eq!(next(times(awaits), &TIMEOUTS, None, None), Some(deadline));
        }
    }

    #[test]
    fn without_a_timeout_nothing_is_due() {
        // The one that takes its bytes has a timeout.
        assert_eq!(next(times(Awaits::Receiver), &TIMEOUTS, None, None), None);
        // The end of its pause is a deadline of the connection.
        assert_eq!(next(times(Awaits::Allowance), &TIMEOUTS, None, None), None);
        let none = Timeouts { connect: None, idle: None, write: None, drain: None, linger: None };
        for awaits in [Awaits::Connect, Awaits::Input, Awaits::Room, Awaits::Close] {
            assert_eq!(next(times(awaits), &none, None, None), None, "{awaits:?}");
        }
        let endless = Timeouts { idle: Some(Duration::MAX), ..none };
        assert_eq!(next(times(Awaits::Input), &endless, None, None), None);
    }

    #[test]
    fn the_protocols_deadline_counts_until_it_has_finished() {
        let with_deadline = |awaits, time| Times { protocol: Some(at(time)), ..times(awaits) };
        for awaits in [Awaits::Input, Awaits::Room] {
            let due = next(with_deadline(awaits, 100), &TIMEOUTS, None, None);
            assert_eq!(due, Some((at(100), Deadline::Protocol)), "{awaits:?}");
        }
        let later = next(with_deadline(Awaits::Input, 161), &TIMEOUTS, None, None);
        assert_eq!(later, Some((at(160), Deadline::Close(Closed::Idle))));
        let finishing = next(with_deadline(Awaits::Close, 100), &TIMEOUTS, None, None);
        assert_eq!(finishing, Some((at(102), Deadline::Close(Closed::LingeredOut))));
    }

    #[test]
    fn a_peer_that_takes_something_gets_the_write_timeout_again() {
        let sample = |shrank_at, looked_at| Sample::SendQueue {
            shrank_at: at(shrank_at),
            looked_at: at(looked_at),
            bytes: 1,
        };
        let due = |sample| next(times(Awaits::Room), &TIMEOUTS, None, Some(sample));
        assert_eq!(due(sample(101, 101)), Some((at(102), Deadline::CheckProgress)));
        // The last look is at the end of the timeout, however the looks fall.
        assert_eq!(due(sample(101, 108)), Some((at(109), Deadline::CheckProgress)));
        assert_eq!(due(sample(103, 110)), Some((at(111), Deadline::CheckProgress)));
        // A byte has moved since that look.
        assert_eq!(due(sample(100, 100)), Some((at(101), Deadline::CheckProgress)));
    }

    #[test]
    fn a_peer_that_still_takes_what_was_sent_lingers_on() {
        let looked = |looked_at| Sample::SendQueue {
            shrank_at: at(looked_at),
            looked_at: at(looked_at),
            bytes: 1,
        };
        let due = |sample| next(times(Awaits::Close), &TIMEOUTS, None, Some(sample));
        assert_eq!(due(looked(105)), Some((at(107), Deadline::Close(Closed::LingeredOut))));
        // A look from before it lingered.
        assert_eq!(due(looked(90)), Some((at(102), Deadline::Close(Closed::LingeredOut))));
    }

    #[test]
    fn while_it_drains_a_quiet_connection_is_looked_at_and_a_busy_one_is_ended_at_half_time() {
        let draining = Some(Draining { since: at(110), half_time: Some(at(115)) });
        let due = |times, sample| next(times, &TIMEOUTS, draining, sample);
        let first_look = at(110) + QUIET_PERIOD;
        let finish = |time| Some((time, Deadline::FinishGracefully));
        assert_eq!(due(times(Awaits::Input), None), finish(first_look));
        let quiet = |activity, looked_at| {
            Some(Sample::Quiet { last_activity: at(activity), looked_at: at(looked_at) })
        };
        assert_eq!(due(times(Awaits::Input), quiet(100, 112)), finish(at(112) + QUIET_PERIOD));
        // A byte has moved since that look.
        assert_eq!(due(times(Awaits::Input), quiet(99, 112)), finish(first_look));
        let busy = Times { last_activity: at(114) + SECOND, ..times(Awaits::Input) };
        assert_eq!(due(busy, None), Some((at(115), Deadline::StopReading)));
        // One that waits for room is not quiet.
        let write = Some((at(101), Deadline::CheckProgress));
        assert_eq!(due(times(Awaits::Room), None), write);
        // So it is with one whose bytes wait in another connection.
        let stop = Some((at(115), Deadline::StopReading));
        assert_eq!(due(times(Awaits::Receiver), None), stop);
        // What one may not receive yet is not received when it is quiet.
        assert_eq!(due(times(Awaits::Allowance), None), stop);
        // One that is not established by then will not be.
        let close = Deadline::Close(Closed::ConnectTimedOut);
        let unhurried = Timeouts { connect: None, ..TIMEOUTS };
        let connect = next(times(Awaits::Connect), &unhurried, draining, None);
        assert_eq!(connect, Some((at(115), close)));
        // One that is finishing already is left alone.
        let linger = Some((at(102), Deadline::Close(Closed::LingeredOut)));
        assert_eq!(due(times(Awaits::Close), None), linger);
    }
}
