//! The program `wake`.

#![forbid(unsafe_code)]

use epoll_kit_bench_micro::{run, wake};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(wake::measure)
}
