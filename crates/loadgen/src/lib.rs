//! `epoll-load`: a client that loads an echo server, checks every byte that comes back, and measures
//! how long answers take. It shares no code with a server beyond `epoll-sys`.
//!
//! A closed loop sends the next message when an answer has come. An open loop sends at a rate of its
//! own, and counts a latency from the time when the request was due: a server that stands still for a
//! while cannot hide by keeping requests from being sent.
//!
//! Not here: protocols other than echo, TLS, more than one server at a time.

#![forbid(unsafe_code)]

pub mod cli;
pub mod json;
pub mod pattern;

mod address;
mod echo_check;
mod failure;
mod pacing;
mod plan;
mod report;
mod run;
mod stats;

mod connection;
mod connector;
mod interrupt;
mod limits;
mod process;
mod progress;
mod worker;

pub use address::Target;
pub use echo_check::{EchoCheck, Mismatch};
pub use epoll_sys::socket::Address;
pub use failure::Failure;
pub use pacing::{Pacer, Share, Until};
pub use pattern::Pattern;
pub use plan::{Loop, Plan};
pub use process::Used;
pub use report::Report;
pub use run::{Outcome, Progress, Server, run};
pub use stats::Stats;
