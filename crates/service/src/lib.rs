//! Serves any protocol on epoll: threads, limits, timeouts, messages and a graceful drain.
//!
//! A [`Protocol`](epoll_connection::Protocol) turns the input of a connection into output. A [`Service`] makes a
//! protocol for each connection; [`Each`] does so with a closure. A [`Server`] listens at the addresses of its
//! [`Config`] and serves them until a signal begins a drain, and until this drain is over. A [`Handle`] sends
//! messages to connections from other threads.
//!
//! Protocols need no lock, because only one thread at a time handles a connection. A protocol that blocks its
//! thread blocks all connections of that thread: do long work in other threads, as the example `jobs` does.
//!
//! The feature `metrics`, which is off by default, adds live metrics and health checks over HTTP.
//!
//! Not here: parsers of protocols, and the destination of logs.
//!
//! # Examples
//!
//! A protocol with state for each thread, a counter, and a peer of its own:
//!
//! ```
//! use epoll_connection::{Consumed, Context, Protocol};
//! use epoll_service::{Config, Each, Server, Signal, Signals};
//! use std::io::{Read, Write};
//! use std::net::{Shutdown, TcpStream};
//!
//! /// Answers every byte with the number of bytes that its thread has seen.
//! struct Count;
//!
//! impl Protocol for Count {
//!     type Local = u64;
//!     type Message = ();
//!
//!     fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, u64, ()>) -> Consumed {
//!         *context.local() += 1;
//!         let answer = format!("{}\n", context.local());
//!         context.write(answer.as_bytes());
//!         Consumed::bytes(1)
//!     }
//! }
//!
//! // First of all, while there is one thread.
//! let signals = Signals::block([Signal::TERM, Signal::INT])?;
//! let server = Server::bind(Each(|| Count), &Config::at(["127.0.0.1:0".parse()?]))?;
//! let address = server.addresses()[0].inet().expect("an internet address");
//!
//! let client = std::thread::spawn(move || -> std::io::Result<String> {
//!     let mut stream = TcpStream::connect(address)?;
//!     stream.write_all(b"abc")?;
//!     stream.shutdown(Shutdown::Write)?;
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?;
//!     // What otherwise comes from outside.
//!     std::process::Command::new("sh").args(["-c", "kill $PPID"]).status()?;
//!     Ok(answer)
//! });
//! let ended = server.run(&signals, || println!("listening on {address}"))?;
//! assert_eq!(client.join().unwrap()?, "1\n2\n3\n");
//! assert_eq!(ended.cut, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod error;
mod inherited;
mod mode;
mod restart;
mod server;
mod service;
mod supervisor;

mod accept_rate;
mod acceptor;
mod admission;
mod client;
mod control;
mod cores;
mod drain;
mod handler;
mod handover;
mod headers;
mod listening;
mod mail;
mod measures;
#[cfg(feature = "metrics")]
mod metrics;
mod panics;
mod pass;
mod proxy_header;
mod refusals;
mod resources;
mod signals;
mod stats;
mod store;
mod successor;
mod threads;
mod timeouts;
mod timing;

#[cfg(feature = "metrics")]
pub use config::Metrics;
pub use config::{Accept, Config, ProxyProtocol, THREADS_MAX, Timeouts};
pub use error::{Error, Setting};
pub use inherited::Inherited;
pub use mail::Handle;
pub use mode::Mode;
pub use restart::Restart;
pub use server::{Ended, Server};
pub use service::{Each, Local, Message, Service};
pub use signals::exit_status;
pub use stats::{COUNTERS_TARGET, Stats, ThreadStats};
pub use supervisor::Supervisor;

pub use epoll_connection;
pub use epoll_reactor::net::{Address, Peer};
pub use epoll_shutdown::{DrainOutcome, Signal, Signals};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
