//! The program `epoll-server`; all of it is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    epoll_server::cli::run()
}
