//! Listeners and streams for a reactor: what every server needs on top of the loop.
//!
//! An [`Address`] names an internet address or the path of a UNIX socket. A [`Listener`] accepts at
//! one, in small batches, and keeps calm when the process runs out of descriptors. A [`Stream`] is
//! a connection, non-blocking and quiet about `SIGPIPE`.

mod address;
mod listener;
mod stream;
mod unix_path;

pub use address::{Address, AddressParseError};
pub use listener::{AcceptBatch, AcceptCounters, Accepted, ListenOptions, Listener};
pub use stream::{Peer, Stream};
