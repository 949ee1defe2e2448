//! The words between a connection and its owner: the rules it goes by, what it answers to a step, what
//! it waits for, and how it ends.

use crate::QuitWord;
use epoll_reactor::Interest;
use std::io;
use std::num::NonZeroUsize;

/// What all connections of a service have in common.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The line that ends a conversation. It is echoed; what follows it is not.
    pub quit_word: Option<QuitWord>,
    /// How many bytes a connection may move in one step, or splice, before it gives way to the others.
    pub step_bytes_max: usize,
    /// How many bytes to move through a pipe at once where much is sent; bytes are never moved like
    /// that if `None`. See [`Step::Splice`]. A peer that has reset a TCP connection then raises
    /// `SIGPIPE`, which Rust's programs ignore unless they say otherwise.
    pub splice_bytes_max: Option<NonZeroUsize>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { quit_word: None, step_bytes_max: 256 * 1024, splice_bytes_max: None }
    }
}

/// What a connection answers to [`Connection::step`](crate::Connection::step).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again when the transport is ready for what it is watched for already.
    Wait,
    /// Watch the transport for this from now on, and call again when it is ready.
    Watch(Interest),
    /// Call again after the others, with the same readiness and `IN`: the transport is not dry.
    Yield,
    /// Call [`splice`](crate::Connection::splice): the peer sends so much that it pays not to bring it
    /// into the process. Answered only if the rules allow it and there is no quit word.
    Splice,
    /// Our half is closed, and the peer's may take its time. Watch the transport for
    /// [`FIRST_INTEREST`](crate::Connection::FIRST_INTEREST) from now on, and call again after the others,
    /// as for [`Yield`](Self::Yield).
    Linger,
    /// The conversation is over; drop the connection.
    Done(Reason),
}

/// Why a conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The peer closed its half, and got back everything that it had sent.
    PeerClosed,
    /// The peer said the quit word, got everything up to it, and closed its half too.
    Quit,
    /// The owner had it [finished](crate::Connection::finish) or [ended](crate::Connection::end); the peer got
    /// everything that was read, and closed its half too.
    Ended,
    /// A read or a write failed this way, for example because the peer reset the connection.
    Failed(io::ErrorKind),
}

/// What a connection waits for, and so which of an owner's timeouts applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// That the peer sends something.
    Data,
    /// That the peer takes what was sent to it.
    Room,
    /// That the peer closes its half, as we have closed ours.
    Close,
}
