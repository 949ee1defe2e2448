//! TLS without sockets: the test kit drives it, and a client of rustls is its peer.

mod ending;
mod garbage;
mod handshakes;
mod harness;
mod outgoing;
mod script;
mod streaming;
