//! Graceful shutdown for any event loop on Linux: signals that are read from a descriptor, and the
//! drain that follows the first of them.
//!
//! - [`Signals`] blocks signals before the first thread starts, refuses where another thread would
//!   still get them, and reports them through a signalfd. [`Signals::restore_in`] gives a child the mask
//!   from before.
//! - [`Drain`] is the state machine: running, draining until a deadline, stopped. Pure: signals and
//!   times come in.
//! - [`Notice`] tells other threads of the phase, and wakes them when it changes.
//!
//! Not here: an event loop, handlers that run in a signal's context, real-time signals.
//!
//! # Examples
//!
//! ```
//! use epoll_shutdown::{Drain, End, Phase, Signal, Signals, Timestamp};
//! use epoll_sys::{Epoll, Events, Interest, Watch};
//! use std::time::Duration;
//!
//! # fn connections() -> usize { 0 }
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // First of all, while there is one thread.
//!     let signals = Signals::block([Signal::TERM, Signal::INT])?;
//!
//!     let epoll = Epoll::new()?;
//!     epoll.add(&signals, 0, Watch::level(Interest::IN))?;
//!     let mut drain = Drain::new(Some(Duration::from_secs(10)));
//! #   rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?;
//!     while !matches!(drain.phase(), Phase::Stopped { .. }) {
//!         epoll.wait(&mut Events::with_capacity(16), None)?;
//!         while let Some(info) = signals.read()? {
//!             drain.signal(info.signal, Timestamp::now());
//!         }
//!         if connections() == 0 {
//!             drain.finish();
//!         }
//!     }
//!     assert_eq!(drain.phase(), Phase::Stopped { end: End::Finished });
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

mod drain;
mod notice;
mod signals;

pub use drain::{Drain, End, Phase};
pub use notice::{Notice, State};
pub use signals::{BlockError, Signals};

pub use epoll_sys::{Signal, SignalInfo, Timestamp};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
