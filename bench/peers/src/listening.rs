//! Listeners, and what may go wrong with what they accept.
//!
//! Kernel facts: (a) accepted sockets inherit `TCP_NODELAY` from the listener, but not
//! `O_NONBLOCK`; (b) `accept` hands over network errors of the new socket, which say nothing about
//! the listener; (c) listeners of one address share its connections if all have `SO_REUSEPORT`.

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};

/// The kernel clamps it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Opens a listener that does not block, and does not delay small packets of its connections.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    listen(socket(address)?, address)
}

/// `count` listeners on one address.
pub(crate) fn bind_shared(
    address: SocketAddr,
    count: NonZeroUsize,
) -> io::Result<Vec<TcpListener>> {
    if count == NonZeroUsize::MIN {
        return Ok(vec![bind(address)?]);
    }
    let mut address = address;
    let mut listeners = Vec::new();
    for _ in 0..count.get() {
        let socket = socket(address)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        let listener = listen(socket, address)?;
        // The kernel chooses one port for all of them.
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

fn listen(socket: OwnedFd, address: SocketAddr) -> io::Result<TcpListener> {
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Returns the next connection, which does not block; `None` when the queue is empty.
///
/// # Errors
///
/// What leaves the listener without hope: the lack of descriptors or memory. A server that is
/// measured had better end then than go on with fewer connections than its client believes.
#[inline]
pub fn accept(listener: impl AsFd) -> io::Result<Option<TcpStream>> {
    loop {
        match net::accept_with(&listener, FLAGS) {
            Ok(socket) => return Ok(Some(socket.into())),
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) if is_passing_errno(errno) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Returns whether an error of `accept` concerns that connection alone, so that accepting may go on.
#[must_use]
pub fn is_passing(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(is_passing_errno)
}

fn is_passing_errno(errno: Errno) -> bool {
    [
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
    ]
    .contains(&errno)
}
