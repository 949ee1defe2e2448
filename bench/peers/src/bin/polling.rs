//! polling, in its level-triggered mode.
//!
//! Its own call to add a source is unsafe. What it does is one `epoll_ctl` on the descriptor of the
//! poller, which rustix does safely; everything else is polling's.

use anyhow::Context;
use epoll_kit_bench_peers::{BUFFER_LEN, EVENTS_MAX, Options, Threading, Unsent, accept, run};
use polling::{Event, Events, PollMode, Poller};
use rustix::event::epoll::{self, EventData, EventFlags};
use slab::Slab;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// No place in the slab has this number. The greatest one is the crate's own.
const LISTENER: usize = usize::MAX - 1;

fn main() -> ExitCode {
    run(Threading::Fixed, serve)
}

struct Connection {
    stream: TcpStream,
    unsent: Unsent,
}

enum Step {
    Go,
    Watch(fn(usize) -> Event),
    Close,
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = options.listen()?;
    let poller = Poller::new()?;
    add(&poller, &listener, LISTENER)?;
    let mut connections: Slab<Connection> = Slab::new();
    let mut events = NonZeroUsize::new(EVENTS_MAX).map_or_else(Events::new, Events::with_capacity);
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        events.clear();
        poller.wait(&mut events, None).context("failed to wait")?;
        for event in events.iter() {
            if event.key == LISTENER {
                accept_all(&poller, &listener, &mut connections).context("failed to accept")?;
            } else if let Some(connection) = connections.get_mut(event.key) {
                match connection.step(&mut buffer) {
                    Step::Go => {}
                    Step::Watch(interest) => {
                        let interest = interest(event.key);
                        poller.modify_with_mode(&connection.stream, interest, PollMode::Level)?;
                    }
                    Step::Close => {
                        poller.delete(&connection.stream)?;
                        connections.remove(event.key);
                    }
                }
            }
        }
    }
}

fn accept_all(
    poller: &Poller,
    listener: &TcpListener,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    while let Some(stream) = accept(listener)? {
        let entry = connections.vacant_entry();
        add(poller, &stream, entry.key())?;
        entry.insert(Connection { stream, unsent: Unsent::default() });
    }
    Ok(())
}

/// Watches a source for reading with the events that `Poller::add_with_mode` would request.
fn add(poller: &Poller, source: impl AsFd, key: usize) -> io::Result<()> {
    Ok(epoll::add(
        poller,
        source,
        EventData::new_u64(key as u64),
        EventFlags::IN | EventFlags::PRI,
    )?)
}

impl Connection {
    fn step(&mut self, buffer: &mut [u8]) -> Step {
        if !self.unsent.is_empty() {
            return match self.unsent.flush(&self.stream) {
                Ok(true) => Step::Watch(Event::readable),
                Ok(false) => Step::Go,
                Err(_) => Step::Close,
            };
        }
        let len = match self.stream.read(buffer) {
            Ok(len) if len > 0 => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Go,
            Ok(_) | Err(_) => return Step::Close,
        };
        match self.unsent.send(&self.stream, &buffer[..len]) {
            Ok(true) => Step::Go,
            Ok(false) => Step::Watch(Event::writable),
            Err(_) => Step::Close,
        }
    }
}
