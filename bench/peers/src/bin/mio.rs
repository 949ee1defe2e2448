//! mio, which is edge-triggered: every connection is watched for everything from the beginning, and
//! a read that brings less than it could is the last one.

use anyhow::Context;
use epoll_kit_bench_peers::{BUFFER_LEN, EVENTS_MAX, Options, Threading, Unsent, is_passing, run};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::io::{self, Read};
use std::process::ExitCode;

/// No place in the slab has this number.
const LISTENER: Token = Token(usize::MAX);

fn main() -> ExitCode {
    run(Threading::Fixed, serve)
}

struct Connection {
    stream: TcpStream,
    unsent: Unsent,
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let mut listener = TcpListener::from_std(options.listen()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections = Slab::new();
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        match poll.poll(&mut events, None) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("failed to wait"),
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut connections).context("failed to accept")?;
            } else if let Some(connection) = connections.get_mut(event.token().0) {
                match connection.step(event, &mut buffer) {
                    Ok(true) => {}
                    // mio asks for no call to deregister what is closed.
                    Ok(false) | Err(_) => drop(connections.remove(event.token().0)),
                }
            }
        }
    }
}

fn accept(
    poll: &Poll,
    listener: &TcpListener,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                let entry = connections.vacant_entry();
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(entry.key()), interest)?;
                entry.insert(Connection { stream, unsent: Unsent::default() });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

impl Connection {
    /// `false`: the peer has sent its end, and everything is echoed.
    fn step(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<bool> {
        let has_ended = event.is_read_closed() || event.is_error();
        if !self.unsent.is_empty() {
            if !self.unsent.flush(&self.stream)? {
                return Ok(true);
            }
            // What has become readable meanwhile was reported meanwhile.
        } else if !event.is_readable() && !has_ended {
            return Ok(true);
        }
        loop {
            let len = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            if !self.unsent.send(&self.stream, &buffer[..len])? {
                return Ok(true);
            }
            // Less than there was room for is all there is, but for the end of the stream.
            if len < buffer.len() && !has_ended {
                return Ok(true);
            }
        }
    }
}
