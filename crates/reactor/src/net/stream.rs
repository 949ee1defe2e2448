//! A connection. Always non-blocking, and a write never raises `SIGPIPE`.

use crate::Source;
use crate::net::Address;
use epoll_sys::socket;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A connected stream socket, TCP or UNIX.
///
/// Reads and writes return at once; [`WouldBlock`](io::ErrorKind::WouldBlock) says that there is
/// nothing to read, or no room.
///
/// Nothing else has its descriptor, so closing it ends its registration ([`Source::is_unshared`]).
/// Whoever clones the descriptor through [`AsFd`], or makes a stream of a socket that was cloned,
/// breaks that promise: take such a stream out with [`Reactor::remove`](crate::Reactor::remove)
/// before it is closed.
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
}

impl Stream {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Begins to connect to `address`. An internet connection is made when the stream is reported
    /// writable and [`take_error`](Self::take_error) gives none; until then reads and writes would
    /// block. A UNIX connection is made at once.
    ///
    /// # Errors
    ///
    /// Those of [`socket::stream`], [`socket::connect`] and [`socket::connect_unix`].
    pub fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Inet(inet) => {
                let fd = socket::stream(socket::Family::of(inet))?;
                socket::connect(&fd, inet)?;
                Ok(Self { fd })
            }
            Address::Unix(path) => {
                let fd = socket::stream(socket::Family::Unix)?;
                socket::connect_unix(&fd, path)?;
                Ok(Self { fd })
            }
        }
    }

    /// Two UNIX streams, connected to one another.
    ///
    /// # Errors
    ///
    /// Those of [`socket::pair`].
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socket::pair()?;
        Ok((Self { fd: one }, Self { fd: other }))
    }

    /// Shuts down one direction or both.
    ///
    /// # Errors
    ///
    /// Those of [`socket::shutdown`].
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(&self.fd, how)
    }

    /// Takes the error that is pending on the socket, which also tells how a connect went.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(&self.fd)
    }

    /// How many bytes were written that the peer has not taken yet; see [`socket::unsent`].
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn unsent(&self) -> io::Result<u64> {
        socket::unsent(&self.fd)
    }

    /// Makes the close that follows a reset: what was not sent is discarded, and the peer's next
    /// read fails. TCP only; elsewhere it changes nothing.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn reset_on_close(&self) -> io::Result<()> {
        socket::set_linger(&self.fd, Some(std::time::Duration::ZERO))
    }
}

impl Read for &Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not `recv`, which takes twice as many arguments to say the same.
        epoll_sys::read(&self.fd, buffer)
    }
}

impl Write for &Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        socket::send(&self.fd, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Source for Stream {
    #[inline]
    fn is_nonblocking(&self) -> bool {
        true
    }

    #[inline]
    fn is_unshared(&self) -> bool {
        true
    }
}

/// Makes the socket non-blocking.
impl TryFrom<OwnedFd> for Stream {
    type Error = io::Error;

    /// # Errors
    ///
    /// None that is known; that the descriptor is a stream socket is not checked.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        epoll_sys::set_nonblocking(&fd)?;
        Ok(Self { fd })
    }
}

/// Makes the socket non-blocking.
impl TryFrom<TcpStream> for Stream {
    type Error = io::Error;

    fn try_from(stream: TcpStream) -> io::Result<Self> {
        OwnedFd::from(stream).try_into()
    }
}

/// Makes the socket non-blocking.
impl TryFrom<UnixStream> for Stream {
    type Error = io::Error;

    fn try_from(stream: UnixStream) -> io::Result<Self> {
        OwnedFd::from(stream).try_into()
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        stream.fd
    }
}

/// Who is at the other end of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// TCP. Apart from one another, address and port take less room than a [`SocketAddr`], which
    /// counts where every connection keeps one.
    Inet {
        /// The peer's address.
        ip: IpAddr,
        /// The peer's port.
        port: u16,
    },
    /// A UNIX socket; its clients have no address as a rule.
    Unix,
}

const _: () = assert!(size_of::<Peer>() <= 20);

impl From<Option<SocketAddr>> for Peer {
    /// As [`epoll_sys::socket::accept`] gives it.
    fn from(address: Option<SocketAddr>) -> Self {
        match address {
            Some(address) => Self::Inet { ip: address.ip(), port: address.port() },
            None => Self::Unix,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { ip, port } => SocketAddr::new(*ip, *port).fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}
