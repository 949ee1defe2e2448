//! Packets between two processes, with descriptors: `SOCK_SEQPACKET` and `SCM_RIGHTS`.
//!
//! Kernel facts: (a) a descriptor arrives as another one of the same open file description; (b) those that
//! find no room, or no free number, are closed, and the packet arrives without them; (c) a packet with
//! descriptors may be read long after its sender has closed them.

use super::flags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The largest number of descriptors that a packet can carry.
#[doc(alias = "SCM_MAX_FD")]
pub const PACKET_DESCRIPTORS_MAX: usize = 253;

/// `socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC)`: returns two connected sockets that
/// keep packets apart, [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html).
///
/// # Errors
///
/// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket;
/// use std::fs::File;
/// use std::io::Read;
/// use std::os::fd::AsFd;
///
/// let (ours, theirs) = socket::packet_pair()?;
/// let file = File::open("/dev/zero")?;
/// socket::send_packet(&ours, b"zeros", &[file.as_fd()])?;
/// drop(file);
///
/// let mut buffer = [0; 64];
/// let (len, mut descriptors) = socket::recv_packet(&theirs, &mut buffer)?;
/// assert_eq!(&buffer[..len], b"zeros");
/// let mut byte = [1];
/// File::from(descriptors.remove(0)).read_exact(&mut byte)?;
/// assert_eq!(byte, [0]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "SOCK_SEQPACKET")]
#[doc(alias = "socketpair")]
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags(), None)?)
}

/// `sendmsg(MSG_NOSIGNAL)` with `SCM_RIGHTS`: sends a packet, and the peer gets descriptors of its own for
/// these, [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
///
/// # Errors
///
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): there are more than [`PACKET_DESCRIPTORS_MAX`].
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): there is no room now.
/// - [`BrokenPipe`](io::ErrorKind::BrokenPipe): the peer is closed.
/// - `EMSGSIZE`: the packet is longer than the socket's buffer.
/// - `ETOOMANYREFS`: as many descriptors are on their way as the process may have open.
#[doc(alias = "SCM_RIGHTS")]
#[doc(alias = "sendmsg")]
pub fn send_packet(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if descriptors.len() > PACKET_DESCRIPTORS_MAX {
        let what = format!("a packet carries at most {PACKET_DESCRIPTORS_MAX} descriptors");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut space = [MaybeUninit::uninit(); room()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        // There is room for as many as were let through.
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// `recvmsg(MSG_CMSG_CLOEXEC)`: takes a packet and returns its length, and the descriptors that came with
/// it. Zero is the end: the peer is closed,
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
///
/// # Errors
///
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): there is none now.
/// - [`InvalidData`](io::ErrorKind::InvalidData): the packet is longer than `buffer`, or descriptors were lost
///   because this process has no room for more.
/// - [`ConnectionReset`](io::ErrorKind::ConnectionReset): the peer was closed before it had read everything.
#[doc(alias = "SCM_RIGHTS")]
#[doc(alias = "recvmsg")]
pub fn recv_packet(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); room()];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    // Owned first, so that those of a packet that is refused are closed.
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        let what = "a packet is too long, or some of its descriptors were lost";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok((received.bytes, descriptors))
}

const fn room() -> usize {
    rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS_MAX))
}
