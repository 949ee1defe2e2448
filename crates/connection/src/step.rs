//! The answers of a connection to its owner.

use std::io;

/// The outcome of a step.
///
/// The owner watches a connection for its [interest](crate::Connection::interest), and keeps a timeout
/// for what it [awaits](crate::Connection::awaits). Both are states of the connection: after every answer
/// but [`Wait`](Self::Wait) the owner compares them with what is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing has changed for the owner: call again at the next event.
    Wait,
    /// The interest, what is awaited, or the deadline has changed.
    Changed,
    /// Call again after the others, with the same readiness and `IN`: there is more to do.
    Yield,
    /// Call [`splice`](crate::Connection::splice): the peer sends so much that a splice is cheaper than a
    /// read. Answered only if the limits allow it and the protocol passes or forwards everything.
    Splice,
    /// Take the bytes to forward from the [thread](crate::ThreadState::take_forward), give them to the
    /// [receiver](crate::Connection::receive_forward), [drop](crate::Forward::drop_piped) what is left of them
    /// in the pipe, and call [`forwarded`](crate::Connection::forwarded). Make no other step with the thread
    /// before that.
    Forward,
    /// The connection is over; [`on_close`](crate::Protocol::on_close) was called. Drop it.
    Done(CloseReason),
}

/// The reason for which a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended it, and was sent everything.
    PeerClosed,
    /// The protocol ended it, and the peer was sent everything.
    Finished,
    /// The owner ended it, see [`Connection::finish`](crate::Connection::finish), and the peer was sent
    /// everything.
    Drained,
    /// The protocol dropped it.
    Aborted,
    /// A message is longer than may be kept.
    InputTooLong,
    /// The protocol broke the rules of [`Protocol`](crate::Protocol).
    Misuse(Misuse),
    /// The outgoing connection could not be established; `on_open` was never called.
    ConnectFailed(io::ErrorKind),
    /// A read or a write failed, for example because the peer reset the connection.
    Failed(io::ErrorKind),
    /// The owner closed it: a timeout, a limit, the end of the drain.
    ClosedByOwner,
}

/// A rule that a protocol broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misuse {
    /// It consumed, or passed on, more bytes than it was shown.
    ConsumedTooMuch,
    /// It wrote after it had ended its output.
    WroteAfterEnd,
}

/// The event that a connection waits for, and so the owner's timeout that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// The outcome of connecting.
    Connect,
    /// Input from the peer, or whatever ends a pause.
    Input,
    /// Room for output: the peer has to take what was sent.
    Room,
    /// Room in the connection that bytes are forwarded to.
    Receiver,
    /// The time at which it may receive more, see [`Limits::bytes_per_s_max`](crate::Limits::bytes_per_s_max).
    Allowance,
    /// The peer's half to close, as ours is closed.
    Close,
}
