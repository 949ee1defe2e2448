//! Graceful shutdown for Linux programs, with any event loop or none: signals that are read from a
//! descriptor, and the drain that begins with the first of them.
//!
//! - [`Signals`] blocks signals before the first thread starts. It refuses signals that another thread would
//!   still receive, and reports the others through a signalfd, which a loop watches or a thread waits for.
//!   [`Signals::restore_mask_in`] gives a child process the original signal mask.
//! - [`Drain`] is the state machine: running, draining until a deadline, stopped. It takes signals and times
//!   as arguments and makes no system call.
//! - [`DrainWatch`] shows the phase to other threads and wakes them when it changes. The drain is over when
//!   each [`Participant`] has finished.
//!
//! Not here: an event loop, handlers that run in a signal's context.
//!
//! # Examples
//!
//! With an event loop:
//!
//! ```
//! use epoll_shutdown::epoll_sys::{Epoll, Events, Interest, Watch};
//! use epoll_shutdown::{Drain, DrainOutcome, Phase, Signal, Signals, Timestamp};
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
//!     let mut events = Events::with_capacity(16);
//! #   Signal::TERM.queue(std::process::id(), 0)?;
//!     while !matches!(drain.phase(), Phase::Stopped { .. }) {
//!         let timeout = drain.deadline().map(|deadline| deadline - Timestamp::now());
//!         match epoll.wait(&mut events, timeout) {
//!             Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
//!             waited => waited?,
//!         };
//!         while let Some(info) = signals.read()? {
//!             drain.on_signal(info.signal, Timestamp::now());
//!         }
//!         drain.expire(Timestamp::now());
//!         if connections() == 0 {
//!             drain.finish();
//!         }
//!     }
//!     assert_eq!(drain.phase(), Phase::Stopped { outcome: DrainOutcome::Finished });
//!     Ok(())
//! }
//! ```
//!
//! With threads that block and no event loop. The main thread waits in one place for the signals,
//! for the deadline, and for the last worker, which sends a real-time signal:
//!
//! ```
//! use epoll_shutdown::{Drain, DrainOutcome, DrainWatch, Phase, Signal, Signals, Timestamp};
//! use std::time::Duration;
//!
//! # fn do_some_work() { std::thread::sleep(Duration::from_millis(1)); }
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let changed = Signal::real_time(0).ok_or("no real-time signals")?;
//!     let signals = Signals::block([Signal::TERM, Signal::INT, changed])?;
//!
//!     let watch = DrainWatch::new();
//!     watch.on_change(move || {
//!         // WouldBlock: so many are queued that the main thread is awake.
//!         let _ = changed.queue(std::process::id(), 0);
//!     });
//!     for participant in watch.participants(4) {
//!         std::thread::spawn(move || {
//!             while participant.watch().phase() == Phase::Running {
//!                 do_some_work();
//!             }
//!         });
//!     }
//!
//!     let mut drain = Drain::new(Some(Duration::from_secs(10)));
//! #   Signal::TERM.queue(std::process::id(), 0)?;
//!     while !matches!(drain.phase(), Phase::Stopped { .. }) {
//!         let timeout = drain.deadline().map(|deadline| deadline - Timestamp::now());
//!         match signals.wait(timeout)? {
//!             Some(info) if info.signal == changed => {}
//!             Some(info) => drop(drain.on_signal(info.signal, Timestamp::now())),
//!             None => drop(drain.expire(Timestamp::now())),
//!         }
//!         watch.set(drain.phase());
//!         if watch.unfinished() == 0 {
//!             drain.finish();
//!         }
//!     }
//!     assert_eq!(drain.phase(), Phase::Stopped { outcome: DrainOutcome::Finished });
//!     Ok(())
//! }
//! ```

mod drain;
mod signals;
mod watch;

pub use drain::{Drain, DrainOutcome, Phase};
pub use signals::{BlockError, Signals};
pub use watch::{DrainWatch, Participant};

pub use epoll_sys;
pub use epoll_sys::{Signal, SignalInfo, SignalSet, Timestamp};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
