//! The example `resp`: as a protocol without sockets, and as a server with the clients of redis.
//!
//! `EPOLL_KIT_RESP_SECONDS` says how long the random streams of `streams.rs` go on.

mod answers;
mod channels;
mod clients;
mod expiry;
mod malformed;
mod model;
#[path = "../../examples/resp/protocol/mod.rs"]
mod protocol;
mod servers;
mod splits;
mod streams;
mod support;
mod table;
