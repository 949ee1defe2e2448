//! The program `select-poll-epoll`.

use epoll_kit_bench_micro::{run, waiting};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(waiting::measure)
}
