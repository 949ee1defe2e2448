//! What a connection asks of the bytes' carrier: a socket, or a script in a test.

use epoll_reactor::net::Stream;
use std::io::{self, Read, Write};
use std::net::Shutdown;

/// A non-blocking byte stream in both directions.
///
/// A read that brings fewer bytes than it had room for must mean that there are no more for now, as
/// it does for stream sockets while neither their end, nor an error, nor urgent data is announced.
pub trait Transport: Read + Write {
    /// Closes the writing half: the peer reads what was written, then the end of the stream.
    ///
    /// # Errors
    ///
    /// What the carrier says, for example that the connection is gone.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

impl Transport for Stream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
