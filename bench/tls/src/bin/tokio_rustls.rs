//! Echo over TLS on tokio-rustls: a task a connection, on a single-threaded runtime.
//!
//! A task that waits for input owns a buffer, because `read` of a TLS stream needs one to decrypt into. Rustls has
//! buffers of its own besides.

use anyhow::Context;
use epoll_kit_bench_tls::Arguments;
use epoll_tls::rustls::crypto::ring;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;

/// The largest number of bytes that one read can bring: those of a record.
const BUFFER_LEN: usize = 16 * 1024;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::read()?;
    let address = arguments.address;
    let acceptor = TlsAcceptor::from(Arc::new(arguments.settings(ring::default_provider())?));
    Builder::new_current_thread().enable_io().build()?.block_on(accept(address, acceptor))
}

async fn accept(address: SocketAddr, acceptor: TlsAcceptor) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.context("failed to listen")?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(echo(stream, acceptor.clone()))),
            // The client has gone already.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error).context("failed to accept"),
        }
    }
}

async fn echo(stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..len]).await?;
        stream.flush().await?;
    }
}
