//! The socket calls that a server and its clients need. Sockets made here are `SOCK_NONBLOCK` and
//! `SOCK_CLOEXEC`, and no send raises `SIGPIPE`.
//!
//! Kernel facts: (a) accepted sockets inherit the options of a TCP listener, but not `O_NONBLOCK`;
//! (b) `accept` hands over network errors that were pending on the new socket; (c) closing a socket with
//! unread data resets the connection; (d) a TCP socket that connects to a free port of this machine can
//! be given that very port, and is then connected to itself.
//!
//! An [`OwnedFd`] from here converts into `TcpStream`, `TcpListener`, `UdpSocket`, `UnixStream`,
//! `UnixListener` or `UnixDatagram`, and back.

mod address;
mod address_error;
mod batches;
mod datagrams;
mod options;
mod packets;
mod stream_io;
mod unix_address;
mod zone;

pub use address::Address;
pub use address_error::AddressParseError;
pub use batches::{ReceivedDatagram, RecvBatch, SendBatch};
pub use datagrams::{
    Received, datagram, datagram_pair, recv_datagram, recv_from, send_datagram, send_to,
};
pub use options::{
    Keepalive, bind_to_device, family, is_datagram, is_listening, is_stream,
    set_bind_address_no_port, set_broadcast, set_congestion, set_defer_accept, set_fast_open,
    set_gro, set_ipv6_only, set_keepalive, set_linger, set_nodelay, set_oob_inline,
    set_receive_buffer, set_reuse_address, set_reuse_port, set_send_buffer, set_user_timeout,
    take_error,
};
pub use packets::{PACKET_DESCRIPTORS_MAX, packet_pair, recv_packet, send_packet};
pub use stream_io::{
    peek, recv, recv_urgent, recv_vectored, send, send_urgent, send_vectored, unread, unsent,
};
pub use unix_address::UnixAddress;
pub use zone::{interface_index, interface_name};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`: IPv4.
    Inet,
    /// `AF_INET6`: IPv6.
    Inet6,
    /// `AF_UNIX`.
    Unix,
}

impl Family {
    /// Returns the family that `address` belongs to.
    #[must_use]
    pub fn of(address: impl Into<Address>) -> Self {
        match address.into() {
            Address::Inet(SocketAddr::V4(_)) => Self::Inet,
            Address::Inet(SocketAddr::V6(_)) => Self::Inet6,
            Address::Unix(_) => Self::Unix,
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

/// `socket(SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)`: returns a new stream socket,
/// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html).
///
/// # Errors
///
/// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. `EAFNOSUPPORT`: the
/// kernel lacks the family.
pub fn stream(family: Family) -> io::Result<OwnedFd> {
    Ok(net::socket_with(family.as_rustix(), SocketType::STREAM, flags(), None)?)
}

/// `socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)`: returns two connected sockets,
/// [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html).
///
/// # Errors
///
/// `EMFILE` and `ENFILE`, as for [`stream`].
#[doc(alias = "socketpair")]
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags(), None)?)
}

/// `bind`: gives the socket an address. Port 0 lets the kernel choose a port; a UNIX path is created,
/// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html).
///
/// # Errors
///
/// - [`AddrInUse`](io::ErrorKind::AddrInUse): another socket has the address, or something has the path.
/// - [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): it is not an address of this machine.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): the port is privileged, or the directory of
///   the path is not writable.
/// - [`NotFound`](io::ErrorKind::NotFound): the directory of the path does not exist.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the socket has an address already, or belongs to
///   another family.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket::{self, Address, Family};
/// use std::net::{Ipv4Addr, SocketAddr};
///
/// let listener = socket::stream(Family::Inet)?;
/// socket::bind(&listener, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
/// socket::listen(&listener, 16)?;
/// let address = socket::local_address(&listener)?;
/// assert_ne!(address.inet().map(|inet| inet.port()), Some(0));
///
/// let client = socket::stream(Family::Inet)?;
/// socket::connect(&client, address)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn bind(socket: impl AsFd, address: impl Into<Address>) -> io::Result<()> {
    let bound = match address.into() {
        Address::Inet(inet) => net::bind(socket, &inet),
        Address::Unix(unix) => net::bind(socket, &unix.to_rustix()?),
    };
    Ok(bound?)
}

/// `connect`: begins to connect to an address. `EINPROGRESS`, the usual answer for TCP, is a success
/// here; when the socket becomes writable, [`is_connected`] tells how it went. A UNIX socket connects at
/// once or not at all, and a datagram socket only notes the address,
/// [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html).
///
/// # Errors
///
/// - [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable): there is no way there.
/// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): an earlier attempt was refused, or nobody
///   listens at the UNIX address. A TCP attempt that begins tells through [`is_connected`].
/// - [`NotFound`](io::ErrorKind::NotFound): there is nothing at the path.
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): the queue of a UNIX listener is full; or, for TCP, this
///   machine has no port left.
pub fn connect(socket: impl AsFd, address: impl Into<Address>) -> io::Result<()> {
    let connected = match address.into() {
        Address::Inet(inet) => net::connect(socket, &inet),
        Address::Unix(unix) => net::connect(socket, &unix.to_rustix()?),
    };
    match connected {
        Err(Errno::INPROGRESS) => Ok(()),
        done => Ok(done?),
    }
}

/// `SO_ERROR` and `getpeername`: tells whether a connect has succeeded (`true`) or is still under way
/// (`false`).
///
/// # Errors
///
/// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): nobody listens there, or the socket was
///   connected to itself. That happens when a client connects to a free port from which the kernel also
///   takes the client's own, and would look like a server that echoes.
/// - [`TimedOut`](io::ErrorKind::TimedOut), [`HostUnreachable`](io::ErrorKind::HostUnreachable) and
///   others: what the network answered. The error is taken: the next call says `NotConnected`.
/// - [`NotConnected`](io::ErrorKind::NotConnected): the socket does not connect, or no longer.
/// - `ENOTSOCK`: the descriptor is of another kind.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket;
///
/// let (ours, _theirs) = socket::pair()?;
/// assert!(socket::is_connected(&ours)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "getpeername")]
pub fn is_connected(socket: impl AsFd) -> io::Result<bool> {
    if let Some(error) = take_error(&socket)? {
        return Err(error);
    }
    let peer = match net::getpeername(&socket) {
        Ok(peer) => Address::from_rustix(peer.as_ref()),
        Err(Errno::NOTCONN) => return is_connecting(socket).map(|()| false),
        Err(errno) => return Err(errno.into()),
    };
    if peer.inet().is_some() && local_address(&socket)? == peer {
        let what = "nobody listens there: the socket has connected to itself";
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, what));
    }
    Ok(true)
}

/// An attempt that is over has hung up, also when its error was taken before.
fn is_connecting(socket: impl AsFd) -> io::Result<()> {
    if !has_hung_up(&socket)? {
        return Ok(());
    }
    // It may have failed since the first look.
    Err(take_error(&socket)?.unwrap_or_else(|| Errno::NOTCONN.into()))
}

/// `poll(POLLHUP)`: tells whether a connection is closed in both directions, or a listener was shut down.
/// `accept` says `WouldBlock` for a UNIX listener that was,
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html).
///
/// # Errors
///
/// [`OutOfMemory`](io::ErrorKind::OutOfMemory): the kernel has no memory for the call.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket;
///
/// let (ours, theirs) = socket::pair()?;
/// assert!(!socket::has_hung_up(&ours)?);
/// drop(theirs);
/// assert!(socket::has_hung_up(&ours)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "POLLHUP")]
pub fn has_hung_up(socket: impl AsFd) -> io::Result<bool> {
    // It is reported unasked.
    Ok(poll_now(socket, PollFlags::empty())?.contains(PollFlags::HUP))
}

/// `poll(POLLIN)`: tells whether a read would not block because there is input, an end or an error, or whether
/// the queue of a listener holds a connection, or was shut down. While descriptors are short, `accept` does not say
/// so, because it takes one first,
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html).
///
/// # Errors
///
/// [`OutOfMemory`](io::ErrorKind::OutOfMemory): the kernel has no memory for the call.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket;
///
/// let (ours, theirs) = socket::pair()?;
/// assert!(!socket::is_readable(&ours)?);
/// socket::send(&theirs, b"hello")?;
/// assert!(socket::is_readable(&ours)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "POLLIN")]
pub fn is_readable(socket: impl AsFd) -> io::Result<bool> {
    // Of a TCP listener that was shut down only the end is reported.
    let ready = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
    Ok(poll_now(socket, PollFlags::IN)?.intersects(ready))
}

fn poll_now(socket: impl AsFd, flags: PollFlags) -> io::Result<PollFlags> {
    let mut polled = [PollFd::new(&socket, flags)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(polled[0].revents())
}

/// `listen`: accepts connections from now on, with a queue of at most `backlog`, which the kernel
/// clamps to `net.core.somaxconn`, [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html).
///
/// # Errors
///
/// [`AddrInUse`](io::ErrorKind::AddrInUse): another socket listens on the port already.
pub fn listen(socket: impl AsFd, backlog: i32) -> io::Result<()> {
    Ok(net::listen(socket, backlog)?)
}

/// `accept4(SOCK_NONBLOCK | SOCK_CLOEXEC)`: takes one connection from the queue, with the address of its
/// peer, [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html).
///
/// # Errors
///
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): the queue is empty.
/// - [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) and the network errors of the new
///   socket: that connection is gone, the queue may hold others.
/// - `EMFILE`, `ENFILE`, `ENOBUFS`, [`OutOfMemory`](io::ErrorKind::OutOfMemory): no room now; the
///   connection stays in the queue.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): a security module forbids it; the connection
///   stays in the queue.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the socket does not listen, or no longer.
#[doc(alias = "accept4")]
#[inline]
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Address)> {
    let (socket, peer) = net::acceptfrom_with(listener, flags())?;
    Ok((socket, Address::from_rustix(peer.as_ref())))
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

/// `getsockname`: returns the socket's own address,
/// [getsockname(2)](https://man7.org/linux/man-pages/man2/getsockname.2.html).
///
/// # Errors
///
/// `ENOTSOCK`: the descriptor is of another kind.
#[doc(alias = "getsockname")]
pub fn local_address(socket: impl AsFd) -> io::Result<Address> {
    Ok(Address::from_rustix(Some(&net::getsockname(socket)?)))
}

/// `getpeername`: returns the address of the peer,
/// [getpeername(2)](https://man7.org/linux/man-pages/man2/getpeername.2.html).
///
/// # Errors
///
/// - [`NotConnected`](io::ErrorKind::NotConnected): the socket is not, or no longer.
/// - `ENOTSOCK`: the descriptor is of another kind.
#[doc(alias = "getpeername")]
pub fn peer_address(socket: impl AsFd) -> io::Result<Address> {
    Ok(Address::from_rustix(net::getpeername(socket)?.as_ref()))
}
