//! The program `epoll-load`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    epoll_load::cli::run()
}
