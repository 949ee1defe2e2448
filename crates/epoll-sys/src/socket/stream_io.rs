//! Reading from and writing to stream sockets, and what is under way in them.
//!
//! Kernel fact: urgent data stops a read, so that a short read does not prove that a socket is empty.

use crate::errno;
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;

/// `UIO_MAXIOV`: the kernel refuses a longer list of buffers.
const SLICES_MAX: usize = 1024;

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

/// `send(MSG_OOB | MSG_NOSIGNAL)`: sends `byte` as urgent data, which the peer's epoll reports as
/// [`PRI`](crate::Readiness::PRI), [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html).
///
/// Urgent data is one byte at a time: a second one makes an ordinary byte of the first.
///
/// # Errors
///
/// Those of [`send`], and `EOPNOTSUPP` ([`Unsupported`](io::ErrorKind::Unsupported)) for a socket that is
/// neither a TCP nor a UNIX stream.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Epoll, Events, Interest, Watch, socket};
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let ours = TcpStream::connect(listener.local_addr()?)?;
/// let (theirs, _) = listener.accept()?;
/// let epoll = Epoll::new()?;
/// epoll.add(&theirs, 0, Watch::level(Interest::PRI))?;
///
/// socket::send_urgent(&ours, b'!')?;
/// epoll.wait(&mut Events::with_capacity(1), None)?;
/// assert_eq!(socket::recv_urgent(&theirs)?, b'!');
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "MSG_OOB")]
pub fn send_urgent(socket: impl AsFd, byte: u8) -> io::Result<()> {
    let flags = SendFlags::OOB | SendFlags::NOSIGNAL;
    net::send(socket, &[byte], flags).map(drop).map_err(errno::error)
}

/// `recv(MSG_OOB)`: takes the urgent byte, which is not among the other bytes unless
/// [`set_oob_inline`](super::set_oob_inline) says so.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock): it was announced and has not arrived yet.
/// [`InvalidInput`](io::ErrorKind::InvalidInput): there is none, it was taken already, or it comes inline.
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof): the peer has hung up instead.
///
/// # Examples
///
/// See [`send_urgent`].
#[doc(alias = "MSG_OOB")]
pub fn recv_urgent(socket: impl AsFd) -> io::Result<u8> {
    let mut byte = [0];
    match net::recv(socket, &mut byte, RecvFlags::OOB)? {
        (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}

/// `recv(MSG_PEEK)`: copies what has arrived and leaves it to be read; zero is the end of the stream.
///
/// # Errors
///
/// Those of [`recv`].
///
/// # Examples
///
/// ```
/// use epoll_sys::socket;
///
/// let (ours, theirs) = socket::pair()?;
/// socket::send(&theirs, b"hello")?;
/// let mut buffer = [0; 16];
/// assert_eq!(socket::peek(&ours, &mut buffer)?, 5);
/// assert_eq!(socket::recv(&ours, &mut buffer)?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "MSG_PEEK")]
pub fn peek(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (len, _) = net::recv(socket, buffer, RecvFlags::PEEK)?;
    Ok(len)
}

/// `readv`: reads what has arrived into one buffer after another, of which it uses the first 1024,
/// [readv(2)](https://man7.org/linux/man-pages/man2/readv.2.html).
///
/// # Errors
///
/// Those of [`recv`].
///
/// # Examples
///
/// ```
/// use epoll_sys::socket;
/// use std::io::IoSliceMut;
///
/// let (ours, theirs) = socket::pair()?;
/// socket::send(&theirs, b"hello")?;
/// let (mut head, mut rest) = ([0; 2], [0; 8]);
/// let mut buffers = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut rest)];
/// assert_eq!(socket::recv_vectored(&ours, &mut buffers)?, 5);
/// assert_eq!((&head, &rest[..3]), (b"he", &b"llo"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "readv")]
pub fn recv_vectored(socket: impl AsFd, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let count = buffers.len().min(SLICES_MAX);
    rustix::io::readv(socket, &mut buffers[..count]).map_err(errno::error)
}

/// `sendmsg(MSG_NOSIGNAL)`: writes as much of one buffer after another as the socket takes, of which it
/// uses the first 1024, [sendmsg(2)](https://man7.org/linux/man-pages/man2/sendmsg.2.html).
///
/// # Errors
///
/// Those of [`send`].
///
/// # Examples
///
/// ```
/// use epoll_sys::socket;
/// use std::io::IoSlice;
///
/// let (ours, theirs) = socket::pair()?;
/// let sent = socket::send_vectored(&ours, &[IoSlice::new(b"hel"), IoSlice::new(b"lo")])?;
/// let mut buffer = [0; 16];
/// assert_eq!(socket::recv(&theirs, &mut buffer)?, sent);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "sendmsg")]
pub fn send_vectored(socket: impl AsFd, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let buffers = &buffers[..buffers.len().min(SLICES_MAX)];
    let mut control = SendAncillaryBuffer::default();
    net::sendmsg(socket, buffers, &mut control, SendFlags::NOSIGNAL).map_err(errno::error)
}

/// `SIOCOUTQ`: returns the number of bytes that were written and that the peer has not taken: for TCP
/// not acknowledged, for a UNIX socket what they occupy in the kernel,
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

/// `FIONREAD`: returns the number of bytes that have arrived and were not read.
///
/// # Errors
///
/// `ENOTTY`: the descriptor has no such count.
#[doc(alias = "FIONREAD")]
pub fn unread(socket: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(socket)?)
}
