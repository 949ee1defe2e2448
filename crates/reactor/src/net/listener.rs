//! Accepting connections: in small batches, despite errors of single connections, and without spinning
//! when none can be accepted.
//!
//! Kernel facts: (a) accepted TCP sockets inherit the listener's options, accepted UNIX sockets inherit
//! nothing; (b) on `EMFILE` and its like the connection stays in the queue, so a level-triggered listener
//! would be reported again at once; (c) a listener can be shut down from outside, by another owner of the
//! socket or by `ss -K`; `EPOLLHUP` is then reported for ever, and `accept` says `EINVAL` for TCP, and for
//! UNIX that the queue is empty; (d) the last close of a listener resets the connections in its queue.

mod accepting;
mod batch;

pub use batch::{AcceptBatch, AcceptCounters, Accepted, BatchEnd, Closing};

use crate::net::Address;
use crate::net::conversion::{ConversionError, wrong_kind};
use crate::net::options::{ListenOptions, PausedBy, StreamOptions};
use crate::net::pausing::Gate;
use crate::net::unix_path::{self, Access, Kind, PathRemoval, UnixPath};
use epoll_sys::socket::{self, Family};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// The number of attempts to listen at an address that is in use.
const LISTEN_TRIES_MAX: u32 = 8;
/// The number of connections that [`Listener::close`] takes at most.
const QUEUE_MAX: u32 = 65_536;

/// A socket that accepts connections.
///
/// Watch it level-triggered: a batch that leaves connections in the queue is then reported again. A
/// batch may be left early, as `accept_batch().take(n)` does; what was not accepted stays in the
/// queue.
///
/// # Pauses
///
/// When `accept` fails without taking the connection out of the queue, the batch ends with
/// [`BatchEnd::Paused`], and the listener is not readable for that time, so that the loop that watches it
/// need not do anything. The causes: descriptors or memory are short, a security module forbids to accept, or
/// there were only dead connections. Pauses grow from 5 milliseconds to a second. They start again at 5 after
/// a connection was accepted, or after the queue was found empty while a descriptor was free; the first
/// one is logged as a warning (feature `tracing`). Before each pause because of descriptors, one connection is
/// accepted with a spare descriptor and closed, so that a client learns that the server is full; the others
/// wait in the queue.
///
/// # Descriptors
///
/// A listener has four descriptors: the socket, a spare one, a timer, and an epoll instance that watches the
/// socket and the timer. [`AsFd`] lends the epoll instance, for a loop to watch. An epoll instance cannot be
/// watched with `EPOLLEXCLUSIVE`. With [`PausedBy::Owner`] there are only the first two, [`AsFd`] lends the
/// socket, and the program sees to the pauses.
///
/// # Threads, fork and exec
///
/// One thread accepts from a listener at a time; for others there are [`try_clone`](Self::try_clone) and
/// [`bind_several`](Self::bind_several). A child of `fork` shares the socket, the timer and the epoll
/// instance, so only one of the two processes may go on accepting. The path of a UNIX socket is removed by
/// the process that has bound it, not by a child. `exec` closes all descriptors.
///
/// # Closing
///
/// Dropping the last listener of a socket resets the connections that wait in its queue.
/// [`close`](Self::close) hands them out first.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::{BatchEnd, ListenOptions, Listener, Stream};
/// use epoll_reactor::{Interest, Reactor, Watch};
///
/// let mut listener = Listener::bind(&"127.0.0.1:0".parse()?, &ListenOptions::default())?;
/// let mut reactor: Reactor<Stream> = Reactor::new()?;
/// reactor.watch(&listener, (), Watch::level(Interest::IN))?;
///
/// let client = Stream::connect(listener.address())?;
/// reactor.wait(None)?;
/// for accepted in listener.accept_batch() {
///     println!("a connection from {}", accepted.peer);
/// }
/// assert_eq!(listener.batch_end(), Some(BatchEnd::QueueEmpty));
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    // First, so that the path is removed before the socket is closed: while it listens, no other server
    // takes the path over.
    /// The path of a UNIX socket, which is removed when this is dropped, unless its removal is off.
    path: Option<UnixPath>,
    socket: OwnedFd,
    /// The epoll instance and the timer; `None` if the program sees to the pauses.
    gate: Option<Gate>,
    address: Address,
    accept_batch_max: u32,
    /// The number of connections that can wait.
    queue_max: u32,
    /// Options that accepted connections do not inherit.
    stream_options: Option<StreamOptions>,
    /// Another descriptor of the socket, which is given up for a moment when descriptors are short.
    spare: Option<OwnedFd>,
    /// The last pause, from which the next one grows; zero if accepting works.
    last_pause: Duration,
    /// Dead connections in a row.
    skips: u32,
    end: Option<BatchEnd>,
    /// The batch has accepted nothing so far.
    is_fruitless: bool,
    counters: AcceptCounters,
}

impl Listener {
    /// Listens at `address`.
    ///
    /// Port 0 takes a free port, which [`address`](Self::address) returns. A UNIX socket at the path is
    /// replaced if its server has ended; if a server listens there, or something else is at the path, it is
    /// left alone. The path is removed with the listener. An abstract name leaves nothing behind.
    ///
    /// # Errors
    ///
    /// - [`AddrInUse`](io::ErrorKind::AddrInUse): someone listens there, or the path is taken.
    /// - [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): no address of this machine.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): a privileged port, a directory that is not
    ///   writable, or an owner of the path that only a privileged user may choose.
    /// - [`NotFound`](io::ErrorKind::NotFound): the directory does not exist.
    /// - `ENODEV`: there is no such network interface.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): an option that the address cannot have, or a
    ///   keepalive of more than 32 767 seconds.
    /// - `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<Self> {
        Self::bind_with(address, options, options.reuse_port)
    }

    /// Binds and listens. If `share_after_listen`, sets `SO_REUSEPORT` only afterwards, so that two servers
    /// that start at the same time cannot share the port without knowing of each other.
    fn bind_with(
        address: &Address,
        options: &ListenOptions,
        share_after_listen: bool,
    ) -> io::Result<Self> {
        options.check(address)?;
        let family = Family::of(address);
        let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
        let socket = socket::stream(family)?;
        options.apply_before_bind(&socket, family)?;
        options.apply(&socket, family)?;
        let path = match address.as_path() {
            Some(path) => {
                let access = Access { mode: options.path_mode, owner: options.path_owner };
                Some(unix_path::bind(&socket, path, access, Kind::Listener(backlog))?)
            }
            None => {
                socket::bind(&socket, address)?;
                listen(&socket, backlog)?;
                None
            }
        };
        if share_after_listen != options.reuse_port {
            socket::set_reuse_port(&socket, share_after_listen)?;
        }
        let gate = new_gate(&socket, options)?;
        let address = socket::local_address(&socket)?;
        let mut listener = Self::assemble(socket, gate, address, options);
        listener.path = path;
        listener.queue_max = options.backlog.saturating_add(1).min(QUEUE_MAX);
        Ok(listener)
    }

    fn assemble(
        socket: OwnedFd,
        gate: Option<Gate>,
        address: Address,
        options: &ListenOptions,
    ) -> Self {
        let gives_options = address.inet().is_none() && options.stream.changes_unix();
        Self {
            path: None,
            gate,
            address,
            // Without one, a server that is full does not say so to its clients. It is no reason to fail.
            spare: socket.try_clone().ok(),
            socket,
            accept_batch_max: options.accept_batch_max.max(1),
            queue_max: QUEUE_MAX,
            stream_options: gives_options.then(|| options.stream.clone()),
            last_pause: Duration::ZERO,
            skips: 0,
            end: None,
            is_fruitless: true,
            counters: AcceptCounters::default(),
        }
    }

    /// Converts a socket that listens already, from a service manager for example, and makes it
    /// non-blocking. The path of a UNIX socket is not removed with this listener, unless its
    /// [removal](Self::path_removal) is turned on. The backlog stays as it is.
    ///
    /// # Errors
    ///
    /// Gives the socket back. [`InvalidInput`](io::ErrorKind::InvalidInput): it does not listen, is not a
    /// stream socket of a family that [`Address`] has, or an option has to be set before a socket listens.
    /// `ENOTSOCK`: it is no socket. `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{ListenOptions, Listener};
    /// use std::net::TcpListener;
    ///
    /// let inherited = TcpListener::bind("127.0.0.1:0")?;
    /// let options = ListenOptions { accept_batch_max: 4, ..ListenOptions::default() };
    /// let listener = Listener::adopt(inherited, &options)?;
    /// assert!(listener.address().inet().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn adopt<T: Into<OwnedFd> + AsFd>(
        socket: T,
        options: &ListenOptions,
    ) -> Result<Self, ConversionError<T>> {
        let prepare = || {
            let address = Self::address_of(&socket)?;
            let family = Family::of(address);
            options.check_bound()?;
            options.check(&address)?;
            options.apply(&socket, family)?;
            epoll_sys::set_nonblocking(&socket)?;
            Ok((new_gate(&socket, options)?, address))
        };
        match prepare() {
            Ok((gate, address)) => {
                let mut listener = Self::assemble(socket.into(), gate, address, options);
                listener.path = address.as_path().and_then(UnixPath::adopted);
                Ok(listener)
            }
            Err(error) => Err(ConversionError::new(socket, error)),
        }
    }

    /// Returns the address at which a socket listens, if [`adopt`](Self::adopt) takes sockets of its kind.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): it does not listen, or is not a stream socket of a family
    /// that [`Address`] has. `ENOTSOCK`: it is no socket.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::Listener;
    /// use std::net::{TcpListener, UdpSocket};
    ///
    /// let listening = TcpListener::bind("127.0.0.1:0")?;
    /// assert_eq!(Listener::address_of(&listening)?.inet(), Some(listening.local_addr()?));
    /// assert!(Listener::address_of(UdpSocket::bind("127.0.0.1:0")?).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn address_of(socket: impl AsFd) -> io::Result<Address> {
        let family = socket::family(&socket)?;
        if family.is_none() || !socket::is_stream(&socket)? {
            return Err(wrong_kind("not a TCP or UNIX stream socket"));
        }
        if !socket::is_listening(&socket)? {
            return Err(wrong_kind("the socket does not listen"));
        }
        socket::local_address(&socket)
    }

    /// Binds listeners for several threads, `count` of them, one at least.
    ///
    /// At an internet address each has a queue of its own (`SO_REUSEPORT`), and the kernel spreads the
    /// connections over the queues. Unless the options set `reuse_port`, the address has to be free first:
    /// otherwise these listeners would silently share it with another server of the same user. At a UNIX
    /// address they share one queue.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{ListenOptions, Listener};
    ///
    /// let any = "127.0.0.1:0".parse()?;
    /// let listeners = Listener::bind_several(&any, &ListenOptions::default(), 4)?;
    /// assert_eq!(listeners.len(), 4);
    /// assert!(listeners.iter().all(|one| one.address() == listeners[0].address()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bind_several(
        address: &Address,
        options: &ListenOptions,
        count: usize,
    ) -> io::Result<Vec<Self>> {
        let is_group = count > 1 && matches!(address, Address::Inet(_));
        // The first binds alone, which fails if another server has the address; the others share its.
        let mut listeners =
            vec![Self::bind_with(address, options, is_group || options.reuse_port)?];
        let joining = ListenOptions { reuse_port: true, ..options.clone() };
        while listeners.len() < count {
            let first = &listeners[0];
            let next = if is_group {
                Self::bind(first.address(), &joining)?
            } else {
                first.try_clone()?
            };
            listeners.push(next);
        }
        Ok(listeners)
    }

    /// Returns another listener on the same socket, for another thread: the queue is shared, the pauses and
    /// the counters are not.
    ///
    /// The path of a UNIX socket is removed with the listener that was bound to it, not with a
    /// clone; the socket is closed with the last of them.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{ListenOptions, Listener};
    /// use std::net::TcpStream;
    ///
    /// let listener = Listener::bind(&"127.0.0.1:0".parse()?, &ListenOptions::default())?;
    /// let mut clone = listener.try_clone()?;
    /// let _client = TcpStream::connect(listener.address().inet().expect("an internet address"))?;
    /// assert_eq!(clone.accept_batch().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        let is_closed = self.end == Some(BatchEnd::Closed);
        Ok(Self {
            path: None,
            gate: match self.gate {
                Some(_) => Some(Gate::new(&socket)?),
                None => None,
            },
            spare: socket.try_clone().ok(),
            socket,
            address: self.address,
            accept_batch_max: self.accept_batch_max,
            queue_max: self.queue_max,
            stream_options: self.stream_options.clone(),
            last_pause: Duration::ZERO,
            skips: 0,
            end: is_closed.then_some(BatchEnd::Closed),
            is_fruitless: true,
            counters: AcceptCounters::default(),
        })
    }

    /// Returns the address that it listens at, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the listening socket. Unlike the descriptor of [`AsFd`], it is readable during a pause too.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Returns the switch that says whether the path of a UNIX socket is removed with this listener; `None` if
    /// there is no path, or another clone removes it.
    #[must_use]
    pub fn path_removal(&self) -> Option<PathRemoval> {
        self.path.as_ref().map(|path| path.removal().clone())
    }

    /// Returns the counters of the listener.
    #[must_use]
    pub fn counters(&self) -> AcceptCounters {
        self.counters
    }

    /// Accepts connections from the queue, one at a time, until the queue is empty, the batch is full, or
    /// nothing can be accepted; [`batch_end`](Self::batch_end) then returns which.
    ///
    /// Call it when the listener is reported. Connections that died in the queue are skipped and counted. A
    /// call during a pause ends the pause.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{BatchEnd, ListenOptions, Listener};
    /// use std::net::TcpStream;
    ///
    /// let options = ListenOptions { accept_batch_max: 1, ..ListenOptions::default() };
    /// let mut listener = Listener::bind(&"127.0.0.1:0".parse()?, &options)?;
    /// let address = listener.address().inet().expect("an internet address");
    /// let _clients = [TcpStream::connect(address)?, TcpStream::connect(address)?];
    /// for (count, end) in [(1, BatchEnd::BatchFull), (1, BatchEnd::BatchFull), (0, BatchEnd::QueueEmpty)] {
    ///     assert_eq!(listener.accept_batch().count(), count);
    ///     match listener.batch_end() {
    ///         Some(BatchEnd::Closed) => panic!("a server unwatches the listener and drops it"),
    ///         // A level trigger reports the rest of the queue, and the end of a pause.
    ///         other => assert_eq!(other, Some(end)),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn accept_batch(&mut self) -> AcceptBatch<'_> {
        if self.end != Some(BatchEnd::Closed) {
            self.end = None;
            self.is_fruitless = true;
            self.resume();
        }
        let left = self.accept_batch_max;
        AcceptBatch { listener: self, left }
    }

    /// Returns the end of the last batch; `None` if it was left early, and before the first.
    #[must_use]
    pub fn batch_end(&self) -> Option<BatchEnd> {
        self.end
    }

    /// Returns an iterator over the connections in the queue, at most as many as can wait there. Dropping it
    /// closes the listener.
    ///
    /// No connection that is in the queue now is reset, unless descriptors are short: then the iterator ends
    /// early, and [`Closing::end`] says so. Clients that connect meanwhile may be reset. If other listeners
    /// share the socket, it stays open.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_reactor::net::{BatchEnd, ListenOptions, Listener};
    /// use std::net::TcpStream;
    ///
    /// let options = ListenOptions { accept_batch_max: 1, ..ListenOptions::default() };
    /// let listener = Listener::bind(&"127.0.0.1:0".parse()?, &options)?;
    /// let address = listener.address().inet().unwrap();
    /// let clients = [TcpStream::connect(address)?, TcpStream::connect(address)?];
    ///
    /// let mut closing = listener.close();
    /// assert_eq!(closing.by_ref().count(), clients.len());
    /// assert_eq!(closing.end(), Some(BatchEnd::QueueEmpty));
    /// drop(closing);
    /// assert!(TcpStream::connect(address).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "dropping the iterator resets the connections that it has not handed out"]
    pub fn close(mut self) -> Closing {
        if self.end != Some(BatchEnd::Closed) {
            self.end = None;
            self.is_fruitless = true;
        }
        let left = self.queue_max;
        Closing { listener: self, left }
    }
}

fn new_gate(socket: impl AsFd, options: &ListenOptions) -> io::Result<Option<Gate>> {
    match options.paused_by {
        PausedBy::Listener => Gate::new(socket).map(Some),
        PausedBy::Owner => Ok(None),
    }
}

/// Listens, and tries again if the address is in use. Two sockets that are bound to one port and begin to
/// listen at the same moment find each other, and the kernel refuses both; tried again, one succeeds. If
/// the port was taken before, `bind` refuses, or every attempt.
fn listen(socket: &OwnedFd, backlog: i32) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match socket::listen(socket, backlog) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < LISTEN_TRIES_MAX => {
                tries += 1;
            }
            listened => return listened,
        }
    }
}

/// Lends the descriptor to watch: the epoll instance of the listener, or its socket with
/// [`PausedBy::Owner`].
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.gate {
            Some(gate) => gate.as_fd(),
            None => self.socket.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    /// Returns the number of what [`AsFd`] lends.
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

macro_rules! conversions {
    ($($source:ty),*) => { $(
        /// [Takes over](Listener::adopt) a socket that listens, with the default options.
        impl TryFrom<$source> for Listener {
            type Error = ConversionError<$source>;

            fn try_from(socket: $source) -> Result<Self, ConversionError<$source>> {
                Self::adopt(socket, &ListenOptions::default())
            }
        }
    )* };
}

conversions!(OwnedFd, TcpListener, UnixListener);
