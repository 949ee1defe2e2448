//! What the peers share: their flags, their listeners, and a place for the bytes that a socket did
//! not take.
//!
//! Each peer is the echo server that an experienced user of its crate would write: one buffer a
//! thread where the crate allows that, nothing allocated for a message, and what cannot be sent is
//! kept until it can, while nothing more is read.

pub mod foreign;

mod flags;
mod listening;
mod unsent;

pub use flags::{Options, OwnFlags, Threading, run, run_with};
pub use listening::{accept, is_passing};
pub use unsent::Unsent;

/// How many bytes one read can bring.
pub const BUFFER_LEN: usize = 64 * 1024;

/// How many events one wait can bring, where a crate lets its user choose.
pub const EVENTS_MAX: usize = 256;
