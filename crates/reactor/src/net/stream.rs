//! A connection. Always non-blocking, and a write never raises `SIGPIPE`.

use crate::net::conversion::{ConversionError, checked, wrong_kind};
use crate::net::{Address, ConnectOptions};
use epoll_sys::socket::{self, Family};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// A connected stream socket, TCP or UNIX.
///
/// Reads and writes return at once; [`WouldBlock`](io::ErrorKind::WouldBlock) says that there is
/// nothing to read, or no room. A write may take a part of the bytes only, so a handler keeps the rest and
/// goes on when there is room; `write_all` and `read_exact` fail with `WouldBlock` halfway and are not for
/// handlers. A vectored write is one `sendmsg`.
///
/// # Threads, fork and exec
///
/// Any thread may read and write through `&Stream`, several at once; their bytes may then mix. A forked
/// child shares the connection with its parent: it ends when both have closed it, or when either calls
/// [`shutdown`](Self::shutdown). `exec` closes the descriptor.
///
/// Nothing else has the descriptor, so closing it ends its registration
/// ([`Source::is_unshared`](crate::Source::is_unshared)). A program that clones the descriptor through
/// [`AsFd`], converts a socket that was cloned, or forks, breaks that promise: take such a stream out with
/// [`Reactor::remove`](crate::Reactor::remove) before it is closed.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::Stream;
/// use std::io::{ErrorKind, IoSlice, Read, Write};
///
/// let (mut ours, mut theirs) = Stream::pair()?;
/// let mut buffer = [0; 16];
/// assert_eq!(ours.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
/// assert_eq!(theirs.write_vectored(&[IoSlice::new(b"hel"), IoSlice::new(b"lo")])?, 5);
/// assert_eq!(ours.read(&mut buffer)?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
}

impl Stream {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Begins to connect to `address` with the default options, those of an accepted stream;
    /// [`connected`](Self::connected) returns the outcome.
    ///
    /// # Errors
    ///
    /// Those of [`connect_with`](Self::connect_with).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::epoll_sys::socket::{self, Family};
    /// use epoll_reactor::net::Stream;
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    /// use std::io::ErrorKind;
    /// use std::net::{Ipv4Addr, SocketAddr};
    ///
    /// // A port that is taken by a socket that does not listen.
    /// let taken = socket::stream(Family::Inet)?;
    /// socket::bind(&taken, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    /// let stream = Stream::connect(&socket::local_address(&taken)?)?;
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// reactor.insert(stream, Watch::oneshot(Interest::OUT))?;
    /// reactor.wait(None)?;
    /// let Some(Ready::Owned { source, .. }) = reactor.next_ready() else { panic!("a report") };
    /// assert_eq!(source.connected().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect(address: &Address) -> io::Result<Self> {
        Self::connect_with(address, &ConnectOptions::default())
    }

    /// Begins to connect to `address`. An internet connection is made when the stream is reported writable
    /// and [`connected`](Self::connected) says so; until then reads and writes would block. A UNIX
    /// connection is made at once.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): an option that the address cannot have.
    /// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): nobody listens at the UNIX address.
    /// - [`NotFound`](io::ErrorKind::NotFound): there is nothing at the path.
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock): the queue of the UNIX listener is full; or, for TCP,
    ///   this machine has no port left.
    /// - [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable): there is no way there.
    /// - [`AddrInUse`](io::ErrorKind::AddrInUse),
    ///   [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): the address to connect from is taken, or not
    ///   one of this machine.
    /// - `ENODEV`: there is no such network interface.
    /// - `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{ConnectOptions, Stream, StreamOptions};
    /// use epoll_reactor::{Interest, Reactor, Ready, Watch};
    /// use std::net::TcpListener;
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let user_timeout = Some(Duration::from_secs(30));
    /// let stream = StreamOptions { user_timeout, ..StreamOptions::default() };
    /// let local = Some("127.0.0.1:0".parse()?);
    /// let options = ConnectOptions { stream, local, device: None };
    /// let client = Stream::connect_with(&listener.local_addr()?.into(), &options)?;
    ///
    /// let mut reactor: Reactor<Stream> = Reactor::new()?;
    /// reactor.insert(client, Watch::edge(Interest::OUT))?;
    /// reactor.wait(None)?;
    /// let Some(Ready::Owned { source, .. }) = reactor.next_ready() else { panic!("a report") };
    /// assert!(source.connected()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_with(address: &Address, options: &ConnectOptions) -> io::Result<Self> {
        options.check(address)?;
        let family = Family::of(address);
        let fd = socket::stream(family)?;
        options.apply(&fd, family)?;
        socket::connect(&fd, address)?;
        Ok(Self { fd })
    }

    /// Returns two UNIX streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socket::pair()?;
        Ok((Self { fd: one }, Self { fd: other }))
    }

    /// Returns `true` if the connection is made, and `false` while it is being made.
    ///
    /// # Errors
    ///
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): no socket listens there, or the stream has
    /// connected to itself, which can happen at a free port of this machine and would look like a server
    /// that echoes. [`TimedOut`](io::ErrorKind::TimedOut),
    /// [`HostUnreachable`](io::ErrorKind::HostUnreachable) and others: the answer of the network. The error
    /// of the network is reported once: the next call says [`NotConnected`](io::ErrorKind::NotConnected).
    pub fn connected(&self) -> io::Result<bool> {
        socket::is_connected(&self.fd)
    }

    /// Returns the address of the peer; unnamed for most clients of a UNIX socket.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected): the connection is not made, or no longer.
    pub fn peer_addr(&self) -> io::Result<Address> {
        socket::peer_address(&self.fd)
    }

    /// Returns the stream's own address.
    ///
    /// # Errors
    ///
    /// `ENOBUFS`: the system is out of memory.
    pub fn local_addr(&self) -> io::Result<Address> {
        socket::local_address(&self.fd)
    }

    /// Sends small segments at once, or lets them wait for more; see [`socket::set_nodelay`].
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: the stream is not TCP.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        socket::set_nodelay(&self.fd, on)
    }

    /// Copies what has arrived and leaves it to be read; zero is the end of the stream.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): nothing has arrived.
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset): the peer has reset the connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use std::io::{Read, Write};
    ///
    /// let (mut ours, mut theirs) = Stream::pair()?;
    /// assert_eq!(theirs.write(b"GET /")?, 5);
    /// let mut start = [0; 4];
    /// assert_eq!(ours.peek(&mut start)?, 4);
    /// assert_eq!(ours.read(&mut [0; 16])?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        socket::peek(&self.fd, buffer)
    }

    /// Shuts down one direction or both.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected): the connection is not made, or no longer.
    ///
    /// # Examples
    ///
    /// A half-close: the peer reads to the end of the stream, and its answer still arrives.
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use std::io::{Read, Write};
    /// use std::net::Shutdown;
    ///
    /// let (mut ours, mut theirs) = Stream::pair()?;
    /// ours.shutdown(Shutdown::Write)?;
    /// assert_eq!(theirs.read(&mut [0; 8])?, 0);
    /// assert_eq!(theirs.write(b"answer")?, 6);
    /// assert_eq!(ours.read(&mut [0; 8])?, 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(&self.fd, how)
    }

    /// Takes the error that is pending on the socket.
    ///
    /// # Errors
    ///
    /// Does not fail for a socket on Linux today; the `Result` leaves room for other kernels.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(&self.fd)
    }

    /// Returns the number of bytes that were written and that the peer has not taken yet; see
    /// [`socket::unsent`].
    ///
    /// A write timeout compares two of them: a peer that makes no progress takes nothing.
    ///
    /// # Errors
    ///
    /// Does not fail for a connected socket on Linux today; the `Result` leaves room for other kernels.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use std::io::{Read, Write};
    ///
    /// let (mut ours, mut theirs) = Stream::pair()?;
    /// assert_eq!(ours.write(b"hello")?, 5);
    /// assert!(ours.unsent()? > 0);
    /// assert_eq!(theirs.read(&mut [0; 8])?, 5);
    /// assert_eq!(ours.unsent()?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unsent(&self) -> io::Result<u64> {
        socket::unsent(&self.fd)
    }

    /// Makes the next close reset the connection: bytes that were not sent are discarded, and the peer's
    /// next read fails. TCP only; elsewhere it changes nothing.
    ///
    /// # Errors
    ///
    /// Does not fail for a socket on Linux today; the `Result` leaves room for other kernels.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Stream;
    /// use std::io::{ErrorKind, Read};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let stream = Stream::try_from(listener.accept()?.0)?;
    /// stream.reset_on_close()?;
    /// drop(stream);
    /// assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        socket::recv_vectored(&self.fd, buffers)
    }
}

impl Write for &Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        socket::send(&self.fd, bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        socket::send_vectored(&self.fd, buffers)
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

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
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

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Makes the socket non-blocking.
impl TryFrom<OwnedFd> for Stream {
    type Error = ConversionError<OwnedFd>;

    /// # Errors
    ///
    /// Gives the descriptor back. [`InvalidInput`](io::ErrorKind::InvalidInput): it is not a stream socket of
    /// a family that [`Address`] has, or it listens. `ENOTSOCK`: it is no socket.
    fn try_from(fd: OwnedFd) -> Result<Self, ConversionError<OwnedFd>> {
        checked(fd, |fd| prepare(fd), Self::new)
    }
}

fn prepare(fd: impl AsFd) -> io::Result<()> {
    if !socket::is_stream(&fd)? || socket::family(&fd)?.is_none() {
        return Err(wrong_kind("not a TCP or UNIX stream socket"));
    }
    if socket::is_listening(&fd)? {
        return Err(wrong_kind("the socket listens"));
    }
    epoll_sys::set_nonblocking(fd)
}

macro_rules! conversions {
    ($($std:ty: $is_unix:literal, $what:literal;)*) => { $(
        /// Makes the socket non-blocking.
        impl TryFrom<$std> for Stream {
            type Error = ConversionError<$std>;

            /// # Errors
            ///
            /// As for a descriptor.
            fn try_from(stream: $std) -> Result<Self, ConversionError<$std>> {
                checked(stream, |it| prepare(it), |it| Self::new(it.into()))
            }
        }

        /// Leaves the socket non-blocking.
        impl TryFrom<Stream> for $std {
            type Error = ConversionError<Stream>;

            /// # Errors
            ///
            /// Gives the stream back. [`InvalidInput`](io::ErrorKind::InvalidInput): it is of another
            /// family.
            fn try_from(stream: Stream) -> Result<Self, ConversionError<Stream>> {
                let is_right = |stream: &Stream| {
                    let is_unix = socket::family(stream)? == Some(Family::Unix);
                    if is_unix == $is_unix { Ok(()) } else { Err(wrong_kind($what)) }
                };
                checked(stream, is_right, |stream| stream.fd.into())
            }
        }
    )* };
}

conversions! {
    TcpStream: false, "not a TCP socket";
    UnixStream: true, "not a UNIX socket";
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        stream.fd
    }
}
