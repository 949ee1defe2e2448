//! What a reactor can own, and what it may rely on about it.

use epoll_sys::{EventFd, SignalFd, TimerFd};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

/// A value with a descriptor, which a [`Reactor`](crate::Reactor) can own.
///
/// Implementing it takes one line; the constants spare system calls where the type can promise what
/// they say. The descriptor must be the same for as long as the reactor owns the value.
///
/// ```
/// use epoll_reactor::{Source, net::Stream};
/// use std::os::fd::{AsFd, BorrowedFd};
///
/// struct Client {
///     stream: Stream,
///     name: String,
/// }
///
/// impl AsFd for Client {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.stream.as_fd()
///     }
/// }
///
/// impl Source for Client {
///     const NONBLOCKING: bool = Stream::NONBLOCKING;
///     const UNSHARED: bool = Stream::UNSHARED;
/// }
/// ```
pub trait Source: AsFd {
    /// Every value's descriptor is non-blocking. Where this is false, an edge-triggered
    /// registration asks the kernel (`fcntl(F_GETFL)`).
    const NONBLOCKING: bool = false;

    /// Nothing has cloned a value's descriptor (`dup`, `try_clone`, a child that keeps it open), so
    /// that closing it ends its registration. Where this is false,
    /// [`Reactor::close`](crate::Reactor::close) issues `EPOLL_CTL_DEL` first.
    ///
    /// When the promise is broken, the kernel goes on reporting the clone. The reactor drops such
    /// events and counts them as stale, but a level-triggered one makes every wait return at once.
    const UNSHARED: bool = false;
}

macro_rules! sources {
    ($($name:ty),*) => { $(impl Source for $name {})* };
}

sources!(OwnedFd, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream);
sources!(ChildStdin, ChildStdout, ChildStderr, std::fs::File, epoll_sys::Epoll);

macro_rules! nonblocking_sources {
    ($($name:ty),*) => { $(impl Source for $name { const NONBLOCKING: bool = true; })* };
}

nonblocking_sources!(EventFd, SignalFd);

impl<C> Source for TimerFd<C> {
    const NONBLOCKING: bool = true;
}

impl<T: Source> Source for Box<T> {
    const NONBLOCKING: bool = T::NONBLOCKING;
    const UNSHARED: bool = T::UNSHARED;
}
