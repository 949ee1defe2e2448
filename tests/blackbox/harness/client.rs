//! Clients: blocking streams with a time limit on every read and write.

use super::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

#[track_caller]
pub(crate) fn client(address: SocketAddr) -> TcpStream {
    with_limits(TcpStream::connect(address).expect("a connection"))
}

/// A client with buffers as small as the kernel makes them, so that little is under way.
#[track_caller]
pub(crate) fn small_client(address: SocketAddr) -> TcpStream {
    // No server that starts meanwhile may inherit it.
    let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .expect("a socket");
    // Before it connects: the window is agreed upon then.
    sockopt::set_socket_recv_buffer_size(&fd, 1).expect("a receive buffer");
    sockopt::set_socket_send_buffer_size(&fd, 1).expect("a send buffer");
    connect(&fd, &address).expect("a connection");
    with_limits(fd.into())
}

/// A client with this address of its own.
#[track_caller]
pub(crate) fn client_from(own: IpAddr, server: SocketAddr) -> TcpStream {
    let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .expect("a socket");
    bind(&fd, &SocketAddr::new(own, 0)).expect("an address");
    connect(&fd, &server).expect("a connection");
    with_limits(fd.into())
}

#[track_caller]
fn with_limits(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Sends a message and reads it back.
#[track_caller]
pub(crate) fn converse(stream: &mut (impl Read + Write), message: &[u8]) {
    stream.write_all(message).expect("a message that is taken");
    is_echoed(stream, message);
}

/// Reads these bytes.
#[track_caller]
pub(crate) fn is_echoed(stream: &mut impl Read, message: &[u8]) {
    let mut echo = vec![0; message.len()];
    stream.read_exact(&mut echo).expect("an echo");
    // Not assert_eq: nobody wants to see thousands of numbers.
    assert!(echo == message, "another echo than what was sent");
}

/// Reads the end of the stream, and nothing before it.
#[track_caller]
pub(crate) fn ends(stream: &mut impl Read) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an end");
    assert!(rest.is_empty(), "{} bytes before the end", rest.len());
}

/// Makes a call once more as long as it is interrupted: one with a timeout is when the process was stopped and goes on,
/// signal(7).
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Returns whether the next read reports that the server has closed or reset the connection.
#[track_caller]
pub(crate) fn is_cut_off(stream: &mut impl Read) -> bool {
    match uninterrupted(|| stream.read(&mut [0])) {
        Ok(len) => len == 0,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) => panic!("neither data nor an end: {error}"),
    }
}

/// Returns for each of `sources` whether it can be read, after at most `timeout`.
#[track_caller]
pub(crate) fn poll_input(sources: &[impl AsFd], timeout: Duration) -> Vec<bool> {
    let mut fds: Vec<_> = sources.iter().map(|source| PollFd::new(source, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(timeout).expect("a timeout that fits");
    uninterrupted(|| Ok(poll(&mut fds, Some(&timeout))?)).expect("poll");
    fds.iter().map(|fd| !fd.revents().is_empty()).collect()
}

/// Waits until there is something to read, or the end.
#[track_caller]
pub(crate) fn await_input(source: impl AsFd) {
    assert!(poll_input(&[source], PATIENCE)[0], "nothing to read within {PATIENCE:?}");
}
