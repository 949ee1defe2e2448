//! Tests of protocols without sockets, behind the feature `test-kit`.
//!
//! A [`Driver`] has one connection of a protocol over a scripted transport, and does what a service does
//! with it: it reports what is ready, with a level or an edge trigger, and goes by what the connection
//! answers. A test says what the peer does ([`Act`]), and looks at what was sent.
//!
//! A program has it in its tests alone by two entries for the same crate:
//!
//! ```toml
//! [dependencies]
//! epoll-connection = { path = "../epoll-kit/crates/connection" }
//!
//! [dev-dependencies]
//! epoll-connection = { path = "../epoll-kit/crates/connection", features = ["test-kit"] }
//! ```
//!
//! After everything that happens the driver checks what holds for all protocols, and panics where it does
//! not:
//!
//! - the protocol is shown its input in order, from the first byte that it has not consumed, as it left it;
//! - what it wrote is sent in order and completely;
//! - nothing is read while output waits for room;
//! - at rest either nothing waits to be sent or there is no room, and either nothing is unread or the
//!   protocol is paused;
//! - no step reads more than its budget and one read;
//! - the connection neither spins nor writes after it has closed its half.
//!
//! [`explore`] drives a protocol through every split of an input, short writes, interruptions, resets,
//! drains and deadlines at every point, and compares the output of all these runs.
//!
//! # Examples
//!
//! ```
//! use epoll_connection::test_kit::{Act, Driver, Exploration, Trigger, explore};
//! use epoll_connection::{CloseReason, Consumed, Context, Protocol};
//!
//! struct Lengths;
//!
//! impl Protocol for Lengths {
//!     type Local = ();
//!     type Message = ();
//!
//!     fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
//!         let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
//!             return Consumed::nothing();
//!         };
//!         context.write(format!("{end}\n").as_bytes());
//!         Consumed::bytes(end + 1)
//!     }
//! }
//!
//! let mut driver = Driver::new(Trigger::Edge, Lengths, ());
//! driver.act(Act::Room(100));
//! driver.act(Act::Arrive(b"four\nseven".to_vec()));
//! assert_eq!(driver.sent(), b"4\n");
//! driver.act(Act::Fin);
//! assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
//!
//! let runs = explore(&Exploration::new(|| Lengths, || ()).input(b"one\n\nthree\n"));
//! assert!(runs > 100);
//! ```
//!
//! Time passes when a test says so, and messages are taken from one connection and given to another. Every driver's
//! connection has the same [id](crate::Context::id):
//!
//! ```
//! use epoll_connection::test_kit::{Act, Driver, Trigger};
//! use epoll_connection::{Consumed, Context, Flow, Protocol, Request};
//! use std::time::Duration;
//!
//! /// Sends every byte to all connections, and says goodbye after ten seconds.
//! struct Chat;
//!
//! impl Protocol for Chat {
//!     type Local = ();
//!     type Message = u8;
//!
//!     fn on_open(&mut self, context: &mut Context<'_, (), u8>) -> Flow {
//!         context.set_deadline(Some(Duration::from_secs(10)));
//!         Flow::Keep
//!     }
//!
//!     fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), u8>) -> Consumed {
//!         context.broadcast(input[0]);
//!         Consumed::bytes(1)
//!     }
//!
//!     fn on_message(&mut self, byte: &u8, context: &mut Context<'_, (), u8>) -> Flow {
//!         context.write(&[*byte]);
//!         Flow::Keep
//!     }
//!
//!     fn on_deadline(&mut self, context: &mut Context<'_, (), u8>) -> Flow {
//!         context.write(b"bye");
//!         Flow::Finish
//!     }
//! }
//!
//! let mut sender = Driver::new(Trigger::Level, Chat, ());
//! sender.act(Act::Arrive(b"hi".to_vec()));
//! let sent = sender.take_requests().into_iter().map(|request| match request {
//!     Request::Broadcast(byte) => byte,
//!     other => panic!("no message for all: {other:?}"),
//! });
//!
//! let mut receiver = Driver::new(Trigger::Edge, Chat, ());
//! receiver.act(Act::Room(100));
//! receiver.message(&sent.collect::<Vec<_>>());
//! receiver.pass_time(Duration::from_secs(9));
//! assert_eq!(receiver.sent(), b"hi");
//! receiver.pass_time(Duration::from_secs(1));
//! assert_eq!(receiver.sent(), b"hibye");
//! ```

mod driver;
mod explore;
mod observed;
mod wire;

pub use driver::{Driver, Trigger};
pub use explore::{Exploration, explore};
pub use wire::Act;
