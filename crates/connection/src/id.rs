//! The name of a connection, by which others send it messages.

use epoll_reactor::Token;

/// The name of a connection in any thread. It is never used again; a message to a connection that is gone is
/// dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    thread: u32,
    token: Token,
}

impl ConnectionId {
    /// Names the connection that a thread knows by `token`.
    #[must_use]
    pub const fn new(thread: u32, token: Token) -> Self {
        Self { thread, token }
    }

    /// Returns the number of the thread whose callbacks the connection was named in.
    #[must_use]
    pub const fn thread(self) -> u32 {
        self.thread
    }

    /// Returns the name of the connection in its reactor.
    #[must_use]
    pub const fn token(self) -> Token {
        self.token
    }
}

/// A connection of the same thread, to forward bytes to, see [`Context::link`](crate::Context::link). It
/// is never used for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link(pub(crate) Token);
