//! A timer that has fired, handed out to its owner.

use crate::Key;
use epoll_sys::{ClockTime, Monotonic};

/// A timer that has fired. The timer has ended, and its value is the caller's.
///
/// [`Wheel::restart`](crate::Wheel::restart) and [`Timers::restart`](crate::Timers::restart) put it
/// back.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a timer that fired is gone unless it is restarted"]
pub struct Fired<V, C = Monotonic> {
    /// The key that named the timer.
    pub key: Key,
    /// The time at which the timer was to fire.
    pub deadline: ClockTime<C>,
    /// The value that it was inserted with.
    pub value: V,
}
