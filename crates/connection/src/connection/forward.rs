//! The bytes that a connection forwards to another one, and the progress of the step that moves them.

#[cfg(doc)]
use crate::{Connection, Step};
use epoll_reactor::{Readiness, Token};
use std::ops::Range;

/// The bytes that a step has moved so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) read: usize,
    pub(super) written: usize,
    /// The length of the last read.
    pub(super) last_read: usize,
    /// The number of rounds.
    pub(super) rounds: usize,
}

/// Bytes that a connection forwards to another one, see [`Step::Forward`].
///
/// While it is taken the thread lacks its read buffer: no connection may make a step before
/// [`forwarded`](Connection::forwarded) has brought it back.
#[derive(Debug)]
pub struct Forward {
    pub(super) from: Token,
    pub(super) to: Token,
    pub(super) buffer: Box<[u8]>,
    pub(super) range: Range<usize>,
    /// The buffer is the thread's.
    pub(super) is_borrowed: bool,
    /// The number of bytes in the owner's pipe. If it is not zero, `range` is empty.
    pub(super) piped: usize,
    pub(super) is_waiting: bool,
    /// The readiness and the progress of the sender's step, which goes on afterwards.
    pub(super) readiness: Readiness,
    pub(super) progress: Progress,
}

impl Forward {
    /// Returns the connection that the bytes come from.
    #[must_use]
    pub fn from(&self) -> Token {
        self.from
    }

    /// Returns the connection that the bytes are for.
    #[must_use]
    pub fn to(&self) -> Token {
        self.to
    }

    /// Returns the bytes, or none if they are in the owner's [pipe](Connection::splice).
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }

    /// Returns the readiness of the sender's step.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// Returns bytes as the connection `from` would forward them: for tests of the receiver.
    #[cfg(feature = "test-kit")]
    #[must_use]
    pub fn of(from: Token, to: Token, bytes: &[u8]) -> Self {
        Self { from, to, buffer: bytes.into(), range: 0..bytes.len(), ..Self::piped(from, to, 0) }
    }

    /// Returns `len` bytes that are in the owner's pipe.
    pub(crate) fn piped(from: Token, to: Token, len: usize) -> Self {
        Self {
            from,
            to,
            buffer: Box::default(),
            range: 0..0,
            is_borrowed: false,
            piped: len,
            is_waiting: false,
            readiness: Readiness::empty(),
            progress: Progress::default(),
        }
    }

    /// Returns whether a part of the bytes waits in the receiver.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Notes that a part of the bytes waits in the receiver, which asks for
    /// [`resume_forwarding`](Connection::resume_forwarding) when it has sent it.
    pub fn set_waiting(&mut self) {
        self.is_waiting = true;
    }
}
