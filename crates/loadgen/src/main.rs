//! The program `epoll-load`; all of it is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    epoll_load::cli::run()
}
