//! The byte stream under a connection: a socket, or a script in a test.

use epoll_reactor::epoll_sys::Pipe;
use epoll_reactor::net::Stream;
use std::io::{self, Read, Write};
use std::net::Shutdown;

/// A non-blocking byte stream in both directions.
///
/// A read that brings fewer bytes than it had room for must mean that there are no more for now, as
/// it does for stream sockets while neither their end, nor an error, nor urgent data is announced.
pub trait Transport: Read + Write {
    /// The pipe that bytes are spliced through, so that they do not come into the process. A read takes
    /// out what it holds.
    type Pipe: Read;

    /// Moves at most `len` bytes that have arrived into the empty `pipe`, and returns how many.
    ///
    /// Unlike with a read, neither 0 nor a short count means that the stream has ended or is dry.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): there is nothing that can go this way now.
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), [`Unsupported`](io::ErrorKind::Unsupported) or
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied): nothing ever can.
    /// Others are those of a read.
    fn fill(&mut self, pipe: &mut Self::Pipe, len: usize) -> io::Result<usize>;

    /// Writes the `len` bytes that `pipe` holds, or some of them, and returns how many.
    ///
    /// # Errors
    ///
    /// Those of a write.
    fn drain(&mut self, pipe: &mut Self::Pipe, len: usize) -> io::Result<usize>;

    /// Returns whether an outgoing connection is established; `false` while it is being established.
    ///
    /// # Errors
    ///
    /// That of the connect.
    fn is_connected(&mut self) -> io::Result<bool>;

    /// Closes the writing half: the peer reads what was written, then the end of the stream.
    ///
    /// # Errors
    ///
    /// That of the socket, for example that the connection is gone.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

impl Transport for Stream {
    type Pipe = Pipe;

    fn fill(&mut self, pipe: &mut Pipe, len: usize) -> io::Result<usize> {
        pipe.fill(self, len)
    }

    fn drain(&mut self, pipe: &mut Pipe, len: usize) -> io::Result<usize> {
        pipe.drain(self, len)
    }

    fn is_connected(&mut self) -> io::Result<bool> {
        self.connected()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
