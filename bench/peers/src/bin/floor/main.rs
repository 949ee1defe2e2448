//! The reference: a loop written straight on the system calls, level-triggered, as lean as it would
//! be in C. Connections are found by their descriptors' numbers.
//!
//! Flags change one thing about it at a time: how it waits, and how the bytes get back. Each choice
//! is a loop of its own, so the one without flags pays for none of them.

mod copying;
mod experiment;
mod splicing;
mod waiting;

use crate::copying::Copying;
use crate::experiment::{Experiment, Wait, Way};
use crate::splicing::Splicing;
use crate::waiting::{AtOnce, Spinning, Twice, Waiting};
use anyhow::Context;
use epoll_kit_bench_peers::{BUFFER_LEN, EVENTS_MAX, Options, Threading, accept, run_with};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

/// No descriptor has this number.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    run_with(Threading::Chosen, serve_on_threads)
}

/// Threads that share nothing: each has an epoll instance and a listener.
fn serve_on_threads(options: &Options, experiment: &Experiment) -> anyhow::Result<()> {
    let experiment = *experiment;
    let mut listeners = options.listen_shared()?;
    if listeners.len() == 1 {
        return listeners.pop().map_or(Ok(()), |listener| serve(&listener, experiment));
    }
    let (sender, ended) = mpsc::channel();
    for listener in listeners {
        let sender = sender.clone();
        thread::Builder::new()
            .spawn(move || sender.send(serve(&listener, experiment)))
            .context("failed to start a thread")?;
    }
    // The first that ends ends the process.
    ended.recv()?
}

fn serve(listener: &TcpListener, experiment: Experiment) -> anyhow::Result<()> {
    match experiment.wait {
        Wait::AtOnce => serve_waiting(listener, experiment, &AtOnce),
        Wait::Twice => serve_waiting(listener, experiment, &Twice),
        Wait::Spinning(time) => serve_waiting(listener, experiment, &Spinning { time }),
    }
}

fn serve_waiting(
    listener: &TcpListener,
    experiment: Experiment,
    waiting: &impl Waiting,
) -> anyhow::Result<()> {
    match experiment.way {
        Way::Buffer(None) => Server::serve(listener, Copying::new([0; BUFFER_LEN]), waiting),
        Way::Buffer(Some(len)) => Server::serve(listener, Copying::new(vec![0; len]), waiting),
        Way::Pipe => Server::serve(listener, Splicing::default(), waiting),
    }
}

struct Server<T: Transfer> {
    epoll: OwnedFd,
    /// Connections, indexed by descriptor.
    connections: Vec<Option<Connection<T::Unsent>>>,
    transfer: T,
}

struct Connection<U> {
    socket: OwnedFd,
    unsent: U,
}

/// A way to send bytes back, with the state that the connections of a thread share for it.
trait Transfer {
    /// Bytes that a connection has received and its socket does not accept yet.
    type Unsent: Default;

    /// An error that ends the server, not only the connection.
    type Error: Into<anyhow::Error>;

    /// Does as much work as is possible now.
    fn step(&mut self, connection: &mut Connection<Self::Unsent>) -> Result<Step, Self::Error>;
}

enum Step {
    Go,
    Watch(EventFlags),
    Close,
}

impl<T: Transfer> Server<T> {
    // Each choice is a function: in one, the loops would contend for registers.
    #[inline(never)]
    fn serve(listener: &TcpListener, transfer: T, waiting: &impl Waiting) -> anyhow::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let mut server = Self { epoll, connections: Vec::new(), transfer };
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            match waiting.wait(&server.epoll, &mut events) {
                Ok(()) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).context("failed to wait"),
            }
            for event in &events {
                server.handle(event.data.u64(), listener)?;
            }
        }
    }

    #[inline(always)]
    fn handle(&mut self, data: u64, listener: &TcpListener) -> anyhow::Result<()> {
        let index = usize::try_from(data).unwrap_or(usize::MAX);
        match self.connections.get_mut(index) {
            Some(slot) => {
                // An event of a connection that was closed earlier in this batch finds none, or its
                // successor, which then has nothing to read.
                let Some(connection) = slot else { return Ok(()) };
                match self.transfer.step(connection).map_err(Into::into)? {
                    Step::Go => {}
                    Step::Watch(flags) => {
                        let data = EventData::new_u64(data);
                        epoll::modify(&self.epoll, &connection.socket, data, flags)?;
                    }
                    // Nothing else has the descriptor: closing it ends its registration.
                    Step::Close => *slot = None,
                }
            }
            None => self.accept(listener).context("failed to accept")?,
        }
        Ok(())
    }

    #[cold]
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        while let Some(stream) = accept(listener)? {
            let index = usize::try_from(stream.as_raw_fd()).map_err(io::Error::other)?;
            epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            if index >= self.connections.len() {
                self.connections.resize_with(index + 1, || None);
            }
            let connection = Connection { socket: stream.into(), unsent: T::Unsent::default() };
            self.connections[index] = Some(connection);
        }
        Ok(())
    }
}
