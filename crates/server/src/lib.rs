//! `epoll-server`: an echo server (RFC 862) composed of `epoll-reactor`, `epoll-echo`, `epoll-timers`
//! and `epoll-shutdown`. This crate is wiring: flags, listeners, limits, logs and statistics.
//!
//! # Examples
//!
//! A server on a free port, from its start to its end:
//!
//! ```
//! use epoll_server::{Config, DrainOutcome, Server, Signal, Signals};
//!
//! // First of all, while there is one thread.
//! let signals = Signals::block([Signal::TERM, Signal::INT])?;
//!
//! let config = Config { listen: vec!["127.0.0.1:0".parse()?], ..Config::default() };
//! let server = Server::bind(&config)?;
//! assert_ne!(server.addresses().next().unwrap().inet().unwrap().port(), 0);
//!
//! let ended = server.run(&signals, || {
//!     // What otherwise comes from outside.
//!     std::process::Command::new("sh").args(["-c", "kill $PPID"]).status().unwrap();
//! })?;
//! assert_eq!((ended.outcome, ended.cut), (DrainOutcome::Finished, 0));
//! # Ok::<(), anyhow::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod cli;

mod client;
mod clients;
mod common;
mod config;
mod connections;
mod limits;
mod listening;
mod log;
mod mode;
mod pool;
mod seats;
mod server;
mod signals;
mod stats;
mod threads;
mod worker;

pub use config::{Accept, Config, READ_BUFFER_LEN_MAX, THREADS_MAX, Timeouts};
pub use log::LogFormat;
pub use mode::Mode;
pub use server::{Ended, Server};

pub use epoll_shutdown::{DrainOutcome, Signal, Signals};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
