//! Calls for a descriptor of any kind: read, poll, make non-blocking, lock, replace.

use crate::errno::{self, check};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{DupFlags, ioctl_fionbio};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// `fcntl(F_GETFL)`: returns whether reads and writes return at once instead of waiting,
/// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html).
///
/// # Errors
///
/// Does not fail for an open descriptor unless a security filter (seccomp) denies the call.
#[doc(alias = "O_NONBLOCK")]
pub fn is_nonblocking(fd: impl AsFd) -> io::Result<bool> {
    // SAFETY: the descriptor is borrowed, so open, and the command takes no argument.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) };
    check(flags).map(|()| flags & libc::O_NONBLOCK != 0)
}

/// `ioctl(FIONBIO)`: makes reads and writes return at once, for everyone who shares the open file
/// description, as `fcntl(F_SETFL, O_NONBLOCK)` does in two calls,
/// [ioctl(2)](https://man7.org/linux/man-pages/man2/ioctl.2.html).
///
/// # Errors
///
/// Does not fail for an open descriptor unless a security filter (seccomp) denies the call.
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
    Ok(ioctl_fionbio(fd, true)?)
}

/// `read`: reads at most as many bytes as `buffer` holds and returns how many; zero is the end of
/// the stream, [read(2)](https://man7.org/linux/man-pages/man2/read.2.html).
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

/// `ppoll(POLLIN)`: waits until the descriptor is readable or `timeout` has passed, and returns
/// whether it is readable, [ppoll(2)](https://man7.org/linux/man-pages/man2/ppoll.2.html).
///
/// An end or an error counts as readable: a read finds it. `None` waits without an end.
///
/// # Errors
///
/// [`Interrupted`](io::ErrorKind::Interrupted): a signal handler has run, or the process was
/// stopped and continued.
///
/// # Examples
///
/// ```
/// use epoll_sys::{EventFd, poll_readable};
/// use std::time::Duration;
///
/// let counter = EventFd::new(0)?;
/// assert!(!poll_readable(&counter, Some(Duration::from_millis(1)))?);
/// counter.write(1)?;
/// assert!(poll_readable(&counter, None)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "poll")]
#[doc(alias = "ppoll")]
pub fn poll_readable(fd: impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    // What does not fit is longer than the age of the universe.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    Ok(poll(&mut fds, timeout.as_ref())? > 0)
}

/// `flock(LOCK_EX | LOCK_NB)`: locks the file or directory against others who do the same, until
/// the open file description is closed,
/// [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html).
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock): someone has it locked.
#[doc(alias = "flock")]
pub fn try_lock(file: impl AsFd) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed, so open; the call touches no memory.
    check(unsafe { libc::flock(file.as_fd().as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
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
