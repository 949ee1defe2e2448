//! Datagram sockets. Always non-blocking, and a send never raises `SIGPIPE`.

use crate::net::conversion::{ConversionError, checked, wrong_kind};
use crate::net::unix_path::{self, Access, Kind, UnixPath};
use crate::net::{Address, DatagramOptions};
use epoll_sys::socket::{self, Family, Received, RecvBatch, SendBatch};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

/// A datagram socket, UDP or UNIX.
///
/// Sends and receives return at once; [`WouldBlock`](io::ErrorKind::WouldBlock) says that there is
/// no datagram, or no room. Such an answer to a receive means that the socket is drained, and so does a
/// short batch of [`recv_batch`](Self::recv_batch).
///
/// The path of a UNIX socket is removed when the process that has bound it drops the socket.
///
/// # Threads, fork and exec
///
/// Any thread may send and receive, several at once; each datagram goes to one of them. A forked child
/// shares the socket with its parent. Nothing else has the descriptor, so closing it ends its registration;
/// as for a [`Stream`](crate::net::Stream), a program that clones the descriptor or forks breaks that
/// promise. `exec` closes it.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::{Datagram, DatagramOptions};
/// use epoll_reactor::{Interest, Reactor, Ready, Watch};
///
/// let any = "127.0.0.1:0".parse()?;
/// let server = Datagram::bind(&any, &DatagramOptions::default())?;
/// let client = Datagram::bind(&any, &DatagramOptions::default())?;
/// client.send_to(b"who is there?", &server.local_addr()?)?;
///
/// let mut reactor: Reactor<Datagram> = Reactor::new()?;
/// reactor.insert(server, Watch::level(Interest::IN))?;
/// reactor.wait(None)?;
/// let Some(Ready::Owned { source, .. }) = reactor.next_ready() else { panic!("a report") };
/// let mut buffer = [0; 512];
/// let (received, from) = source.recv_from(&mut buffer)?;
/// assert_eq!((&buffer[..received.len], received.is_truncated), (&b"who is there?"[..], false));
/// assert_eq!(from, client.local_addr()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Datagram {
    // First, so that the path is removed before the socket is closed, as for listeners.
    /// The path of a UNIX socket, which is removed when this is dropped.
    _path: Option<UnixPath>,
    fd: OwnedFd,
}

impl Datagram {
    /// Binds a socket to `address`.
    ///
    /// Port 0 takes a free port, which [`local_addr`](Self::local_addr) returns. A UNIX socket at the path
    /// is replaced if its program has ended; a socket that is in use, and anything else there, is left
    /// alone.
    ///
    /// # Errors
    ///
    /// - [`AddrInUse`](io::ErrorKind::AddrInUse): another socket has the address, or the path is taken.
    /// - [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): no address of this machine.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): a privileged port, or a directory
    ///   that is not writable.
    /// - [`NotFound`](io::ErrorKind::NotFound): the directory does not exist.
    /// - `ENODEV`: there is no such network interface.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): an option that the address cannot have.
    /// - `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    pub fn bind(address: &Address, options: &DatagramOptions) -> io::Result<Self> {
        options.check(address)?;
        let fd = socket::datagram(Family::of(address))?;
        options.apply(&fd)?;
        let path = match address.as_path() {
            Some(path) => Some(unix_path::bind(&fd, path, Access::default(), Kind::Datagram)?),
            None => {
                socket::bind(&fd, address)?;
                None
            }
        };
        Ok(Self { _path: path, fd })
    }

    /// Returns a socket for the family of `address` that is not bound: the first send to an internet
    /// address binds it to a free port; a UNIX socket stays without a name and cannot be answered.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{Datagram, DatagramOptions};
    ///
    /// let server = Datagram::bind(&"127.0.0.1:0".parse()?, &DatagramOptions::default())?;
    /// let address = server.local_addr()?;
    /// let client = Datagram::unbound(&address)?;
    /// client.send_to(b"hello", &address)?;
    /// assert_ne!(client.local_addr()?.inet().map(|inet| inet.port()), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unbound(address: &Address) -> io::Result<Self> {
        Ok(Self { _path: None, fd: socket::datagram(Family::of(address))? })
    }

    /// Returns two UNIX datagram sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socket::datagram_pair()?;
        Ok((Self { _path: None, fd: one }, Self { _path: None, fd: other }))
    }

    /// Makes `address` the peer: [`send`](Self::send) sends to it, and the kernel drops datagrams of others.
    ///
    /// # Errors
    ///
    /// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused): no socket has the UNIX address.
    /// - [`NotFound`](io::ErrorKind::NotFound): there is nothing at the path.
    /// - [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable): there is no route to it.
    /// - `EAFNOSUPPORT` or [`InvalidInput`](io::ErrorKind::InvalidInput): the address is of another family.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{Datagram, DatagramOptions};
    /// use std::io::ErrorKind;
    ///
    /// let any = "127.0.0.1:0".parse()?;
    /// let bind = || Datagram::bind(&any, &DatagramOptions::default());
    /// let (ours, peer, stranger) = (bind()?, bind()?, bind()?);
    /// ours.connect(&peer.local_addr()?)?;
    /// ours.send(b"hello")?;
    /// assert_eq!(peer.recv(&mut [0; 16])?.len, 5);
    ///
    /// stranger.send_to(b"listen to me", &ours.local_addr()?)?;
    /// assert_eq!(ours.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect(&self, address: &Address) -> io::Result<()> {
        socket::connect(&self.fd, address)
    }

    /// Sends a datagram to the peer, whole or not at all.
    ///
    /// # Errors
    ///
    /// Those of [`socket::send_datagram`]. [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) is about
    /// an earlier datagram, and this one was not sent.
    #[inline]
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        socket::send_datagram(&self.fd, bytes).map(drop)
    }

    /// Sends a datagram to `address`, whole or not at all.
    ///
    /// # Errors
    ///
    /// Those of [`socket::send_to`].
    pub fn send_to(&self, bytes: &[u8], address: &Address) -> io::Result<()> {
        socket::send_to(&self.fd, bytes, address).map(drop)
    }

    /// Receives the next datagram. Bytes that do not fit `buffer` are lost, which the result tells. After
    /// [`set_gro`](Self::set_gro) receive with [`recv_batch`](Self::recv_batch), which tells joined
    /// datagrams apart.
    ///
    /// # Errors
    ///
    /// Those of [`socket::recv_from`].
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        socket::recv_datagram(&self.fd, buffer)
    }

    /// Receives the next datagram and the address of its sender. Bytes that do not fit `buffer` are lost,
    /// which the result tells.
    ///
    /// # Errors
    ///
    /// Those of [`socket::recv_from`].
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(Received, Address)> {
        socket::recv_from(&self.fd, buffer)
    }

    /// Receives the datagrams that have arrived, at most as many as `batch` has buffers, in one system
    /// call, and returns their number.
    ///
    /// # Errors
    ///
    /// Those of [`RecvBatch::recv`].
    ///
    /// # Examples
    ///
    /// Every datagram goes back to its sender:
    ///
    /// ```
    /// use epoll_reactor::net::{Datagram, DatagramOptions, RecvBatch, SendBatch};
    ///
    /// let any = "127.0.0.1:0".parse()?;
    /// let server = Datagram::bind(&any, &DatagramOptions::default())?;
    /// let client = Datagram::bind(&any, &DatagramOptions::default())?;
    /// client.send_to(b"one", &server.local_addr()?)?;
    /// client.send_to(b"two", &server.local_addr()?)?;
    ///
    /// let (mut requests, mut answers) = (RecvBatch::new(8, 512), SendBatch::new(8, 512));
    /// assert_eq!(server.recv_batch(&mut requests)?, 2);
    /// for request in requests.iter() {
    ///     let _ = answers.push(request.bytes, Some(&request.from));
    /// }
    /// // Under load the socket may take fewer; the rest is sent when it is writable.
    /// assert_eq!(server.send_batch(&mut answers)?, 2);
    /// assert_eq!(client.recv(&mut [0; 512])?.len, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.recv(&self.fd)
    }

    /// Sends datagrams of `batch`, as many as the socket takes, in one system call, removes them from the
    /// batch and returns their number. The rest is sent when the socket is writable.
    ///
    /// # Errors
    ///
    /// Those of [`SendBatch::send`].
    pub fn send_batch(&self, batch: &mut SendBatch) -> io::Result<usize> {
        batch.send(&self.fd)
    }

    /// Lets the kernel hand over datagrams of one peer together, for [`recv_batch`](Self::recv_batch) to tell
    /// apart; see [`socket::set_gro`].
    ///
    /// # Errors
    ///
    /// `ENOPROTOOPT` before Linux 5.0, `EOPNOTSUPP` for a UNIX socket.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        socket::set_gro(&self.fd, on)
    }

    /// Returns the socket's own address.
    ///
    /// # Errors
    ///
    /// `ENOBUFS`: the system is out of memory.
    pub fn local_addr(&self) -> io::Result<Address> {
        socket::local_address(&self.fd)
    }

    /// Returns the address of the peer that it is connected to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected): it has no peer.
    pub fn peer_addr(&self) -> io::Result<Address> {
        socket::peer_address(&self.fd)
    }

    /// Takes the error that is pending on the socket: of a connected one, the answer of the network to an
    /// earlier datagram.
    ///
    /// # Errors
    ///
    /// Does not fail for a socket on Linux today; the `Result` leaves room for other kernels.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(&self.fd)
    }
}

impl AsFd for Datagram {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Datagram {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn prepare(fd: impl AsFd) -> io::Result<()> {
    if !socket::is_datagram(&fd)? || socket::family(&fd)?.is_none() {
        return Err(wrong_kind("not a UDP or UNIX datagram socket"));
    }
    epoll_sys::set_nonblocking(fd)
}

macro_rules! conversions {
    ($($source:ty),*) => { $(
        /// Makes the socket non-blocking. The path of a UNIX socket is left alone.
        impl TryFrom<$source> for Datagram {
            type Error = ConversionError<$source>;

            /// # Errors
            ///
            /// Gives the socket back. [`InvalidInput`](io::ErrorKind::InvalidInput): it is not a datagram
            /// socket of a family that [`Address`] has. `ENOTSOCK`: it is no socket.
            fn try_from(socket: $source) -> Result<Self, ConversionError<$source>> {
                checked(socket, |it| prepare(it), |it| Self { _path: None, fd: it.into() })
            }
        }
    )* };
}

conversions!(OwnedFd, UdpSocket, UnixDatagram);
