//! The program `timers`.

use epoll_kit_bench_micro::{run, timers};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(timers::measure)
}
