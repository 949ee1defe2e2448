//! async-io on smol's executor: a task a connection, all on one thread.
//!
//! Its sources are one-shot. A task asks to be told before it reads, so that no read is spent on
//! finding that there is nothing; between reading and writing nothing is awaited, so all tasks share
//! one buffer.

use anyhow::Context;
use async_executor::LocalExecutor;
use async_io::{Async, block_on};
use epoll_kit_bench_peers::{BUFFER_LEN, Options, Threading, Unsent, accept, run};
use std::cell::RefCell;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(Threading::Fixed, serve)
}

enum Step {
    /// Everything that was read is sent.
    Readable,
    /// Something is to be sent.
    Writable,
    Close,
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = Async::new_nonblocking(options.listen()?)?;
    let buffer = RefCell::new(vec![0; BUFFER_LEN]);
    let executor = LocalExecutor::new();
    block_on(executor.run(accept_all(&listener, &executor, &buffer))).context("failed to accept")
}

async fn accept_all<'a>(
    listener: &Async<TcpListener>,
    executor: &LocalExecutor<'a>,
    buffer: &'a RefCell<Vec<u8>>,
) -> io::Result<()> {
    loop {
        listener.readable().await?;
        while let Some(stream) = accept(listener)? {
            let stream = Async::new_nonblocking(stream)?;
            executor.spawn(echo(stream, buffer)).detach();
        }
    }
}

async fn echo(stream: Async<TcpStream>, buffer: &RefCell<Vec<u8>>) -> io::Result<()> {
    let mut unsent = Unsent::default();
    stream.readable().await?;
    loop {
        let done = step(stream.get_ref(), &mut unsent, &mut buffer.borrow_mut())?;
        match done {
            Step::Readable => stream.readable().await?,
            Step::Writable => stream.writable().await?,
            Step::Close => return Ok(()),
        }
    }
}

fn step(mut stream: &TcpStream, unsent: &mut Unsent, buffer: &mut [u8]) -> io::Result<Step> {
    if !unsent.is_empty() && !unsent.flush(stream)? {
        return Ok(Step::Writable);
    }
    let len = match stream.read(buffer) {
        Ok(0) => return Ok(Step::Close),
        Ok(len) => len,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Readable),
        Err(error) => return Err(error),
    };
    if !unsent.send(stream, &buffer[..len])? {
        return Ok(Step::Writable);
    }
    // More may be there, but the other tasks come first.
    Ok(Step::Readable)
}
