//! Accepting connections: in small batches, past the errors of single connections, and without
//! spinning when the process is out of descriptors.
//!
//! Kernel facts: (a) accepted sockets inherit `TCP_NODELAY`, keepalive and buffer sizes, so these
//! are set on the listener, once; (b) `accept` hands over network errors of connections that died in
//! the queue; (c) on `EMFILE` and its like the connection stays in the queue, so a level-triggered
//! listener is reported at once again: it must be left alone for a while.

use crate::log::{trace, warning};
use crate::net::{Address, Peer, Stream, unix_path};
use epoll_sys::{EventFd, errno, socket};
use std::io;
use std::ops::Add;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The first pause after the process has run out of descriptors; each that follows is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How many connections are accepted and closed before a pause, with the spare descriptor.
const SHED_MAX: u32 = 1;
/// How often a socket tries to listen at an address that is in use.
const LISTEN_TRIES_MAX: u32 = 8;

/// How a [`Listener`] listens.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted; the kernel clamps it to
    /// `net.core.somaxconn`.
    pub backlog: u32,
    /// The most connections that one [`Listener::accept_batch`] gives; zero counts as one.
    pub accept_batch_max: u32,
    /// `TCP_NODELAY` for every connection.
    pub nodelay: bool,
    /// `SO_OOBINLINE` for every connection: urgent data stays among the other bytes. A read still
    /// stops before it, so a short read does not mean that a socket is drained while
    /// [`PRI`](crate::Readiness::PRI) is reported.
    pub oob_inline: bool,
    /// After how much silence the peer of a TCP connection is probed.
    pub keepalive: Option<Duration>,
    /// `SO_REUSEPORT`: several listeners of one user share the address, each with its own queue.
    pub reuse_port: bool,
    /// `SO_RCVBUF` of every connection, in bytes; the kernel doubles it. Its own choice otherwise.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF` of every connection, in bytes; the kernel doubles it. Its own choice otherwise.
    pub send_buffer: Option<usize>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            accept_batch_max: 16,
            nodelay: true,
            oob_inline: false,
            keepalive: None,
            reuse_port: false,
            receive_buffer: None,
            send_buffer: None,
        }
    }
}

/// What a [`Listener`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptCounters {
    /// Connections that were handed out.
    pub accepted: u64,
    /// Connections that had died in the queue.
    pub aborted: u64,
    /// Connections that were accepted and closed at once for want of descriptors.
    pub shed: u64,
    /// Pauses for want of descriptors or memory.
    pub pauses: u64,
}

/// The counts of two listeners together.
impl Add for AcceptCounters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            aborted: self.aborted + other.aborted,
            shed: self.shed + other.shed,
            pauses: self.pauses + other.pauses,
        }
    }
}

/// A connection that a [`Listener`] accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Who is at its other end.
    pub peer: Peer,
}

/// A socket that accepts connections.
///
/// Watch it level-triggered: a batch that leaves connections in the queue is then reported again. A
/// batch may be left early, as `accept_batch().take(n)` does; what was not accepted stays in the
/// queue.
///
/// # Out of descriptors
///
/// When `accept` fails for want of descriptors or memory, the batch ends and
/// [`pause`](Self::pause) gives a time for which the listener is to be left alone:
/// [unwatch](crate::Reactor::unwatch) it, wait no longer than that, and watch it again. The pauses
/// grow from 5 milliseconds to a second and
/// begin anew once a connection was accepted. Before each pause one connection is accepted with a
/// spare descriptor and closed, so that clients learn that the server is full; the others wait in
/// the queue.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::{Address, Listener, ListenOptions, Stream};
///
/// let mut listener = Listener::bind(&"127.0.0.1:0".parse()?, &ListenOptions::default())?;
/// let client = Stream::connect(listener.address())?;
/// # let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
/// # let mut listener = listener;
/// let accepted = loop {
///     if let Some(accepted) = listener.accept_batch().next() {
///         break accepted;
///     }
/// #   assert!(std::time::Instant::now() < deadline);
/// };
/// println!("a connection from {}", accepted.peer);
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    /// Removes the path of a UNIX socket when the listener is dropped. Before it is closed: while it
    /// listens no other server takes the path.
    _path: Option<unix_path::UnixPath>,
    fd: OwnedFd,
    address: Address,
    accept_batch_max: u32,
    spare: Option<EventFd>,
    /// The last pause, from which the next one grows; zero once a connection was accepted.
    last_pause: Duration,
    /// The pause that the last batch asked for.
    pause: Option<Duration>,
    counters: AcceptCounters,
}

impl Listener {
    /// A socket that listens at `address`.
    ///
    /// Port 0 takes a free one, which [`address`](Self::address) tells. At the path of a UNIX socket
    /// whose server is dead the socket is replaced; a path where a server listens, or where
    /// something else is, is left alone. The path is removed with the listener.
    ///
    /// # Errors
    ///
    /// - [`AddrInUse`](io::ErrorKind::AddrInUse): someone listens there, or the path is taken.
    /// - [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): no address of this machine.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): a privileged port, or a directory
    ///   that is not writable.
    /// - [`NotFound`](io::ErrorKind::NotFound): the directory does not exist.
    /// - `ENAMETOOLONG`: the path has more than 108 bytes.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): a path with a NUL byte, or a keepalive of
    ///   more than 32 767 seconds.
    pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<Self> {
        Self::bind_then(address, options, options.reuse_port)
    }

    /// Listens, and lets others of the user join in at the same address only after that, if `is_joined`.
    /// Before, two servers that start at the same time could both do so and never learn of each other.
    fn bind_then(address: &Address, options: &ListenOptions, is_joined: bool) -> io::Result<Self> {
        let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
        let (fd, path) = match address {
            Address::Inet(inet) => {
                let fd = socket::stream(socket::Family::of(inet))?;
                socket::set_reuse_address(&fd, true)?;
                socket::set_reuse_port(&fd, options.reuse_port)?;
                socket::set_nodelay(&fd, options.nodelay)?;
                socket::set_oob_inline(&fd, options.oob_inline)?;
                socket::set_keepalive(&fd, options.keepalive)?;
                set_buffers(&fd, options)?;
                socket::bind(&fd, inet)?;
                listen(&fd, backlog)?;
                if is_joined != options.reuse_port {
                    socket::set_reuse_port(&fd, is_joined)?;
                }
                (fd, None)
            }
            Address::Unix(path) => {
                let fd = socket::stream(socket::Family::Unix)?;
                set_buffers(&fd, options)?;
                let path = unix_path::listen(&fd, path, backlog)?;
                (fd, Some(path))
            }
        };
        let address = socket::local_address(&fd)?.map_or_else(|| address.clone(), Address::Inet);
        Ok(Self {
            _path: path,
            fd,
            address,
            accept_batch_max: options.accept_batch_max.max(1),
            spare: EventFd::new(0).ok(),
            last_pause: Duration::ZERO,
            pause: None,
            counters: AcceptCounters::default(),
        })
    }

    /// Listeners for several threads, `count` of them, one at least.
    ///
    /// At an internet address each has a queue of its own (`SO_REUSEPORT`), among which the kernel
    /// spreads the connections. Unless the options say otherwise, the address has to be free first:
    /// with `SO_REUSEPORT` alone, another server of the same user would be joined without a word. At
    /// the path of a UNIX socket they share one queue.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_several(
        address: &Address,
        options: &ListenOptions,
        count: usize,
    ) -> io::Result<Vec<Self>> {
        let is_group = count > 1 && matches!(address, Address::Inet(_));
        let mut listeners =
            vec![Self::bind_then(address, options, is_group || options.reuse_port)?];
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

    /// The same socket once more, for another thread: the queue is shared, the pauses and the
    /// counters are not.
    ///
    /// The path of a UNIX socket is removed with the listener that was bound to it, not with a
    /// clone; the socket is closed with the last of them.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            _path: None,
            fd: self.fd.try_clone()?,
            address: self.address.clone(),
            accept_batch_max: self.accept_batch_max,
            spare: EventFd::new(0).ok(),
            last_pause: Duration::ZERO,
            pause: None,
            counters: AcceptCounters::default(),
        })
    }

    /// Where it listens, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> AcceptCounters {
        self.counters
    }

    /// Accepts connections from the queue, one at a time, until the queue is empty, the batch is
    /// full, or [a pause](Self::pause) is due.
    ///
    /// Connections that died in the queue are passed over and counted. Call it when the listener is
    /// reported.
    pub fn accept_batch(&mut self) -> AcceptBatch<'_> {
        self.pause = None;
        let left = self.accept_batch_max;
        AcceptBatch { listener: self, left }
    }

    /// How long to leave the listener alone from now on, when the last batch ended for want of
    /// descriptors or memory.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        self.pause
    }

    fn accept(&mut self) -> Attempt {
        match socket::accept(&self.fd) {
            Ok((fd, peer)) => {
                self.counters.accepted += 1;
                self.last_pause = Duration::ZERO;
                let accepted = Accepted { stream: Stream::new(fd), peer: Peer::from(peer) };
                Attempt::Accepted(accepted)
            }
            Err(error) => match Verdict::of(&error) {
                Verdict::Empty => Attempt::Ended,
                Verdict::Skip => {
                    self.counters.aborted += 1;
                    trace!("connection died in the queue", error);
                    Attempt::Skipped
                }
                Verdict::Again => Attempt::Skipped,
                Verdict::Pause if self.is_empty_after_shedding() => Attempt::Ended,
                Verdict::Pause => {
                    self.lengthen_pause();
                    let pause = self.last_pause;
                    warning!("accepting pauses", error, pause);
                    Attempt::Ended
                }
            },
        }
    }

    /// Gives up the spare descriptor for a moment to accept and close what waits. Tells whether
    /// nothing does: `accept` reports the want of descriptors before it looks at the queue.
    fn is_empty_after_shedding(&mut self) -> bool {
        for _ in 0..SHED_MAX {
            if self.spare.take().is_none() {
                break;
            }
            let accepted = socket::accept(&self.fd);
            let is_empty = matches!(&accepted, Err(error) if Verdict::of(error) == Verdict::Empty);
            self.counters.shed += u64::from(accepted.is_ok());
            drop(accepted);
            // Another thread may have taken the descriptor; then there is no spare until the next
            // pause finds room for one.
            self.spare = EventFd::new(0).ok();
            if is_empty {
                return true;
            }
        }
        false
    }

    fn lengthen_pause(&mut self) {
        if self.spare.is_none() {
            self.spare = EventFd::new(0).ok();
        }
        self.last_pause = (self.last_pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.pause = Some(self.last_pause);
        self.counters.pauses += 1;
    }
}

/// Listens. Two sockets that are bound to one port and begin at the same moment find each other
/// listening, and the kernel refuses both; tried again, one is let in. Who really has come too late is
/// refused by `bind` already, or every time.
fn listen(fd: &OwnedFd, backlog: i32) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match socket::listen(fd, backlog) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < LISTEN_TRIES_MAX => {
                tries += 1;
            }
            listened => return listened,
        }
    }
}

fn set_buffers(fd: &OwnedFd, options: &ListenOptions) -> io::Result<()> {
    if let Some(bytes) = options.receive_buffer {
        socket::set_receive_buffer(fd, bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket::set_send_buffer(fd, bytes)?;
    }
    Ok(())
}

enum Attempt {
    Accepted(Accepted),
    Skipped,
    Ended,
}

/// What an error of `accept` says about the queue.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is empty.
    Empty,
    /// One connection is gone, the next may be well.
    Skip,
    /// A signal's handler ran.
    Again,
    /// Nothing can be accepted now. Errors that nobody foresaw count here, so that they cannot make
    /// the loop spin.
    Pause,
}

impl Verdict {
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::WouldBlock => Self::Empty,
            Kind::Interrupted => Self::Again,
            Kind::ConnectionAborted
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
            | Kind::TimedOut
            | Kind::Unsupported
            | Kind::PermissionDenied => Self::Skip,
            _ if SKIPPED.contains(&error.raw_os_error().unwrap_or(0)) => Self::Skip,
            _ => Self::Pause,
        }
    }
}

/// Network errors of the new connection for which the standard library has no kind, `accept(2)`.
const SKIPPED: [i32; 5] =
    [errno::EPROTO, errno::ENOPROTOOPT, errno::EHOSTDOWN, errno::ENONET, errno::EOPNOTSUPP];

/// The connections of one [`Listener::accept_batch`].
#[derive(Debug)]
pub struct AcceptBatch<'a> {
    listener: &'a mut Listener,
    left: u32,
}

impl Iterator for AcceptBatch<'_> {
    type Item = Accepted;

    fn next(&mut self) -> Option<Accepted> {
        while self.left > 0 {
            self.left -= 1;
            match self.listener.accept() {
                Attempt::Accepted(accepted) => return Some(accepted),
                Attempt::Skipped => {}
                Attempt::Ended => self.left = 0,
            }
        }
        None
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
