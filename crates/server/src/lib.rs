//! `epoll-server`: an echo server (RFC 862) composed of `epoll-reactor`, `epoll-echo`, `epoll-timers`
//! and `epoll-shutdown`. This crate is wiring: flags, listeners, limits, logs and statistics.
//!
//! # Examples
//!
//! A server that listens on a free port, as the program's does; [`Server::run`] then serves:
//!
//! ```
//! use epoll_server::{Config, Server};
//!
//! let config = Config { listen: vec!["127.0.0.1:0".parse()?], ..Config::default() };
//! let server = Server::bind(&config)?;
//! assert_ne!(server.addresses().next().unwrap().inet().unwrap().port(), 0);
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
mod pool;
mod seats;
mod server;
mod stats;
mod threads;
mod worker;

pub use config::{Accept, Config, READ_BUFFER_LEN_MAX, THREADS_MAX, Timeouts};
pub use log::LogFormat;
pub use server::{Ended, Server};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
