//! The program `dispatch`.

use epoll_kit_bench_micro::{dispatch, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(dispatch::measure)
}
