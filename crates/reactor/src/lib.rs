//! An event loop on Linux `epoll`: a [`Reactor`] owns connections, watches whatever lives elsewhere, and
//! hands out what is ready, one report at a time. It is for one thread; in [`shared`] is one for several
//! threads.
//!
//! - **A trigger per registration**: level, edge, one-shot, edge and one-shot; exclusive; see
//!   [`Watch`] and [`ExclusiveWatch`].
//! - **No stale events**: a report never reaches a source that took the place of another one, in the
//!   same batch or later; see [`Token`].
//! - **One system call a turn**: a wake from another thread is not read, a signal's interruption is
//!   retried within, nothing is allocated per turn or per event.
//! - **Fairness**: a source that is not dry can give way and be revisited; see
//!   [`Reactor::revisit`].
//! - **Counters** of all that: [`Reactor::counters`].
//!
//! It has a descriptor, so that it runs inside loops of other crates: [`integrating`] shows that for mio,
//! tokio, calloop and others, beside threads, and across `fork`.
//!
//! In [`net`] are the listeners and streams that a server needs: accepting in small batches,
//! surviving the lack of descriptors, replacing the socket of a dead server.
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
//! use epoll_reactor::{Interest, Reactor, Ready, Watch};
//! use std::io::{self, Read, Write};
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
//!     let mut reactor: Reactor<Stream, Service> = Reactor::new()?;
//!     reactor.watch(&listener, Service::Accept, Watch::level(Interest::IN))?;
//!     let mut buffer = [0; 4096];
//!     let mut served = 0;
//!     while served < 1 {
//!         reactor.wait(None)?;
//!         while let Some(ready) = reactor.next_ready() {
//!             match ready {
//!                 Ready::Watched { tag: Service::Accept, .. } => {
//!                     for Accepted { stream, .. } in listener.accept_batch() {
//!                         // A connection that cannot be watched is dropped; the server goes on.
//!                         let _ = reactor.insert(stream, Watch::level(Interest::IN));
//!                     }
//!                 }
//!                 Ready::Owned { token, source, .. } => {
//!                     // An error is the connection's own affair, never the loop's. A server that
//!                     // is meant to last also keeps what a write does not take.
//!                     let echoed = match source.read(&mut buffer) {
//!                         Ok(len) => source.write(&buffer[..len]),
//!                         Err(error) => Err(error),
//!                     };
//!                     match echoed {
//!                         Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
//!                         Ok(0) | Err(_) => {
//!                             reactor.close(token);
//!                             served += 1;
//!                         }
//!                         Ok(_) => {}
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

#![forbid(unsafe_code)]

mod log;

mod reactor;
mod record;
mod registry;

mod entry;
mod nesting;
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
