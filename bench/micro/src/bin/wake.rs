//! The program `wake`.

use epoll_kit_bench_micro::{run, wake};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(wake::measure)
}
