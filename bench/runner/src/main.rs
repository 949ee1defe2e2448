//! The benchmark runner: servers and programs are measured round by round, beside each other, and a
//! report is written. `cargo xtask bench` calls it.

mod build;
mod cli;
mod run;

mod suites;
// The kind of suite that is a program of its own, and sentences that suites share.
mod micro;
mod notes;
mod suite;

mod contestants;
mod load;
mod server;

mod raw;
mod report;

mod results;
mod rounds;

mod context;
mod plan;
mod progress;

mod conditions;
mod format;
mod interrupt;
mod line;
mod machine;
mod metric;
mod network;
mod paths;
mod print;
mod process;
mod stats;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
