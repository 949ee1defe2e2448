//! tokio: a task a connection, on its single-threaded runtime or on the one that shares work.
//!
//! Reading and writing are one poll, with nothing awaited in between, so all tasks of a thread share
//! one buffer. `poll_read` knows that a read that brings less than it could is the last one.

use anyhow::Context as _;
use epoll_kit_bench_peers::{BUFFER_LEN, Options, Threading, is_passing, run};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_LEN].into());
}

fn main() -> ExitCode {
    run(Threading::Chosen, serve)
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = options.listen()?;
    let threads = options.threads.get();
    if threads == 1 {
        return Builder::new_current_thread().enable_io().build()?.block_on(accept(listener));
    }
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_io().build()?;
    // On one of the workers: this thread is none of them.
    runtime.block_on(runtime.spawn(accept(listener)))?
}

async fn accept(listener: std::net::TcpListener) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(echo(stream))),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error).context("failed to accept"),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let exchanged = poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| exchange(&mut stream, context, buffer))
        });
        match exchanged.await? {
            Some(rest) if rest.is_empty() => {}
            Some(rest) => stream.write_all(&rest).await?,
            None => return Ok(()),
        }
    }
}

/// Reads once and sends that. What the socket does not take is handed out; an empty vector owns no
/// memory. `None`: the peer has sent its end.
fn exchange(
    stream: &mut TcpStream,
    context: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<Option<Vec<u8>>>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
    let bytes = buffer.filled();
    if bytes.is_empty() {
        return Poll::Ready(Ok(None));
    }
    let sent = match stream.try_write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        done => done?,
    };
    Poll::Ready(Ok(Some(bytes[sent..].to_vec())))
}
