//! The echo service ([RFC 862](https://www.rfc-editor.org/rfc/rfc862)) as a protocol of
//! [`epoll_connection`]: it sends back its input, up to a line that equals the quit word, if there is one.
//!
//! Not here: sending and receiving, which `epoll-connection` does; accepting, timeouts and threads, which
//! `epoll-server` has.
//!
//! # Examples
//!
//! ```
//! use epoll_connection::{Clocks, CloseReason, Connection, Limits, Step, ThreadState};
//! use epoll_echo::{Echo, EchoOptions};
//! use epoll_reactor::net::Stream;
//! use epoll_reactor::{Interest, Reactor, Readiness, Ready, Watch};
//! use std::io::{Read, Write};
//! use std::net::Shutdown;
//!
//! let (ours, mut theirs) = Stream::pair()?;
//! let options = EchoOptions { quit_word: Some("quit".parse()?), ..EchoOptions::default() };
//! let local = options.into_local();
//! let mut thread = ThreadState::new(0, local, Limits::default(), Clocks::default());
//! let mut reactor = Reactor::<Connection<Echo, Stream>>::new()?;
//! let connection = Connection::new(Echo::default(), ours);
//! reactor.insert(connection, Watch::edge(Interest::IN | Interest::OUT | Interest::RDHUP))?;
//!
//! let message = b"hello\nquit\n";
//! assert_eq!(theirs.write(message)?, message.len());
//! theirs.shutdown(Shutdown::Write)?;
//!
//! while !reactor.is_empty() {
//!     reactor.wait(None)?;
//!     while let Some(ready) = reactor.next_ready() {
//!         let Ready::Owned { token, source, readiness } = ready else { continue };
//!         match source.step(readiness, token, &mut thread) {
//!             // With an edge trigger the interest never changes.
//!             Step::Wait | Step::Changed => {}
//!             // The limits do not allow splicing.
//!             Step::Yield | Step::Splice => drop(reactor.revisit(token, readiness | Readiness::IN)),
//!             Step::Forward => unreachable!("an echo forwards nothing"),
//!             Step::Done(reason) => {
//!                 assert_eq!(reason, CloseReason::Finished);
//!                 reactor.close(token);
//!             }
//!         }
//!     }
//! }
//!
//! let mut echo = Vec::new();
//! theirs.read_to_end(&mut echo)?;
//! assert_eq!(echo, message);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod datagrams;
mod echo;
mod options;
mod quit;

pub use datagrams::{DatagramFilter, Verdict};
pub use echo::Echo;
pub use options::EchoOptions;
pub use quit::{QuitWord, QuitWordError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
