//! One connection of any protocol as a pure state machine.
//!
//! A [`Protocol`] turns the input of a connection into output. A [`Connection`] runs a protocol over a
//! [`Transport`]: it reads and sends, keeps bytes that are not consumed or not sent yet, stops reading while output
//! waits, and closes in order. Its owner, an event loop, calls [`step`](Connection::step) when the transport is
//! ready, and watches the transport for the connection's [`interest`](Connection::interest). A [`ThreadState`] is
//! the state that all connections of a thread share.
//!
//! Not here: a loop (see `epoll-reactor`), timers, signals, threads. Only the transport makes system calls, and
//! only the [`Clocks`] that are passed in read a clock.
//!
//! # Examples
//!
//! A loop that serves a connection until its peer closes it:
//!
//! ```
//! use epoll_connection::{
//!     Clocks, CloseReason, Connection, Consumed, Context, Limits, Protocol, Step, ThreadState,
//! };
//! use epoll_reactor::net::Stream;
//! use epoll_reactor::{Reactor, Readiness, Ready, Registration, Watch};
//! use std::io::{Read, Write};
//! use std::net::Shutdown;
//!
//! /// Sends every byte back in upper case.
//! struct Shout;
//!
//! impl Protocol for Shout {
//!     type Local = ();
//!     type Message = ();
//!
//!     fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
//!         input.make_ascii_uppercase();
//!         Consumed::pass(input.len())
//!     }
//! }
//!
//! let (ours, mut theirs) = Stream::pair()?;
//! let mut thread = ThreadState::new(0, (), Limits::default(), Clocks::default());
//! let mut reactor = Reactor::<Connection<Shout, Stream>>::new()?;
//! let connection = Connection::new(Shout, ours);
//! let watch = Watch::level(Connection::<Shout, Stream>::FIRST_INTEREST);
//! let token = reactor.insert(connection, watch)?;
//! let mut entry = reactor.entry(token).expect("it is registered");
//! assert_eq!(entry.open(token, &mut thread), Step::Wait);
//!
//! assert_eq!(theirs.write(b"hello")?, 5);
//! theirs.shutdown(Shutdown::Write)?;
//! while !reactor.is_empty() {
//!     reactor.wait(None)?;
//!     thread.begin_turn(None);
//!     while let Some(ready) = reactor.next_ready() {
//!         let Ready::Owned { token, source, readiness } = ready else { continue };
//!         let step = source.step(readiness, token, &mut thread);
//!         let interest = source.interest();
//!         match step {
//!             Step::Wait => {}
//!             Step::Changed => match interest {
//!                 Some(interest) => reactor.set_interest(token, interest)?,
//!                 None => reactor.park(token)?,
//!             },
//!             // More is to be done at once, so what to watch for can wait. The limits allow no splicing.
//!             Step::Yield | Step::Splice => {
//!                 reactor.revisit(token, readiness | Readiness::IN);
//!             }
//!             Step::Forward => unreachable!("this protocol forwards nothing"),
//!             Step::Done(reason) => {
//!                 assert_eq!(reason, CloseReason::PeerClosed);
//!                 reactor.close(token);
//!             }
//!         }
//!     }
//! }
//!
//! let mut answer = String::new();
//! theirs.read_to_string(&mut answer)?;
//! assert_eq!(answer, "HELLO");
//! # Ok::<(), std::io::Error>(())
//! ```

mod allowance;
mod connection;
mod context;
mod either;
mod flow;
mod id;
mod protocol;
mod step;
mod thread;
mod transport;
mod turn;

#[cfg(feature = "test-kit")]
pub mod test_kit;

pub use allowance::Allowance;
pub use connection::{Buffered, Connection, Forward, StepRest};
pub use context::Context;
pub use either::Either;
pub use flow::{Consumed, Flow};
pub use id::{ConnectionId, Link};
pub use protocol::Protocol;
pub use step::{Awaits, CloseReason, Misuse, Step};
pub use thread::ThreadState;
pub use transport::Transport;
pub use turn::{Clocks, Limits, Request};

/// The types of this crate's signatures that others define.
pub use epoll_reactor::epoll_sys::{ClockTime, Realtime, Timestamp};
pub use epoll_reactor::net::Address;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
