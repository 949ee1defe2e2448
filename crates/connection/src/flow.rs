//! The answers of a protocol's callbacks.

use crate::Link;

/// The way in which a connection goes on after a callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Go on as before: a paused connection stays paused. The answer of a callback that is not about reading.
    #[default]
    Keep,
    /// Read. It ends a [`Pause`](Self::Pause): input that was kept is shown first, then what has
    /// arrived meanwhile.
    Read,
    /// Neither read nor show input until another callback, that of a message or a deadline, answers
    /// [`Read`](Self::Read). A pause that ends before more arrives costs no system call.
    ///
    /// A peer whose socket is gone (`HUP` is reported) ends the connection even during a pause, and what it sent
    /// is lost. If our half was closed before, what it sent is shown after the pause.
    Pause,
    /// Call [`on_written`](crate::Protocol::on_written) for more output as soon as everything is sent, and show no
    /// input before. So an answer of any length takes bounded memory. Both the bytes that are written and the calls
    /// count towards the budget of the step.
    Produce,
    /// Send what was written and the [last output](crate::Protocol::on_finish), close our half, and discard
    /// what arrives until the peer closes its own.
    Finish,
    /// Drop the connection, and what was written: a peer over TCP sees a reset, not an end.
    Abort,
}

/// The outcome of [`Protocol::on_input`](crate::Protocol::on_input): how many bytes were consumed and how
/// to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Consumed {
    /// The number of bytes, from the beginning of the input, that need not be shown again. The rest is kept and
    /// shown again: at once if this is not zero, otherwise when more has arrived.
    pub bytes: usize,
    /// The number of those bytes, from the beginning, that are output, after what was written. They are
    /// sent from where they are where possible.
    pub passed: usize,
    /// The connection that the passed bytes go to, if not back to the peer. If it has no room for all of
    /// them, nothing is read here until it has sent them. If it is gone, or about to end, they are dropped.
    pub to: Option<Link>,
    /// The length of the next message, if it is known: the input is not shown again before it is so
    /// long. Zero asks for any input. A message longer than the thread's buffer has to be asked for like
    /// this; [`Limits::input_max`](crate::Limits::input_max) bounds it.
    pub need: usize,
    /// The way to go on. [`Flow::Keep`] and [`Flow::Read`] are the same here.
    pub flow: Flow,
}

impl Consumed {
    /// Consumes `bytes`.
    #[inline]
    pub const fn bytes(bytes: usize) -> Self {
        Self { bytes, passed: 0, to: None, need: 0, flow: Flow::Keep }
    }

    /// Consumes nothing: the message is not complete.
    #[inline]
    pub const fn nothing() -> Self {
        Self::bytes(0)
    }

    /// Consumes nothing: the message has `bytes` bytes.
    #[inline]
    pub const fn need(bytes: usize) -> Self {
        Self { need: bytes, ..Self::nothing() }
    }

    /// Consumes `bytes`, which go back to the peer as they stand.
    #[inline]
    pub const fn pass(bytes: usize) -> Self {
        Self { passed: bytes, ..Self::bytes(bytes) }
    }

    /// Consumes `bytes`, which go to another connection as they stand; for a proxy. They are sent at once.
    /// Output that is [written](crate::Context::write) goes to this connection's own peer as before.
    #[inline]
    pub const fn forward(bytes: usize, to: Link) -> Self {
        Self { to: Some(to), ..Self::pass(bytes) }
    }

    /// Returns the same outcome, after which the connection goes on like `flow`.
    #[inline]
    pub const fn then(self, flow: Flow) -> Self {
        Self { flow, ..self }
    }
}
