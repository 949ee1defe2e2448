//! The program `epoll-server`, built where the tests of this package can find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    epoll_server::cli::run()
}
