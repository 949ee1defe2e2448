//! The benchmark runner: servers and programs are measured round by round, beside each other, and a
//! report is written. `cargo xtask bench` builds what it needs and calls it.

#![forbid(unsafe_code)]

mod cli;

mod bench;
mod suites;

mod contestants;
mod load;
mod rounds;
mod server;
mod stats;

mod plan;
mod progress;
mod raw;
mod report;

mod interrupt;
mod machine;
mod network;
mod process;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
