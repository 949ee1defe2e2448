//! An event loop on Linux `epoll`: a [`Reactor`] owns connections, watches descriptors that live elsewhere,
//! and reports those that are ready, one at a time. It is for one thread; [`shared`] has one for several
//! threads.
//!
//! - **A trigger per registration**: level, edge, one-shot, edge and one-shot; exclusive; see
//!   [`Watch`] and [`ExclusiveWatch`].
//! - **No stale events**: a late event of a closed source is never reported to the source that has taken its
//!   place, in the same batch or later; see [`Token`].
//! - **One system call a turn**: a wake from another thread is not read, a wait that a signal interrupts is
//!   retried, and nothing is allocated per turn or per event.
//! - **Fairness**: a source that is not dry can give way to others and be revisited; see
//!   [`Reactor::revisit`].
//! - **Counters** of events and calls: [`Reactor::counters`].
//!
//! The reactor has a descriptor, so it can run inside a loop of another crate. [`integrating`] shows this for mio,
//! tokio, calloop and others, with threads, and across `fork`.
//!
//! [`net`] has the listeners, streams and datagram sockets that a server needs. They accept in small
//! batches, survive a shortage of descriptors, and replace the UNIX socket of a server that has ended.
//!
//! Not here: futures, buffering, timers (`epoll-timers` has a descriptor to watch), signals
//! (`epoll-shutdown` likewise), other operating systems.
//!
//! # Examples
//!
//! An echo server that serves one client and ends:
//!
//! ```
//! use epoll_reactor::net::{Accepted, Address, ListenOptions, Listener, Stream};
//! use epoll_reactor::{Interest, Reactor, Ready, Source, Watch};
//! use std::io::{self, ErrorKind, Read, Write};
//! use std::os::fd::{AsFd, BorrowedFd};
//!
//! struct Client {
//!     stream: Stream,
//!     /// Bytes that were read and not written yet.
//!     pending: Vec<u8>,
//! }
//! # impl AsFd for Client {
//! #     fn as_fd(&self) -> BorrowedFd<'_> { self.stream.as_fd() }
//! # }
//! # impl Source for Client {
//! #     fn is_nonblocking(&self) -> bool { self.stream.is_nonblocking() }
//! #     fn is_unshared(&self) -> bool { self.stream.is_unshared() }
//! # }
//!
//! impl Client {
//!     /// Reads unless bytes are pending, and writes. Returns `false` at the end of the stream.
//!     fn echo(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
//!         if self.pending.is_empty() {
//!             let len = self.stream.read(buffer)?;
//!             if len == 0 {
//!                 return Ok(false);
//!             }
//!             self.pending.extend_from_slice(&buffer[..len]);
//!         }
//!         let len = self.stream.write(&self.pending)?;
//!         self.pending.drain(..len);
//!         Ok(true)
//!     }
//! }
//!
//! #[derive(Clone, Copy)]
//! enum Service {
//!     Accept,
//! }
//!
//! fn main() -> io::Result<()> {
//!     let address: Address = "127.0.0.1:0".parse()?;
//!     let mut listener = Listener::bind(&address, &ListenOptions::default())?;
//! #   let address = listener.address().inet().unwrap();
//! #   let client = std::thread::spawn(move || -> io::Result<()> {
//! #       let mut stream = std::net::TcpStream::connect(address)?;
//! #       stream.write_all(b"hello")?;
//! #       let mut echo = [0; 5];
//! #       stream.read_exact(&mut echo)?;
//! #       assert_eq!(&echo, b"hello");
//! #       Ok(())
//! #   });
//!
//!     let mut reactor: Reactor<Client, Service> = Reactor::new()?;
//!     reactor.watch(&listener, Service::Accept, Watch::level(Interest::IN))?;
//!     let mut buffer = [0; 4096];
//!     let mut served = 0;
//!     while served < 1 {
//!         reactor.wait(None)?;
//!         while let Some(ready) = reactor.next_ready() {
//!             match ready {
//!                 Ready::Watched { tag: Service::Accept, .. } => {
//!                     for Accepted { stream, .. } in listener.accept_batch() {
//!                         let client = Client { stream, pending: Vec::new() };
//!                         // A connection that cannot be watched is dropped; the server goes on.
//!                         let _ = reactor.insert(client, Watch::level(Interest::IN));
//!                     }
//!                 }
//!                 Ready::Owned { token, source, .. } => {
//!                     let is_open = match source.echo(&mut buffer) {
//!                         Err(error) if error.kind() == ErrorKind::WouldBlock => true,
//!                         // An error ends its own connection, never the loop.
//!                         echoed => echoed.unwrap_or(false),
//!                     };
//!                     // Watched for room only while bytes wait for it: a level trigger would
//!                     // report a socket with room in every turn.
//!                     let is_dry = source.pending.is_empty();
//!                     let interest = if is_dry { Interest::IN } else { Interest::OUT };
//!                     if !is_open || reactor.set_interest(token, interest).is_err() {
//!                         reactor.close(token);
//!                         served += 1;
//!                     }
//!                 }
//!                 Ready::Woken => {}
//!             }
//!         }
//!     }
//! #   client.join().unwrap()?;
//!     Ok(())
//! }
//! ```

mod log;

mod reactor;
mod record;
mod registry;

mod busy_polling;
mod by_slot;
mod entry;
mod nesting;
mod numbers;
mod parking;
mod rebuild;

mod counters;
mod error;
mod ready;
mod slots;
mod source;
mod suspects;
mod token;
mod turn;
mod waker;

pub mod integrating;
#[cfg(feature = "net")]
pub mod net;
pub mod shared;

pub use counters::Counters;
pub use entry::{Entry, Registration};
pub use error::InsertError;
pub use reactor::{BATCH_MAX, Reactor};
pub use ready::Ready;
pub use source::{NoSource, Source};
pub use token::Token;
pub use waker::Waker;

pub use epoll_sys;
pub use epoll_sys::{ExclusiveInterest, ExclusiveWatch, Interest, Readiness, Trigger, Watch};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
