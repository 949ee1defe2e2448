//! The echo service (RFC 862) for one connection, as a pure state machine: bytes in, the same bytes
//! out, in order, whatever the split.
//!
//! A [`Connection`] makes no system call, reads no clock and knows no timer and no signal. Its one
//! function [`step`](Connection::step) is given what the transport is ready for, a buffer to read
//! into and the time, and answers what it waits for now. It serves every trigger; a [`Mode`] says
//! what to watch for.
//!
//! - What the transport does not take at once is the only thing a connection buffers, and while it
//!   has such a rest it does not read. So a peer that never reads costs at most one read buffer, and
//!   a connection at rest owns none.
//! - Where much is sent at once bytes need not come into the process: they go through a pipe, one for
//!   all connections of a thread.
//! - A peer that closes its half gets everything it sent, then the end of the stream.
//! - When this side closes first, it shuts its half down, reads on and discards until the peer
//!   closes too: closing at once could reset the connection and take the last bytes with it.
//!
//! Not here: accepting, timeouts, threads; see `epoll-server` for all of it together.
//!
//! # Examples
//!
//! ```
//! use epoll_echo::{Connection, Mode, Reason, Rules, Step};
//! use epoll_reactor::net::Stream;
//! use epoll_reactor::{Reactor, Readiness, Ready};
//! use std::io::{Read, Write};
//! use std::net::Shutdown;
//! use epoll_reactor::epoll_sys::Timestamp;
//!
//! let (ours, mut theirs) = Stream::pair()?;
//! let mode = Mode::Edge;
//! let rules = Rules::default();
//! let connection = Connection::new(ours, &rules, Timestamp::EPOCH);
//! let mut reactor: Reactor<Connection<Stream>> = Reactor::new()?;
//! reactor.insert(connection, mode.watch(Connection::<Stream>::FIRST_INTEREST))?;
//!
//! theirs.write_all(b"hello")?;
//! theirs.shutdown(Shutdown::Write)?;
//!
//! let mut buffer = vec![0; 64 * 1024];
//! while !reactor.is_empty() {
//!     reactor.wait(None)?;
//!     while let Some(ready) = reactor.next_ready() {
//!         let Ready::Owned { token, source, readiness } = ready else { continue };
//!         match source.step(readiness, &rules, &mut buffer, Timestamp::EPOCH) {
//!             Step::Wait => {}
//!             Step::Watch(interest) => reactor.set_interest(token, mode.interest(interest))?,
//!             Step::Splice => unreachable!("the rules do not allow it"),
//!             Step::Yield | Step::Linger => drop(reactor.revisit(token, readiness | Readiness::IN)),
//!             Step::Done(reason) => {
//!                 assert_eq!(reason, Reason::PeerClosed);
//!                 reactor.close(token);
//!             }
//!         }
//!     }
//! }
//!
//! let mut echo = Vec::new();
//! theirs.read_to_end(&mut echo)?;
//! assert_eq!(echo, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]

mod connection;
mod mode;
mod quit;
mod step;
mod transport;

pub use connection::Connection;
pub use mode::Mode;
pub use quit::{QuitWord, QuitWordError};
pub use step::{Awaits, Reason, Rules, Step};
pub use transport::Transport;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
