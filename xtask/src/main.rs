//! `cargo xtask`: builds, tests and lints the workspace. It runs the other packages and links none
//! of them.

#![forbid(unsafe_code)]

mod build;
mod cli;
mod left_out;
mod lint;
mod step;
mod test;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
