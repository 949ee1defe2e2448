//! The standard library alone: a thread a connection, blocking, each with a buffer of its own.

use anyhow::Context;
use epoll_kit_bench_peers::{BUFFER_LEN, Options, Threading, is_passing, run};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;

/// The buffer is not on the stack, and little else is.
const STACK_LEN: usize = 64 * 1024;

fn main() -> ExitCode {
    run(Threading::Fixed, serve)
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = options.listen()?;
    listener.set_nonblocking(false)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                thread::Builder::new()
                    .stack_size(STACK_LEN)
                    .spawn(move || echo(&stream))
                    .context("failed to start a thread")?;
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error).context("failed to accept"),
        }
    }
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len])?;
    }
}
