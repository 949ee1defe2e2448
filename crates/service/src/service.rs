//! The trait of a service, which makes the protocol of each connection.

use epoll_connection::{ConnectionId, Protocol};
use epoll_reactor::net::Peer;

/// The state that a thread has for its protocols.
pub type Local<S> = <<S as Service>::Protocol as Protocol>::Local;

/// The message that connections of a service receive.
pub type Message<S> = <<S as Service>::Protocol as Protocol>::Message;

/// Makes the protocol of each connection. A server has one service, which its threads share.
///
/// A service that makes every protocol the same way is written as [`Each`].
///
/// # Examples
///
/// Two protocols, chosen by the listener:
///
/// ```
/// use epoll_connection::{Consumed, Context, Either, Protocol};
/// use epoll_service::Service;
/// use epoll_reactor::net::Peer;
///
/// struct Discard;
///
/// impl Protocol for Discard {
///     type Local = ();
///     type Message = ();
///
///     fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
///         Consumed::bytes(input.len())
///     }
/// }
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     type Local = ();
///     type Message = ();
///
///     fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
///         Consumed::pass(input.len())
///     }
/// }
///
/// struct Both;
///
/// impl Service for Both {
///     type Protocol = Either<Echo, Discard>;
///
///     fn local(&self, _: usize) -> ((), ()) {
///         ((), ())
///     }
///
///     fn accept(&self, listener: usize, _: &Peer, _: &mut ((), ())) -> Option<Self::Protocol> {
///         Some(if listener == 0 { Either::A(Echo) } else { Either::B(Discard) })
///     }
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// The protocol of its connections.
    type Protocol: Protocol<Message: Send + Sync + 'static> + Send + 'static;

    /// The name, in logs and statistics, of a connection that its protocol has
    /// [finished](epoll_connection::Flow::Finish).
    const FINISHED: &'static str = "finished";

    /// Returns the initial state of the thread with this number. Called on that thread.
    fn local(&self, thread: usize) -> Local<Self>
    where
        Self: Sized;

    /// Returns the protocol of a connection that was accepted at the address with the index `listener` in
    /// [`Config::listen`](crate::Config::listen); `None` closes the connection, and so does a panic.
    fn accept(
        &self,
        listener: usize,
        peer: &Peer,
        local: &mut Local<Self>,
    ) -> Option<Self::Protocol>
    where
        Self: Sized;

    /// Returns the protocol of an outgoing connection that `from` has
    /// [asked for](epoll_connection::Context::connect) with `message`. After `None`, or a panic, no connection
    /// is made, and `from` is not told.
    fn connect(
        &self,
        from: ConnectionId,
        message: Message<Self>,
        local: &mut Local<Self>,
    ) -> Option<Self::Protocol>
    where
        Self: Sized,
    {
        let _ = (from, message, local);
        None
    }
}

/// A service that makes the protocol of each accepted connection by a closure. Its threads begin with the
/// default of [`Protocol::Local`].
///
/// # Examples
///
/// See [the crate's page](crate).
#[derive(Clone, Debug)]
pub struct Each<F>(pub F);

impl<P, F> Service for Each<F>
where
    P: Protocol<Local: Default, Message: Send + Sync + 'static> + Send + 'static,
    F: Fn() -> P + Send + Sync + 'static,
{
    type Protocol = P;

    fn local(&self, _: usize) -> P::Local {
        P::Local::default()
    }

    fn accept(&self, _: usize, _: &Peer, _: &mut P::Local) -> Option<P> {
        Some((self.0)())
    }
}
