//! Many timeouts behind one `timerfd`: a hierarchical timer wheel in which inserting, cancelling and
//! re-scheduling are O(1), and a descriptor that any event loop can watch.
//!
//! - [`Wheel`] is pure: it takes the time as an argument and returns expired timers. A timer never fires early,
//!   and at most one tick late.
//! - [`Timers`] puts a wheel behind a timerfd. The timerfd is set only when the earliest deadline becomes
//!   earlier, or after it fired: there is no system call for each turn of a loop, and none for a timeout that
//!   is postponed.
//! - [`Fired`] timers are handed out one by one; nothing is borrowed meanwhile.
//! - A [`Key`] never names another timer, of the same wheel or of another one, unless it was made from
//!   the [`CompactKey`] of another wheel.
//!
//! Not here: an event loop, callbacks per timer, threads, a clock for tests (a [`Wheel`] takes the time as an
//! argument and needs none).

mod timers;
mod wheel;

mod error;
mod fired;
mod key;
mod levels;
mod lists;
mod nodes;
mod place;
mod ticks;

pub use error::TickError;
pub use fired::Fired;
pub use key::{CompactKey, Key};
pub use timers::{TICK, Timers};
pub use wheel::{STEPS_MAX, Wheel};

pub use epoll_sys;
pub use epoll_sys::{Boottime, Clock, ClockTime, Monotonic, Realtime, Timestamp};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
