//! `pipe` and `splice`: bytes on their way from one descriptor to another that never come into
//! this process.
//!
//! Kernel facts: (a) a pipe holds a number of pieces rather than of bytes, sixteen unless it was
//! made larger, so what comes in small pieces fills it early; (b) at a socket's urgent byte a splice
//! stops, says `EAGAIN`, or zero once the end has arrived, and does not get past it, where a read
//! does; (c) a splice into a socket knows no `MSG_NOSIGNAL`.

use crate::errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Both ends of a pipe, [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html), for bytes to
/// be spliced through. Reading from it brings bytes into the process after all.
///
/// Any thread may fill and drain it, several at once; their bytes may then mix. A forked child shares the
/// pipe with its parent, and bytes that one of them drains are missing in the other. `exec` closes both
/// ends.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Pipe, socket};
///
/// let (from, sender) = socket::pair()?;
/// let (to, receiver) = socket::pair()?;
/// socket::send(&sender, b"hello")?;
///
/// let pipe = Pipe::new()?;
/// assert_eq!(pipe.fill(&from, 64)?, 5);
/// assert_eq!(pipe.drain(&to, 5)?, 5);
///
/// let mut bytes = [0; 8];
/// let len = epoll_sys::read(&receiver, &mut bytes)?;
/// assert_eq!(&bytes[..len], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    /// `pipe2(O_CLOEXEC | O_NONBLOCK)`: creates an empty pipe.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors. `ENFILE` as
    /// well: without `CAP_SYS_RESOURCE`, the user's pipes hold `/proc/sys/fs/pipe-user-pages-hard`.
    #[doc(alias = "pipe2")]
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer })
    }

    /// Returns the end that is read from, to watch it or to `splice` from it.
    #[must_use]
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Returns the end that is written to, to watch it or to `splice` into it.
    #[must_use]
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// `fcntl(F_SETPIPE_SZ)`: makes room for at least `len` bytes, counted as if every page were
    /// full, and returns the new capacity in bytes,
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied): 2 GiB or more. Without
    /// `CAP_SYS_RESOURCE` also more than `/proc/sys/fs/pipe-max-size`, or more than
    /// `/proc/sys/fs/pipe-user-pages-soft` in all pipes of the user together.
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy): the pipe holds more bytes than would fit.
    #[doc(alias = "F_SETPIPE_SZ")]
    pub fn set_capacity(&self, len: usize) -> io::Result<usize> {
        Ok(fcntl_setpipe_size(&self.writer, len)?)
    }

    /// `splice(SPLICE_F_NONBLOCK)` into the pipe: moves at most `len` of the bytes that `from` has,
    /// and returns how many, [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html).
    ///
    /// Zero is the end of a stream, unless `len` is zero or a socket's urgent byte is next: a read
    /// tells. `from` must be non-blocking itself.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): there is nothing now, or the pipe is full, or a
    /// socket's urgent byte is next.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): this kind of descriptor cannot be spliced.
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset): the peer of a socket has reset the
    /// connection.
    #[inline]
    #[doc(alias = "splice")]
    pub fn fill(&self, from: impl AsFd, len: usize) -> io::Result<usize> {
        splice(from, None, &self.writer, None, len, SpliceFlags::NONBLOCK).map_err(errno::error)
    }

    /// `splice(SPLICE_F_NONBLOCK)` out of the pipe: moves at most `len` bytes on to `to`, and returns
    /// how many.
    ///
    /// With a `len` that is more than the pipe holds, a TCP socket may wait for the rest before it
    /// sends the last of them. One that moves fewer has not always filled a socket. `to` must be
    /// non-blocking itself.
    ///
    /// Unlike a [`send`](crate::socket::send) this raises `SIGPIPE` where the error is `BrokenPipe`;
    /// Rust's programs ignore that signal unless they say otherwise.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): `to` takes nothing now, or the pipe is empty.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): this kind of descriptor cannot be spliced.
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) and
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset): the peer of a socket is gone.
    #[inline]
    #[doc(alias = "splice")]
    pub fn drain(&self, to: impl AsFd, len: usize) -> io::Result<usize> {
        splice(&self.reader, None, to, None, len, SpliceFlags::NONBLOCK).map_err(errno::error)
    }
}

/// The end to read from and the end to write to.
impl From<Pipe> for (OwnedFd, OwnedFd) {
    fn from(pipe: Pipe) -> Self {
        (pipe.reader, pipe.writer)
    }
}

impl Read for &Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::read(&self.reader, buffer)
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::read(&self.reader, buffer)
    }
}
