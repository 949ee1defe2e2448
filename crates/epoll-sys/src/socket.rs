//! The socket calls that a server and its clients need. Sockets made here are `SOCK_NONBLOCK` and
//! `SOCK_CLOEXEC`, and no send raises `SIGPIPE`.
//!
//! Kernel facts: (a) accepted sockets inherit `TCP_NODELAY`, keepalive and buffer sizes from the
//! listener, but not `O_NONBLOCK`; (b) `accept` hands over network errors that were pending on the
//! new socket; (c) closing a socket with unread data resets the connection.
//!
//! Where the standard library has a call it is not repeated: an [`OwnedFd`] from here converts into
//! `TcpStream`, `TcpListener`, `UnixStream` and back.

use crate::errno;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The address family of a stream socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`: TCP over IPv4.
    Inet,
    /// `AF_INET6`: TCP over IPv6.
    Inet6,
    /// `AF_UNIX`.
    Unix,
}

impl Family {
    /// The family that `address` belongs to.
    #[must_use]
    pub fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::Inet,
            SocketAddr::V6(_) => Self::Inet6,
        }
    }

    fn as_rustix(self) -> AddressFamily {
        match self {
            Self::Inet => AddressFamily::INET,
            Self::Inet6 => AddressFamily::INET6,
            Self::Unix => AddressFamily::UNIX,
        }
    }
}

fn flags() -> SocketFlags {
    SocketFlags::NONBLOCK | SocketFlags::CLOEXEC
}

/// `socket(SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)`: a new stream socket,
/// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html).
///
/// # Errors
///
/// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. `EAFNOSUPPORT`: the
/// kernel lacks the family.
pub fn stream(family: Family) -> io::Result<OwnedFd> {
    Ok(net::socket_with(family.as_rustix(), SocketType::STREAM, flags(), None)?)
}

/// `socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)`: two connected sockets.
///
/// # Errors
///
/// `EMFILE` and `ENFILE`, as for [`stream`].
#[doc(alias = "socketpair")]
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags(), None)?)
}

/// `bind`: gives the socket an internet address; port 0 lets the kernel choose one.
///
/// # Errors
///
/// - [`AddrInUse`](io::ErrorKind::AddrInUse): another socket has it.
/// - [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): it is not an address of this machine.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): the port is privileged.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the socket has an address already.
pub fn bind(socket: impl AsFd, address: &SocketAddr) -> io::Result<()> {
    Ok(net::bind(socket, address)?)
}

/// `bind`: gives a UNIX socket a path, which is created.
///
/// # Errors
///
/// - [`AddrInUse`](io::ErrorKind::AddrInUse): something has that path.
/// - [`NotFound`](io::ErrorKind::NotFound): its directory does not exist.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): the directory is not writable.
/// - `ENAMETOOLONG`: the path is longer than 108 bytes.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the path holds a NUL byte, or the socket has an
///   address already.
pub fn bind_unix(socket: impl AsFd, path: &Path) -> io::Result<()> {
    Ok(net::bind(socket, &net::SocketAddrUnix::new(path)?)?)
}

/// `connect`: begins to connect to an internet address. `EINPROGRESS`, the usual answer, is a
/// success here; when the socket becomes writable, [`take_error`] tells how it went.
///
/// # Errors
///
/// - [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable): there is no way there.
/// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): an earlier attempt was refused. The
///   present one tells through [`take_error`].
pub fn connect(socket: impl AsFd, address: &SocketAddr) -> io::Result<()> {
    match net::connect(socket, address) {
        Err(Errno::INPROGRESS) => Ok(()),
        done => Ok(done?),
    }
}

/// `connect`: connects to the UNIX socket at `path`, at once or not at all.
///
/// # Errors
///
/// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): nobody listens there any more.
/// - [`NotFound`](io::ErrorKind::NotFound): there is nothing at the path.
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): the listener's queue is full.
/// - `ENAMETOOLONG`, as for [`bind_unix`].
pub fn connect_unix(socket: impl AsFd, path: &Path) -> io::Result<()> {
    Ok(net::connect(socket, &net::SocketAddrUnix::new(path)?)?)
}

/// `listen`: accepts connections from now on, with a queue of at most `backlog`, which the kernel
/// clamps to `net.core.somaxconn`.
///
/// # Errors
///
/// [`AddrInUse`](io::ErrorKind::AddrInUse): another socket listens on the port already.
pub fn listen(socket: impl AsFd, backlog: i32) -> io::Result<()> {
    Ok(net::listen(socket, backlog)?)
}

/// `accept4(SOCK_NONBLOCK | SOCK_CLOEXEC)`: takes one connection from the queue, with the address
/// of its peer, which a UNIX socket has not,
/// [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html).
///
/// # Errors
///
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): the queue is empty.
/// - [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) and the network errors of the new
///   socket: that connection is gone, the queue may hold others.
/// - `EMFILE`, `ENFILE`, `ENOBUFS`, [`OutOfMemory`](io::ErrorKind::OutOfMemory): no room now; the
///   connection stays in the queue.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the socket does not listen.
#[doc(alias = "accept4")]
#[inline]
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (socket, peer) = net::acceptfrom_with(listener, flags())?;
    Ok((socket, peer.and_then(|peer| SocketAddr::try_from(peer).ok())))
}

/// `recv`: reads what has arrived; zero is the end of the stream.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock): nothing has.
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset): the peer has reset the connection.
#[inline]
pub fn recv(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (len, _) = net::recv(socket, buffer, RecvFlags::empty())?;
    Ok(len)
}

/// `send(MSG_NOSIGNAL)`: writes as much as the socket takes.
///
/// # Errors
///
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): it takes nothing now.
/// - [`BrokenPipe`](io::ErrorKind::BrokenPipe): the connection is closed for writing; no `SIGPIPE`
///   is raised.
/// - [`ConnectionReset`](io::ErrorKind::ConnectionReset): the peer has reset the connection.
#[inline]
pub fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    net::send(socket, bytes, SendFlags::NOSIGNAL).map_err(errno::error)
}

/// `shutdown`: closes the reading half, the writing half (the peer reads to the end of the stream),
/// or both, [shutdown(2)](https://man7.org/linux/man-pages/man2/shutdown.2.html).
///
/// # Errors
///
/// [`NotConnected`](io::ErrorKind::NotConnected): the socket is not, or no longer.
pub fn shutdown(socket: impl AsFd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => net::Shutdown::Read,
        Shutdown::Write => net::Shutdown::Write,
        Shutdown::Both => net::Shutdown::Both,
    };
    Ok(net::shutdown(socket, how)?)
}

/// `getsockname`: the socket's own internet address; `None` for a UNIX socket.
///
/// # Errors
///
/// `ENOTSOCK`: the descriptor is of another kind.
#[doc(alias = "getsockname")]
pub fn local_address(socket: impl AsFd) -> io::Result<Option<SocketAddr>> {
    Ok(SocketAddr::try_from(net::getsockname(socket)?).ok())
}

/// `SO_ERROR`: takes the error that is pending on the socket.
///
/// # Errors
///
/// `ENOTSOCK`: the descriptor is of another kind.
#[doc(alias = "SO_ERROR")]
pub fn take_error(socket: impl AsFd) -> io::Result<Option<io::Error>> {
    Ok(sockopt::socket_error(socket)?.err().map(io::Error::from))
}

/// `SO_REUSEADDR`: binds although connections of an earlier listener are in `TIME_WAIT`.
///
/// # Errors
///
/// `ENOTSOCK`, as for every option here.
#[doc(alias = "SO_REUSEADDR")]
pub fn set_reuse_address(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseaddr(socket, on)?)
}

/// `SO_REUSEPORT`: lets several listeners of one user share an address, each with its own queue.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_REUSEPORT")]
pub fn set_reuse_port(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(socket, on)?)
}

/// `TCP_NODELAY`: sends small segments at once.
///
/// # Errors
///
/// `ENOTSOCK`, and `EOPNOTSUPP` for a socket that is not TCP.
#[doc(alias = "TCP_NODELAY")]
pub fn set_nodelay(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(socket, on)?)
}

/// `TCP_CONGESTION`: chooses the congestion control of the connection by its name, such as `cubic`,
/// [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html).
///
/// # Errors
///
/// - [`NotFound`](io::ErrorKind::NotFound): the kernel has none of that name.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the name is empty.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it is reserved to privileged users.
/// - `ENOTSOCK`, and `EOPNOTSUPP` for a socket that is not TCP.
#[doc(alias = "TCP_CONGESTION")]
pub fn set_congestion(socket: impl AsFd, name: &str) -> io::Result<()> {
    Ok(sockopt::set_tcp_congestion(socket, name)?)
}

/// `SO_KEEPALIVE` and `TCP_KEEPIDLE`: probes a silent peer after `idle`, in whole seconds rounded
/// up; `None` turns it off.
///
/// # Errors
///
/// `ENOTSOCK`; [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 32 767 seconds.
#[doc(alias = "SO_KEEPALIVE")]
pub fn set_keepalive(socket: impl AsFd, idle: Option<Duration>) -> io::Result<()> {
    sockopt::set_socket_keepalive(&socket, idle.is_some())?;
    if let Some(idle) = idle {
        let rounded_up = idle.as_secs().saturating_add(u64::from(idle.subsec_nanos() > 0));
        sockopt::set_tcp_keepidle(&socket, Duration::from_secs(rounded_up.max(1)))?;
    }
    Ok(())
}

/// `SO_RCVBUF`: asks for a receive buffer of `bytes`, which the kernel doubles and clamps.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_RCVBUF")]
pub fn set_receive_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(socket, bytes)?)
}

/// `SO_SNDBUF`: asks for a send buffer of `bytes`, which the kernel doubles and clamps.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_SNDBUF")]
pub fn set_send_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(socket, bytes)?)
}

/// `SO_OOBINLINE`: leaves urgent data among the other bytes.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_OOBINLINE")]
pub fn set_oob_inline(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_oobinline(socket, on)?)
}

/// `SO_LINGER`: with zero, closing discards what was not sent and resets the connection; `None` is
/// the usual close.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_LINGER")]
pub fn set_linger(socket: impl AsFd, linger: Option<Duration>) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, linger)?)
}

/// `SIOCOUTQ`: how many bytes were written and have not been taken by the peer: for TCP not
/// acknowledged, for a UNIX socket what they occupy in the kernel,
/// [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html).
///
/// # Errors
///
/// `ENOTTY`: the descriptor has no such count. [`InvalidInput`](io::ErrorKind::InvalidInput): the
/// socket listens.
#[doc(alias = "SIOCOUTQ")]
#[doc(alias = "TIOCOUTQ")]
pub fn unsent(socket: impl AsFd) -> io::Result<u64> {
    #[allow(clippy::cast_possible_truncation, reason = "an opcode has 32 bits")]
    #[allow(clippy::unnecessary_cast, reason = "the constant's type differs between targets")]
    const SIOCOUTQ: rustix::ioctl::Opcode = libc::TIOCOUTQ as rustix::ioctl::Opcode;
    // SAFETY: SIOCOUTQ writes an `int`, which is the type given here, and any value is a valid one.
    let getter = unsafe { rustix::ioctl::Getter::<SIOCOUTQ, libc::c_int>::new() };
    // SAFETY: the operation has the opcode that it was made for; on descriptors that have no such
    // operation the kernel refuses it.
    let bytes = unsafe { rustix::ioctl::ioctl(socket, getter) }?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// `FIONREAD`: how many bytes have arrived and were not read.
///
/// # Errors
///
/// `ENOTTY`: the descriptor has no such count.
#[doc(alias = "FIONREAD")]
pub fn unread(socket: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(socket)?)
}
