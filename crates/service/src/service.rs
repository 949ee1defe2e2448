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
/// use epoll_service::{Peer, Service};
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
/// A count that all threads share, and a thread beside them that does something at intervals for as long as the server
/// runs:
///
/// ```
/// use epoll_connection::{Consumed, Context, Protocol};
/// use epoll_service::{Config, Each, Server, Signal, Signals};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::mpsc::{RecvTimeoutError, channel};
/// use std::thread;
/// use std::time::Duration;
///
/// /// Answers every byte with the number of bytes that the server has seen in this second.
/// struct Count(Arc<AtomicU64>);
///
/// impl Protocol for Count {
///     type Local = ();
///     type Message = ();
///
///     fn on_input(&mut self, _: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
///         let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
///         context.write(format!("{count}\n").as_bytes());
///         Consumed::bytes(1)
///     }
/// }
///
/// let signals = Signals::block([Signal::TERM, Signal::INT])?;
/// let count = Arc::new(AtomicU64::new(0));
/// let shared = Arc::clone(&count);
/// let service = Each(move || Count(Arc::clone(&shared)));
/// let server = Server::bind(service, &Config::at(["127.0.0.1:0".parse()?]))?;
///
/// // After the signals are blocked, which this thread would get otherwise.
/// let (stop, stopped) = channel::<()>();
/// let second = Duration::from_secs(1);
/// let beside = thread::spawn(move || {
///     while stopped.recv_timeout(second) == Err(RecvTimeoutError::Timeout) {
///         count.store(0, Ordering::Relaxed);
///     }
/// });
/// server.run(&signals, || {
///     println!("serving");
/// #   // What otherwise comes from outside.
/// #   std::process::Command::new("sh").args(["-c", "kill $PPID"]).status().unwrap();
/// })?;
/// drop(stop);
/// beside.join().expect("it does not panic");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
