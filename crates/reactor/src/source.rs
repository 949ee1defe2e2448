//! The trait of the values that a reactor can own, and its promises.

use epoll_sys::{Epoll, EventFd, SignalFd, TimerFd};
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

/// A value with a descriptor, which a [`Reactor`](crate::Reactor) can own.
///
/// Implementing it takes one line. The two methods are promises that save system calls, for types that
/// can make them. The descriptor must be the same for as long as the reactor owns the value.
///
/// # Examples
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
///     fn is_nonblocking(&self) -> bool {
///         self.stream.is_nonblocking()
///     }
///
///     fn is_unshared(&self) -> bool {
///         self.stream.is_unshared()
///     }
/// }
/// ```
///
/// Several kinds of source in one reactor, without an enum: a trait of the program's own, boxed.
///
/// ```
/// use epoll_reactor::net::Stream;
/// use epoll_reactor::{Interest, Reactor, Readiness, Ready, Source, Watch};
/// use epoll_reactor::epoll_sys::EventFd;
/// use std::io;
/// use std::os::fd::{AsFd, BorrowedFd};
///
/// trait Handler: Source {
///     fn on_ready(&mut self, readiness: Readiness) -> io::Result<()>;
/// }
///
/// struct Ticks {
///     counter: EventFd,
///     seen: u64,
/// }
///
/// impl AsFd for Ticks {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.counter.as_fd()
///     }
/// }
///
/// impl Source for Ticks {
///     fn is_nonblocking(&self) -> bool {
///         self.counter.is_nonblocking()
///     }
/// }
///
/// impl Handler for Ticks {
///     fn on_ready(&mut self, _: Readiness) -> io::Result<()> {
///         self.seen += self.counter.read()?;
///         Ok(())
///     }
/// }
///
/// let mut reactor: Reactor<Box<dyn Handler>> = Reactor::new()?;
/// let ticks = Ticks { counter: EventFd::new(3)?, seen: 0 };
/// reactor.insert(Box::new(ticks), Watch::level(Interest::IN))?;
/// reactor.wait(None)?;
/// while let Some(ready) = reactor.next_ready() {
///     if let Ready::Owned { source, readiness, .. } = ready {
///         source.on_ready(readiness)?;
///     }
/// }
/// # Ok::<(), io::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a reactor cannot own a `{Self}`",
    label = "not a `Source`",
    note = "a type that has a descriptor (`AsFd`) becomes a source by one line: `impl Source for {Self} {{}}`",
    note = "a reactor that owns nothing, and only watches, is made by `Reactor::watch_only()`"
)]
pub trait Source: AsFd {
    /// Promises that this value's descriptor is non-blocking. If this is `false`, an insertion asks the
    /// kernel (`fcntl(F_GETFL)`).
    fn is_nonblocking(&self) -> bool {
        false
    }

    /// Promises that this value's descriptor was not cloned (`dup`, `try_clone`, a child that keeps it
    /// open), so that closing it ends its registration. If this is `false`,
    /// [`Reactor::close`](crate::Reactor::close) issues `EPOLL_CTL_DEL` first.
    ///
    /// If the promise is broken, the kernel goes on reporting the clone. The reactor drops such
    /// events, counts them as stale, and after a hundred of one registration replaces its epoll
    /// instance; see [`Reactor::rebuild`](crate::Reactor::rebuild).
    fn is_unshared(&self) -> bool {
        false
    }
}

macro_rules! sources {
    ($($name:ty),*) => { $(impl Source for $name {})* };
}

sources!(OwnedFd, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream);
sources!(ChildStdin, ChildStdout, ChildStderr, File);

macro_rules! nonblocking_sources {
    ($($name:ty),*) => {
        $(impl Source for $name {
            fn is_nonblocking(&self) -> bool {
                true
            }
        })*
    };
}

// An epoll instance counts among them: it is never read, and its wait has a timeout.
nonblocking_sources!(EventFd, SignalFd, Epoll);

impl<C> Source for TimerFd<C> {
    fn is_nonblocking(&self) -> bool {
        true
    }
}

impl<T: Source + ?Sized> Source for Box<T> {
    fn is_nonblocking(&self) -> bool {
        (**self).is_nonblocking()
    }

    fn is_unshared(&self) -> bool {
        (**self).is_unshared()
    }
}

/// The source type of a reactor that owns nothing: it has no values. See
/// [`Reactor::watch_only`](crate::Reactor::watch_only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSource {}

impl AsFd for NoSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

impl Source for NoSource {}
