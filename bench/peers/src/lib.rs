//! The parts that the peers share: their flags, their listeners, and a buffer for bytes that a socket
//! does not accept yet.
//!
//! Each peer is the echo server that an experienced user of its crate would write. It has one buffer for
//! each thread where the crate allows that, and allocates nothing for a message. Bytes that cannot be
//! sent are kept until they can, and meanwhile no more are read.

pub mod foreign;

mod flags;
mod listening;
mod unsent;

pub use flags::{Options, OwnFlags, Threading, run, run_with};
pub use listening::{accept, is_passing};
pub use unsent::Unsent;

/// The most bytes that one read returns.
pub const BUFFER_LEN: usize = 64 * 1024;

/// The most events that one wait returns, for crates that let their user choose.
pub const EVENTS_MAX: usize = 256;
