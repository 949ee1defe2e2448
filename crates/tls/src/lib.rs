//! TLS 1.2 and 1.3 around any [`Protocol`](epoll_connection::Protocol), by rustls.
//!
//! A [`Tls`] is a protocol that decrypts the input of an inner protocol and encrypts its output. A
//! [`TlsConfig`] makes one for each connection that is accepted, a [`TlsClientConfig`] for each outgoing one. The inner
//! protocol is opened when the handshake is done, and works as without TLS.
//!
//! Not here: sockets, threads, timers. The time limit of the handshake is the connection's deadline until the
//! handshake is done.
//!
//! # Examples
//!
//! ```
//! use epoll_connection::test_kit::{Act, Driver, Trigger};
//! use epoll_connection::{CloseReason, Consumed, Context, Protocol};
//! use epoll_tls::{Identity, TlsConfig, TlsLocal};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     type Local = ();
//!     type Message = ();
//!
//!     fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
//!         Consumed::pass(input.len())
//!     }
//! }
//!
//! let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
//! let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())?;
//! let tls = TlsConfig::builder(identity).alpn(["echo"]).build()?;
//!
//! // Bytes that are no TLS record are answered with an alert.
//! let mut driver = Driver::new(Trigger::Level, tls.accept(Echo), TlsLocal::new(()));
//! driver.act(Act::Room(100));
//! driver.act(Act::Arrive(b"hello".to_vec()));
//! assert_eq!(driver.sent()[0], 21);
//! driver.act(Act::Fin);
//! assert_eq!(driver.closed(), Some(CloseReason::Finished));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod error;
mod session;
mod tls;

pub use config::{ClientCertificates, Identity, TlsClientConfig, TlsConfig, TlsConfigBuilder};
pub use error::ConfigError;
pub use rustls;
pub use tls::{Handshake, Tls, TlsLocal};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
