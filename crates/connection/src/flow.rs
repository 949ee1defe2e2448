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
///
/// # Examples
///
/// Messages that begin with a line that says their length, and may be longer than the thread's buffer:
///
/// ```
/// use epoll_connection::test_kit::{Act, Driver, Trigger};
/// use epoll_connection::{CloseReason, Consumed, Context, Flow, Protocol};
///
/// /// The longest line: no length has more digits than `usize::MAX`.
/// const LINE_MAX: usize = 21;
///
/// /// Answers each message with the number of its bytes that are `x`.
/// struct Count;
///
/// impl Protocol for Count {
///     type Local = ();
///     type Message = ();
///
///     fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
///         let line = input.iter().take(LINE_MAX).position(|&byte| byte == b'\n');
///         let len = match line {
///             // The line is not complete.
///             None if input.len() < LINE_MAX => return Consumed::nothing(),
///             None => None,
///             Some(end) => std::str::from_utf8(&input[..end]).ok().and_then(|text| text.parse().ok()),
///         };
///         let message = line.zip(len).map(|(end, len): (_, usize)| end + 1..len.saturating_add(end + 1));
///         match message {
///             None => {
///                 context.write(b"no length\n");
///                 // What else has come does not matter.
///                 Consumed::bytes(input.len()).then(Flow::Finish)
///             }
///             // It is shown again when it is complete, or `on_overflow` is called at once.
///             Some(message) if message.end > input.len() => Consumed::need(message.end),
///             Some(message) => {
///                 let count = input[message.clone()].iter().filter(|&&byte| byte == b'x').count();
///                 context.write(format!("{count}\n").as_bytes());
///                 Consumed::bytes(message.end)
///             }
///         }
///     }
///
///     fn on_overflow(&mut self, context: &mut Context<'_, (), ()>) -> Flow {
///         context.write(b"too long\n");
///         Flow::Finish
///     }
/// }
///
/// let mut driver = Driver::new(Trigger::Level, Count, ());
/// driver.act(Act::Room(100));
/// driver.act(Act::Arrive(b"4\nx xx3\nx".to_vec()));
/// assert_eq!(driver.sent(), b"3\n");
/// driver.act(Act::Arrive(b"x!".to_vec()));
/// assert_eq!(driver.sent(), b"3\n2\n");
/// driver.act(Act::Arrive(b"100000\n".to_vec()));
/// driver.act(Act::Arrive(vec![b'x'; 100_000]));
/// assert_eq!(driver.sent(), b"3\n2\n100000\n");
/// driver.act(Act::Arrive(b"1000000000\n".to_vec()));
/// driver.act(Act::Fin);
/// assert_eq!(driver.sent(), b"3\n2\n100000\ntoo long\n");
/// assert_eq!(driver.closed(), Some(CloseReason::Finished));
/// ```
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
    /// The length of the next message, if it is known, counted from the first byte that was not consumed: the input
    /// is not shown again before it is so long. Zero asks for any input.
    ///
    /// A message longer than the thread's buffer ([`Limits::read_buffer_len`](crate::Limits::read_buffer_len)) has to
    /// be asked for like this; [`Limits::input_max`](crate::Limits::input_max) bounds it. Where only a part of the
    /// length is known, ask for that, and for more when it has come. Beyond the thread's buffer each demand costs a
    /// read, and a new buffer into which all that was kept is copied: a protocol that asks for one byte more each time
    /// is called for every byte. Never ask for more than the message is sure to have, if it is wrong as well: what is
    /// not shown cannot be refused, and the peer may send no more.
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
