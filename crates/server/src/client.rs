//! One connection as the server holds it: the conversation and who it is with.

use epoll_echo::Connection;
use epoll_reactor::Source;
use epoll_reactor::net::{Peer, Stream};
use std::os::fd::{AsFd, BorrowedFd};

/// What the reactor owns for each connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection<Stream>,
    pub(crate) peer: Peer,
}

impl AsFd for Client {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl Source for Client {
    const NONBLOCKING: bool = Connection::<Stream>::NONBLOCKING;
    const UNSHARED: bool = Connection::<Stream>::UNSHARED;
}
