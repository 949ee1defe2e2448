//! monoio on io_uring: a task a connection, all on one thread.
//!
//! The kernel writes into a buffer while a read waits, so every task has one of its own.

use anyhow::Context;
use epoll_kit_bench_peers::{BUFFER_LEN, Options, Threading, is_passing, run};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use std::io;
use std::process::ExitCode;

/// Requests that fit between two turns.
const ENTRIES: u32 = 4096;

fn main() -> ExitCode {
    run(Threading::Fixed, |options| {
        let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(ENTRIES)
            .build()
            .context("this kernel or its sandbox does not permit io_uring")?;
        runtime.block_on(accept(options))
    })
}

async fn accept(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(options.listen()?)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(monoio::spawn(echo(stream))),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error).context("failed to accept"),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_LEN);
    loop {
        let (read, bytes) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let (written, bytes) = stream.write_all(bytes).await;
        written?;
        buffer = bytes;
    }
}
