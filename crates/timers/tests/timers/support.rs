//! Functions for all modules: wheels whose tick is a nanosecond, so that times are ticks, and passes
//! as lists of the timers that fired.

use epoll_timers::{Clock, ClockTime, Timestamp, Wheel};
use std::time::Duration;

pub(crate) const NANOSECOND: Duration = Duration::from_nanos(1);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Levels of a wheel: six of the 64 bits of a tick each.
pub(crate) const LEVELS: usize = 11;

/// More than any pass has to do here. A wheel that goes round in circles comes to its end.
pub(crate) const STEPS_MAX: usize = 1_000_000;

/// A wheel in which [`at`] says the tick.
pub(crate) fn wheel<V>() -> Wheel<V> {
    wheel_of(NANOSECOND)
}

/// A wheel that does a million steps a pass.
pub(crate) fn wheel_of<V>(tick: Duration) -> Wheel<V> {
    let mut wheel = Wheel::new(tick).unwrap();
    wheel.set_steps_max(STEPS_MAX);
    wheel
}

/// Returns the time at which a tick of [`wheel`] begins.
pub(crate) fn at<C>(tick: u64) -> ClockTime<C> {
    ClockTime::from_nanos(tick)
}

/// The values of the timers that fire in a pass, which has to be complete.
#[track_caller]
pub(crate) fn fired<V, C: Clock>(wheel: &mut Wheel<V, C>, now: ClockTime<C>) -> Vec<V> {
    let values = fired_at_most(wheel, now);
    assert!(is_complete(wheel, now), "not all within {} steps", wheel.steps_max());
    values
}

/// The values of the timers that fire in a pass, complete or not.
pub(crate) fn fired_at_most<V, C: Clock>(wheel: &mut Wheel<V, C>, now: ClockTime<C>) -> Vec<V> {
    std::iter::from_fn(|| wheel.next_due(now)).map(|fired| fired.value).collect()
}

/// Returns whether the last pass, at `now`, has left nothing to do.
pub(crate) fn is_complete<V, C: Clock>(wheel: &Wheel<V, C>, now: ClockTime<C>) -> bool {
    wheel.next_expiry().is_none_or(|next| next > now)
}

/// Lets time pass from one `next_expiry` to the next until something fires; gives the time of that
/// and how many passes came before, in which nothing did.
#[track_caller]
pub(crate) fn run_to_next<V>(wheel: &mut Wheel<V>) -> (Timestamp, usize) {
    for empty_passes in 0..100_000 {
        let now = wheel.next_expiry().expect("there is a timer");
        if !fired(wheel, now).is_empty() {
            return (now, empty_passes);
        }
    }
    panic!("nothing fires");
}
