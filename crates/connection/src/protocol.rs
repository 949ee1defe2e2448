//! What a protocol is: callbacks for one connection, which take bytes and write bytes.

use crate::{CloseReason, Consumed, Context, Flow};

/// The behaviour of one connection. It never blocks and makes no system call.
///
/// Every callback may write, set the [deadline](Context::set_deadline) and send messages. What is written
/// goes out with one system call when the step is over; while output waits for room,
/// [`on_input`](Self::on_input) is not called. Only `on_input` has to be written; the defaults of the
/// others suit a protocol that answers requests.
///
/// The trait is dyn-compatible: a program that serves several protocols may box them, or use
/// [`Either`](crate::Either), which needs no allocation.
///
/// # Misuse
///
/// A protocol that consumes more bytes than it was shown, or writes after it has ended its output, is
/// closed with [`CloseReason::Misuse`]. Nothing panics, and no other connection is concerned.
///
/// # Examples
///
/// A protocol that answers each line with its length:
///
/// ```
/// use epoll_connection::{Consumed, Context, Protocol};
///
/// struct Lengths;
///
/// impl Protocol for Lengths {
///     type Local = ();
///     type Message = ();
///
///     fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
///         // One message a call is enough: the rest of the input is shown again.
///         let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
///             return Consumed::nothing();
///         };
///         context.write(format!("{end}\n").as_bytes());
///         Consumed::bytes(end + 1)
///     }
/// }
/// ```
pub trait Protocol {
    /// The state that each thread has once: tables, caches, counters. Where threads share connections, two
    /// callbacks of a connection may see two of them, so only caches and counters belong here then.
    type Local;
    /// The messages that other connections, and other threads, send to a connection.
    type Message;

    /// The connection was accepted, or an outgoing one is established. A protocol whose server speaks
    /// first speaks here.
    #[inline]
    fn on_open(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Keep
    }

    /// Takes input: at least one byte, from the first one that was not consumed yet.
    ///
    /// It is mutable, so that it can be decrypted, unmasked or unescaped in place; what is not consumed is
    /// shown again as it was left. Consuming one message a call is enough.
    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) -> Consumed;

    /// The input that is kept has reached the limit, or [`Consumed::need`] asked for more than
    /// [`Limits::input_max`](crate::Limits::input_max). [`Flow::Finish`] ends the connection after what is
    /// written here; every other answer closes it with [`CloseReason::InputTooLong`].
    #[inline]
    fn on_overflow(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Abort
    }

    /// The peer has closed its half, after `rest`, which was not consumed. [`Flow::Finish`] closes the
    /// connection when everything is sent; any other answer lets it go on writing.
    #[inline]
    fn on_peer_finished(
        &mut self,
        rest: &[u8],
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) -> Flow {
        let _ = (rest, context);
        Flow::Finish
    }

    /// Bytes have arrived that another connection [forwards](crate::Consumed::forward). Returns whether the
    /// protocol has written what is to be sent for them; otherwise they are sent as they stand. One that
    /// transforms what it sends, to encrypt it for example, does it here.
    #[inline]
    fn on_forwarded(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) -> bool {
        let _ = (bytes, context);
        false
    }

    /// A message has arrived, perhaps one for many connections. It comes even while output waits, see
    /// [`Context::pending`]. What all messages of a turn have a connection write is sent at once.
    #[inline]
    fn on_message(
        &mut self,
        message: &Self::Message,
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) -> Flow {
        let _ = (message, context);
        Flow::Keep
    }

    /// Everything is sent: after [`Flow::Produce`], and after output that had to wait for room.
    #[inline]
    fn on_written(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Keep
    }

    /// The deadline has passed. None is set any more.
    #[inline]
    fn on_deadline(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Finish
    }

    /// The service begins to drain. [`Flow::Finish`] ends the connection now. [`Flow::Keep`] has
    /// everything received that has arrived, and the connection finished when it is quiet.
    #[inline]
    fn on_drain(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Keep
    }

    /// Our half is about to be closed, for whatever reason: the last words. Called once, when everything
    /// else is sent.
    #[inline]
    fn on_finish(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) {
        let _ = context;
    }

    /// The connection is over. What is written here is lost; messages are sent.
    #[inline]
    fn on_close(
        &mut self,
        reason: CloseReason,
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) {
        let _ = (reason, context);
    }

    /// Returns whether the protocol passes back everything that arrives now. Then
    /// [`on_input`](Self::on_input) is not called, and where much arrives the bytes need not come into the
    /// process.
    #[inline]
    fn passes_everything(&self, local: &Self::Local) -> bool {
        let _ = local;
        false
    }
}

impl<P: Protocol + ?Sized> Protocol for Box<P> {
    type Local = P::Local;
    type Message = P::Message;

    fn on_open(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        (**self).on_open(context)
    }

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Consumed {
        (**self).on_input(input, context)
    }

    fn on_overflow(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        (**self).on_overflow(context)
    }

    fn on_peer_finished(
        &mut self,
        rest: &[u8],
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Flow {
        (**self).on_peer_finished(rest, context)
    }

    fn on_forwarded(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> bool {
        (**self).on_forwarded(bytes, context)
    }

    fn on_message(
        &mut self,
        message: &P::Message,
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Flow {
        (**self).on_message(message, context)
    }

    fn on_written(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        (**self).on_written(context)
    }

    fn on_deadline(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        (**self).on_deadline(context)
    }

    fn on_drain(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        (**self).on_drain(context)
    }

    fn on_finish(&mut self, context: &mut Context<'_, P::Local, P::Message>) {
        (**self).on_finish(context);
    }

    fn on_close(&mut self, reason: CloseReason, context: &mut Context<'_, P::Local, P::Message>) {
        (**self).on_close(reason, context);
    }

    fn passes_everything(&self, local: &P::Local) -> bool {
        (**self).passes_everything(local)
    }
}
