//! `epoll-load`: a client that puts load on a server of echo, over TCP or UDP, RESP or HTTP, checks every byte
//! that comes back, and measures latencies. It shares no code with a server beyond `epoll-sys`.
//!
//! In a closed loop, a connection sends its next message when it has received an answer. In an open loop,
//! messages are sent at a fixed rate, and a latency counts from the time at which the request was due: a
//! server that stalls cannot hide it by delaying requests. A lost connection is made again, and requests that
//! are due meanwhile fail. Figures that are about this program rather than the server are marked as invalid.
//!
//! Not included: other protocols, TLS around others than echo, more than one server at a time.

pub mod cli;
pub mod json;
pub mod pattern;

mod address;
mod echo_check;
mod exchange;
mod failure;
mod pacing;
mod plan;
mod report;
mod run;
mod series;
mod stats;
mod thresholds;
mod validity;

mod connection;
mod connector;
mod hdr_log;
mod interrupt;
mod limits;
mod process;
mod progress;
mod sources;
mod threads;
mod worker;

pub use address::Target;
pub use echo_check::{EchoCheck, Mismatch};
pub use epoll_sys::socket::Address;
pub use failure::Failure;
pub use pacing::{Pacer, Share, Until};
pub use pattern::Pattern;
pub use plan::{Loop, Plan, Protocol};
pub use process::Used;
pub use report::Report;
pub use run::{Outcome, Server, run};
pub use series::{Interval, Row};
pub use stats::{DatagramCounts, OwnDelays, Resource, Stats};
pub use threads::{Progress, Update};
pub use thresholds::Thresholds;
pub use validity::invalid_because;
