//! Support for the tests: the server as a process, its clients, and the programs it runs under.
//! Every wait has a deadline, and every process that is started here ends with its test.

mod child;
mod client;
mod crowd;
mod lines;
#[macro_use]
mod mode;
mod process;
mod server;
mod stats;
mod streaming;
mod tools;
mod words;

pub(crate) use child::{Guard, Output};
pub(crate) use client::{
    await_input, client, client_from, converse, ends, is_cut_off, is_echoed, poll_input,
    small_client, uninterrupted,
};
pub(crate) use crowd::{Crowd, alone};
pub(crate) use lines::Lines;
pub(crate) use mode::Mode;
pub(crate) use process::{Process, inherited};
pub(crate) use server::{Launch, Server};
pub(crate) use stats::{Stats, closed};
pub(crate) use streaming::{Outcome, Sends, Streaming};
pub(crate) use tools::{Tool, tool};
pub(crate) use words::exchange_words;

use std::time::Duration;

/// The longest wait for something that must happen. Only a test that fails waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The time for which a test checks that something does not happen.
pub(crate) const OBSERVATION: Duration = Duration::from_millis(300);
