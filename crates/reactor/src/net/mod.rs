//! Listeners, streams and datagram sockets for a reactor.
//!
//! An [`Address`] names an internet address or a UNIX socket, and a [`ListenAddress`] those of this machine to
//! listen at. A [`Listener`] accepts at one, in small batches, and pauses by itself while nothing can be accepted.
//! A [`Stream`] is a connection, a [`Datagram`] a socket without one; both are non-blocking and quiet about
//! `SIGPIPE`.

mod conversion;
mod datagram;
mod listen_address;
mod listener;
mod options;
mod pausing;
mod peer;
mod stream;
mod unix_path;
mod verdict;

pub use conversion::ConversionError;
pub use datagram::Datagram;
pub use listen_address::{ListenAddress, ListenAddressError};
pub use listener::{AcceptBatch, AcceptCounters, Accepted, BatchEnd, Closing, Listener};
pub use options::{
    ConnectOptions, DatagramOptions, ListenOptions, PathOwner, PausedBy, StreamOptions,
};
pub use peer::Peer;
pub use stream::Stream;
pub use unix_path::PathRemoval;

pub use epoll_sys::socket::{
    Address, AddressParseError, Keepalive, Received, ReceivedDatagram, RecvBatch, SendBatch,
    UnixAddress,
};

use crate::Source;

impl Source for Stream {
    #[inline]
    fn is_nonblocking(&self) -> bool {
        true
    }

    #[inline]
    fn is_unshared(&self) -> bool {
        true
    }
}

impl Source for Datagram {
    #[inline]
    fn is_nonblocking(&self) -> bool {
        true
    }

    #[inline]
    fn is_unshared(&self) -> bool {
        true
    }
}
