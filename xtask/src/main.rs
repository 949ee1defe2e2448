//! `cargo xtask`: builds, tests, lints, packs and measures the workspace. It runs the other packages
//! and links none of them.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod cli;
mod dist;
mod left_out;
mod lessons;
mod lint;
mod package;
mod say;
mod step;
mod test;
mod usage;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
