//! Hostile clients of an echo server, in numbers that are given, for a time that is given. Honest
//! clients are measured beside them, by `epoll-load`.
//!
//! A thread resets connections; another one has those that are kept. Nothing here waits without a deadline.

mod options;
mod resets;
mod streams;

use anyhow::Context;
use options::Options;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

fn main() -> ExitCode {
    let done = Options::parse(lexopt::Parser::from_env()).and_then(|options| match options {
        Some(options) => flood(&options),
        None => Ok(writeln!(io::stdout(), "{}", options::USAGE)?),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told that this could not be told.
            let _ = writeln!(io::stderr(), "flood: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Floods for as long as it should, and prints what was done.
fn flood(options: &Options) -> anyhow::Result<()> {
    raise_descriptors()?;
    thread::sleep(options.delay);
    let end = Instant::now() + options.duration;
    let (resets, kept) = thread::scope(|threads| {
        let resets = threads.spawn(|| resets::reset(options.target, options.resets, end));
        let kept = streams::keep(options, end);
        let resets = resets.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
        (resets, kept)
    });
    let (resets, kept) = (resets.context("resetting")?, kept.context("the kept connections")?);
    let did = json!({
        "duration_s": options.duration.as_secs_f64(),
        "resets": { "clients": options.resets, "connections": resets.connections,
            "refused": resets.refused },
        "mute": kept[0].json(),
        "drip": kept[1].json(),
        "burst": kept[2].json(),
    });
    writeln!(io::stdout(), "{did}").context("printing")
}

/// Raises the descriptor limit of this process to its hard limit: a shell's soft limit is too low.
fn raise_descriptors() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("failed to raise the limit of descriptors")
}
