//! The trait of a protocol: callbacks for one connection, which take bytes and write bytes.

use crate::{CloseReason, ConnectionId, Consumed, Context, Flow};

/// The behaviour of one connection. It never blocks and makes no system call.
///
/// Every callback may write, set the [deadline](Context::set_deadline) and send messages. The output is sent
/// with one system call when the step is over. While output waits for room,
/// [`on_input`](Self::on_input) is not called, except for a protocol that
/// [forwards everything](Self::forwards_to). Only `on_input` has to be written; the defaults of the others
/// suit a protocol that answers requests.
///
/// The trait is dyn-compatible: a program that serves several protocols may box them, or use
/// [`Either`](crate::Either), which needs no allocation.
///
/// # Misuse
///
/// A protocol that consumes more bytes than it was shown, or writes after it has ended its output, is
/// closed with [`CloseReason::Misuse`]. Nothing panics, and no other connection is concerned.
///
/// A panic of a callback unwinds into the owner, which may catch it and drop the connection;
/// [`on_close`](Self::on_close) is not called then. Clean-up that must not be missed belongs into `Drop`.
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
    /// The state that each thread has once: tables, caches, counters. If threads share connections, two
    /// callbacks of one connection may see the states of two threads: then only caches and counters belong
    /// here.
    type Local;
    /// The messages that other connections, and other threads, send to a connection. A message for
    /// [all](Context::broadcast) connections is shared, so it is passed by reference; it is dropped when all receivers
    /// have had it. To [send](Context::send) one to several connections without copies, put it into an `Arc`.
    type Message;

    /// Handles the opening of the connection, which was accepted, or is an outgoing one that is established. A
    /// protocol whose server speaks first writes here.
    #[inline]
    fn on_open(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Keep
    }

    /// Takes input: at least one byte, from the first one that was not consumed yet.
    ///
    /// The input is mutable, so that it can be decrypted, unmasked or unescaped in place. Bytes that are not consumed
    /// are shown again as the protocol has left them, from the same first byte, so a parser may note how far it has
    /// come and go on from there. Consuming one message a call is enough.
    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) -> Consumed;

    /// Handles input that cannot be kept: it fills the thread's buffer
    /// ([`Limits::read_buffer_len`](crate::Limits::read_buffer_len)) and no longer message was
    /// [asked for](Consumed::need), or [`Consumed::need`] asked for more than
    /// [`Limits::input_max`](crate::Limits::input_max). [`Flow::Finish`] ends the connection after the output that
    /// is written here; every other answer closes it with [`CloseReason::InputTooLong`].
    #[inline]
    fn on_overflow(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Abort
    }

    /// Handles the end of the peer's half. The bytes of `rest` were not consumed. [`Flow::Finish`] closes the
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

    /// Handles `bytes` that another connection [forwards](crate::Consumed::forward) to this one. Returns whether the
    /// protocol has written output in their place; otherwise they are sent unchanged, after what it has written. A
    /// protocol that encrypts its output, for example, encrypts them here.
    ///
    /// It is not called for bytes that were spliced, which only go to a protocol that
    /// [forwards everything](Self::forwards_to) itself.
    #[inline]
    fn on_forwarded(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) -> bool {
        let _ = (bytes, context);
        false
    }

    /// Handles a message, perhaps one for many connections. It comes even while output waits, see
    /// [`Context::pending`]. The output of all messages of a turn is sent together.
    #[inline]
    fn on_message(
        &mut self,
        message: &Self::Message,
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) -> Flow {
        let _ = (message, context);
        Flow::Keep
    }

    /// Handles the end of sending: everything is sent, after [`Flow::Produce`] or after output that had to wait.
    #[inline]
    fn on_written(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Keep
    }

    /// Handles the deadline, which has passed and is no longer set.
    #[inline]
    fn on_deadline(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Finish
    }

    /// Handles the beginning of a drain. [`Flow::Finish`] ends the connection now. With [`Flow::Keep`] it goes on
    /// until no byte moves and it is not [busy](Self::is_busy); then everything that has arrived is received,
    /// and it is finished.
    #[inline]
    fn on_drain(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) -> Flow {
        let _ = context;
        Flow::Keep
    }

    /// Writes the last output before our half is closed. Called once, for every reason to close it, when everything
    /// else is sent.
    #[inline]
    fn on_finish(&mut self, context: &mut Context<'_, Self::Local, Self::Message>) {
        let _ = context;
    }

    /// Handles the end of the connection. Output that is written here is lost; messages are sent.
    #[inline]
    fn on_close(
        &mut self,
        reason: CloseReason,
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) {
        let _ = (reason, context);
    }

    /// Returns whether a drain has to wait for the connection even if no byte moves: the body of a request has
    /// not come, or the connection is one side of a proxied pair. A message that has come in part is waited
    /// for in any case. At half of the time that a drain may take, busy connections are ended as well.
    #[inline]
    fn is_busy(&self) -> bool {
        false
    }

    /// Returns whether the protocol passes back everything that arrives now. Then
    /// [`on_input`](Self::on_input) is not called, and long streams may be spliced: their bytes do not come
    /// into the process.
    #[inline]
    fn passes_everything(&self, local: &Self::Local) -> bool {
        let _ = local;
        false
    }

    /// Returns the connection to which the protocol forwards everything that arrives now, as it stands.
    ///
    /// Then [`on_input`](Self::on_input) is called for some of it at most, unless that connection cannot be
    /// [linked](crate::Context::link). It is not asked where the protocol [passes everything
    /// back](Self::passes_everything). Input is read even while output waits for room, because the two directions are
    /// independent. Long streams may be spliced, so that their bytes do not come into the process, if the receiver
    /// forwards everything as well; otherwise they are read out of the pipe.
    #[inline]
    fn forwards_to(&self) -> Option<ConnectionId> {
        None
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

    fn is_busy(&self) -> bool {
        (**self).is_busy()
    }

    fn passes_everything(&self, local: &P::Local) -> bool {
        (**self).passes_everything(local)
    }

    fn forwards_to(&self) -> Option<ConnectionId> {
        (**self).forwards_to()
    }
}
