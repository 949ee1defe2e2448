//! What the modules share: wheels whose tick is a nanosecond, so that times are ticks, and passes
//! as lists of what fired.

use epoll_timers::{Pass, Timestamp, Wheel};
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
    Wheel::new(NANOSECOND).unwrap()
}

/// When a tick of [`wheel`] begins.
pub(crate) fn at(tick: u64) -> Timestamp {
    Timestamp::from_nanos(tick)
}

/// The values of the timers that fire in a pass, which has to be complete.
#[track_caller]
pub(crate) fn fired<V: Copy>(wheel: &mut Wheel<V>, now: Timestamp) -> Vec<V> {
    let mut values = Vec::new();
    let pass = wheel.expire(now, STEPS_MAX, |wheel, key| {
        values.push(*wheel.get(key).unwrap());
        None
    });
    assert_eq!(pass, Pass { fired: values.len(), is_complete: true });
    values
}

/// Lets time pass from one `next_expiry` to the next until something fires; gives the time of that
/// and how many passes came before, in which nothing did.
#[track_caller]
pub(crate) fn run_to_next<V>(wheel: &mut Wheel<V>) -> (Timestamp, usize) {
    for empty_passes in 0..100_000 {
        let now = wheel.next_expiry().expect("there is a timer");
        let pass = wheel.expire(now, STEPS_MAX, |_, _| None);
        if pass.fired > 0 {
            return (now, empty_passes);
        }
    }
    panic!("nothing fires");
}
