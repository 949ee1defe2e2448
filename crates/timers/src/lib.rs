//! Many timeouts behind one `timerfd`: a hierarchical timer wheel in which inserting, cancelling and
//! re-scheduling are O(1), and a descriptor that any event loop can watch.
//!
//! - [`Wheel`] is pure: the time comes in as an argument, timers come out. It never fires early, and
//!   at most a tick late.
//! - [`Timers`] puts it behind a timerfd, which is set only when the earliest deadline becomes
//!   earlier, or after it fired: no system call for each turn of a loop, and none for a timeout that
//!   is put off.
//! - [`Fired`] timers are handed out one by one; nothing is borrowed meanwhile.
//! - A [`Key`] never names another timer than its own, of this wheel or of another one, unless it was made from
//!   the [`CompactKey`] of another wheel.
//!
//! Not here: an event loop, callbacks per timer, threads, clocks that a test can turn (a [`Wheel`]
//! needs none: it is given the time).

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
