//! Calls for descriptors of any kind: reading, making non-blocking, locking, replacing.

use crate::errno;
use rustix::fs::{FlockOperation, OFlags, fcntl_getfl, fcntl_setfl, flock};
use rustix::io::DupFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// `fcntl(F_GETFL)`: tells whether reads and writes return at once instead of waiting.
///
/// # Errors
///
/// None that is known for an open descriptor.
#[doc(alias = "O_NONBLOCK")]
pub fn is_nonblocking(fd: impl AsFd) -> io::Result<bool> {
    Ok(fcntl_getfl(fd)?.contains(OFlags::NONBLOCK))
}

/// `fcntl(F_SETFL, O_NONBLOCK)`: makes reads and writes return at once, for everyone who shares
/// the open file description.
///
/// # Errors
///
/// None that is known for an open descriptor.
///
/// # Examples
///
/// ```
/// use std::os::unix::net::UnixStream;
///
/// let (socket, _peer) = UnixStream::pair()?;
/// assert!(!epoll_sys::is_nonblocking(&socket)?);
/// epoll_sys::set_nonblocking(&socket)?;
/// assert!(epoll_sys::is_nonblocking(&socket)?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    Ok(fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

/// `read`: takes what is there, at most as much as `buffer` holds; zero is the end of the stream.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock): there is nothing now.
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset): the peer of a socket has reset the
/// connection.
#[inline]
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    rustix::io::read(fd, buffer).map_err(errno::error)
}

/// `flock(LOCK_EX | LOCK_NB)`: locks the file or directory against others who do the same, until
/// the descriptor is closed,
/// [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html).
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock): someone has it locked.
#[doc(alias = "flock")]
pub fn try_lock(file: impl AsFd) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// `dup3(O_CLOEXEC)`: closes what `target` is and makes it another descriptor of `source`, in one step:
/// the number is free for nobody in between,
/// [dup(2)](https://man7.org/linux/man-pages/man2/dup.2.html).
///
/// # Errors
///
/// [`ResourceBusy`](io::ErrorKind::ResourceBusy): another thread is opening a descriptor with that number.
/// Does not happen to one that is open; the `Result` leaves room for other kernels.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::fd::OwnedFd;
/// use std::os::unix::net::UnixStream;
///
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let (mut target, peer) = UnixStream::pair().map(|(one, other)| (OwnedFd::from(one), other))?;
/// epoll_sys::replace(&mut target, &theirs)?;
/// // What it was before is closed.
/// assert_eq!((&peer).read(&mut [0])?, 0);
/// UnixStream::from(target).write_all(b"h")?;
/// ours.read_exact(&mut [0])?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "dup3")]
pub fn replace(target: &mut OwnedFd, source: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::dup3(source, target, DupFlags::CLOEXEC)?)
}
