//! A chat room: what one client writes goes to all the others.
//!
//!     cargo run -p epoll-reactor --example chat -- 127.0.0.1:7777
//!     nc 127.0.0.1 7777
//!
//! Shows a handler that writes to other connections than the one that is ready. A client that does
//! not read what the others say is dropped once [`BACKLOG_MAX`] bytes wait for it.

use epoll_reactor::net::{Accepted, Address, BatchEnd, ListenOptions, Listener, Peer, Stream};
use epoll_reactor::{Interest, Reactor, Readiness, Ready, Source, Token, Watch};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// The most bytes that may wait for a client.
const BACKLOG_MAX: usize = 1 << 20;

#[derive(Clone, Copy)]
enum Service {
    Accept,
}

struct Client {
    stream: Stream,
    peer: Peer,
    /// Bytes for the client that its socket has not taken yet.
    pending: Vec<u8>,
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

    fn is_unshared(&self) -> bool {
        self.stream.is_unshared()
    }
}

impl Client {
    /// Returns the interest: always what the client says, and room while bytes are pending.
    fn interest(&self) -> Interest {
        if self.pending.is_empty() { Interest::IN } else { Interest::IN | Interest::OUT }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(len) => drop(self.pending.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn tell(&mut self, line: &[u8]) -> io::Result<()> {
        if self.pending.len() + line.len() > BACKLOG_MAX {
            return Err(io::Error::other("the client does not read"));
        }
        self.pending.extend_from_slice(line);
        self.flush()
    }
}

type Room = Reactor<Client, Service>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let mut listener = Listener::bind(&address.parse::<Address>()?, &ListenOptions::default())?;
    println!("listening on {}", listener.address());

    let mut room = Room::new()?;
    room.watch(&listener, Service::Accept, Watch::level(Interest::IN))?;
    loop {
        room.wait(None)?;
        while let Some(ready) = room.next_ready() {
            match ready {
                Ready::Watched { tag: Service::Accept, .. } => welcome(&mut room, &mut listener)?,
                Ready::Owned { token, readiness, .. } => {
                    if let Err(error) = converse(&mut room, token, readiness) {
                        leave(&mut room, token, &error);
                    }
                }
                Ready::Woken => {}
            }
        }
    }
}

fn welcome(room: &mut Room, listener: &mut Listener) -> io::Result<()> {
    for Accepted { stream, peer } in listener.accept_batch() {
        println!("{peer} joins");
        room.insert(
            Client { stream, peer: Peer::from(&peer), pending: Vec::new() },
            Watch::level(Interest::IN),
        )?;
    }
    // A room that nobody can enter any more has no reason to stay open.
    match listener.batch_end() {
        Some(BatchEnd::Closed) => Err(io::Error::other("the listener was closed from outside")),
        _ => Ok(()),
    }
}

fn converse(room: &mut Room, speaker: Token, readiness: Readiness) -> io::Result<()> {
    let client = &mut room[speaker];
    client.flush()?;
    if readiness.may_read() {
        let mut buffer = [0; 4096];
        match client.stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the client has hung up")),
            Ok(len) => {
                let mut line = format!("{}: ", client.peer).into_bytes();
                line.extend_from_slice(&buffer[..len]);
                tell_others(room, speaker, &line)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let interest = room[speaker].interest();
    room.set_interest(speaker, interest)
}

fn tell_others(room: &mut Room, speaker: Token, line: &[u8]) -> io::Result<()> {
    let others: Vec<Token> = room.iter_mut().map(|(token, _)| token).collect();
    for other in others.into_iter().filter(|&token| token != speaker) {
        match room[other].tell(line) {
            Ok(()) => {
                let interest = room[other].interest();
                room.set_interest(other, interest)?;
            }
            Err(error) => leave(room, other, &error),
        }
    }
    Ok(())
}

fn leave(room: &mut Room, token: Token, why: &io::Error) {
    if let Some(client) = room.remove(token) {
        println!("{} leaves: {why}", client.peer);
    }
}
