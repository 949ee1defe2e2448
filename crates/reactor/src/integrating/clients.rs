use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Ready, Registration, Source, Watch};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

struct Client {
    stream: Stream,
    /// Bytes that were read and not written yet.
    rest: Vec<u8>,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Source for Client {
    fn is_nonblocking(&self) -> bool {
        self.stream.is_nonblocking()
    }
}

impl Client {
    /// Reads once, unless bytes are left to be written. Returns `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        if !self.rest.is_empty() {
            return Ok(true);
        }
        match self.stream.read(&mut buffer) {
            Ok(len) => {
                self.rest.extend_from_slice(&buffer[..len]);
                Ok(len > 0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes what is left, as far as there is room. Returns what the client waits for then.
    fn flush(&mut self) -> io::Result<Interest> {
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(len) => drop(self.rest.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Interest::OUT),
                Err(error) => return Err(error),
            }
        }
        Ok(Interest::IN)
    }
}

/// Serves a client of any reactor. An error ends the connection, never the loop.
fn echo(mut client: impl Registration<Source = Client>) {
    let interest = match client.fill() {
        Ok(true) => client.flush(),
        Ok(false) | Err(_) => return client.close(),
    };
    if interest.and_then(|interest| client.set_interest(interest)).is_err() {
        client.close();
    }
}

/// Makes one turn that does not sleep. Returns `true` if something was reported.
fn turn(reactor: &mut Reactor<Client>) -> io::Result<bool> {
    let mut has_reported = false;
    reactor.wait(Some(Duration::ZERO))?;
    while let Some(ready) = reactor.next_ready() {
        has_reported = true;
        let Ready::Owned { token, .. } = ready else { continue };
        if let Some(client) = reactor.entry(token) {
            echo(client);
        }
    }
    Ok(has_reported)
}
