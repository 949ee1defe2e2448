//! The program `epoll-server`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    epoll_server::cli::run()
}
