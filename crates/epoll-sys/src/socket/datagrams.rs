//! Datagrams, one a call: UDP and UNIX. Several a call are in `batches`.
//!
//! Kernel facts: (a) what does not fit the buffer is gone, and only a flag tells; (b) an error that came
//! back from the network for an earlier datagram is reported by the next call on a connected socket;
//! (c) a datagram of no bytes is one all the same, and no end of anything.

use super::{Address, Family, flags};
use crate::errno;
use rustix::net::{self, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, SocketType};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};

/// A datagram that was read into a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The number of bytes in the buffer.
    pub len: usize,
    /// `MSG_TRUNC`: the datagram was longer than the buffer, and the rest of it is lost.
    pub is_truncated: bool,
}

/// `socket(SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)`: returns a new datagram socket,
/// [udp(7)](https://man7.org/linux/man-pages/man7/udp.7.html).
///
/// # Errors
///
/// Those of [`stream`](super::stream).
pub fn datagram(family: Family) -> io::Result<OwnedFd> {
    Ok(net::socket_with(family.as_rustix(), SocketType::DGRAM, flags(), None)?)
}

/// `socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)`: returns two connected datagram
/// sockets.
///
/// # Errors
///
/// `EMFILE` and `ENFILE`, as for [`stream`](super::stream).
pub fn datagram_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(net::socketpair(rustix::net::AddressFamily::UNIX, SocketType::DGRAM, flags(), None)?)
}

/// `recvmsg`: takes the next datagram, with the address of its sender,
/// [recvmsg(2)](https://man7.org/linux/man-pages/man2/recvmsg.2.html).
///
/// # Errors
///
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): there is none.
/// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): an earlier datagram of a connected socket
///   reached nobody.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket::{self, Family, Received};
/// use std::net::{Ipv4Addr, SocketAddr};
///
/// let receiver = socket::datagram(Family::Inet)?;
/// socket::bind(&receiver, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
/// let sender = socket::datagram(Family::Inet)?;
/// socket::send_to(&sender, b"hello", socket::local_address(&receiver)?)?;
///
/// let mut buffer = [0; 4];
/// let (received, _from) = socket::recv_from(&receiver, &mut buffer)?;
/// assert_eq!(received, Received { len: 4, is_truncated: true });
/// assert_eq!(&buffer, b"hell");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "recvmsg")]
#[doc(alias = "recvfrom")]
pub fn recv_from(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(Received, Address)> {
    let mut control = RecvAncillaryBuffer::default();
    let buffers = &mut [IoSliceMut::new(buffer)];
    let message =
        net::recvmsg(socket, buffers, &mut control, RecvFlags::empty()).map_err(errno::error)?;
    let is_truncated = message.flags.contains(ReturnFlags::TRUNC);
    let received = Received { len: message.bytes, is_truncated };
    Ok((received, Address::from_rustix(message.address.as_ref())))
}

/// `recv(MSG_TRUNC)`: takes the next datagram of a socket whose peer is known.
///
/// # Errors
///
/// Those of [`recv_from`].
#[doc(alias = "recv")]
#[inline]
pub fn recv_datagram(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    // With this flag the call returns the length that the datagram had.
    let room = buffer.len();
    let (_, len) = net::recv(socket, buffer, RecvFlags::TRUNC).map_err(errno::error)?;
    Ok(Received { len: len.min(room), is_truncated: len > room })
}

/// `sendto(MSG_NOSIGNAL)`: sends a datagram to `address`, whole or not at all,
/// [sendto(2)](https://man7.org/linux/man-pages/man2/sendto.2.html).
///
/// # Errors
///
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): the socket, or for UNIX the receiver's, has no room now.
/// - `EMSGSIZE`: it is too long for one datagram.
/// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): nobody has the UNIX address, or an earlier
///   datagram of a connected socket reached nobody.
/// - [`NotFound`](io::ErrorKind::NotFound): there is nothing at the path.
/// - [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable): there is no way there.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): a broadcast address without
///   [`set_broadcast`](super::set_broadcast), or a firewall.
#[doc(alias = "sendto")]
pub fn send_to(socket: impl AsFd, bytes: &[u8], address: impl Into<Address>) -> io::Result<usize> {
    match address.into() {
        Address::Inet(inet) => net::sendto(socket, bytes, SendFlags::NOSIGNAL, &inet),
        Address::Unix(unix) => net::sendto(socket, bytes, SendFlags::NOSIGNAL, &unix.to_rustix()?),
    }
    .map_err(errno::error)
}

/// `send(MSG_NOSIGNAL)`: sends a datagram to the peer that the socket is connected to.
///
/// # Errors
///
/// Those of [`send_to`], and `EDESTADDRREQ` or [`NotConnected`](io::ErrorKind::NotConnected): the socket
/// has no peer.
#[inline]
pub fn send_datagram(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    net::send(socket, bytes, SendFlags::NOSIGNAL).map_err(errno::error)
}
