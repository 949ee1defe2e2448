//! Live metrics: a small HTTP server of its own thread, which reads what the threads of the service count.
//! Invariant: no thread of the service waits for it, or does anything for its requests.

pub(crate) mod endpoint;
mod http;
pub(crate) mod page;
mod process;
mod text;
