//! The program `epoll-load`, built where the tests of this package can find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    epoll_load::cli::run()
}
