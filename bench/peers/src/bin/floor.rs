//! The reference: a loop written straight on the system calls, level-triggered, as lean as it would
//! be in C. Connections are found by their descriptors' numbers.

#![forbid(unsafe_code)]

use anyhow::Context;
use epoll_kit_bench_peers::{BUFFER_LEN, EVENTS_MAX, Options, Threading, Unsent, accept, run};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

/// No descriptor has this number.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    run(Threading::Chosen, serve_on_threads)
}

/// Threads that share nothing: each has an epoll instance and a listener.
fn serve_on_threads(options: &Options) -> anyhow::Result<()> {
    let mut listeners = options.listen_shared()?;
    if listeners.len() == 1 {
        return listeners.pop().map_or(Ok(()), |listener| serve(&listener));
    }
    let (sender, ended) = mpsc::channel();
    for listener in listeners {
        let sender = sender.clone();
        thread::Builder::new()
            .spawn(move || sender.send(serve(&listener)))
            .context("failed to start a thread")?;
    }
    // The first that ends ends the process.
    ended.recv()?
}

struct Server {
    epoll: OwnedFd,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
}

struct Connection {
    socket: Socket,
    unsent: Unsent,
}

struct Socket(OwnedFd);

enum Step {
    Go,
    Watch(EventFlags),
    Close,
}

fn serve(listener: &TcpListener) -> anyhow::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Server { epoll, connections: Vec::new() };
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).context("failed to wait"),
        }
        for event in &events {
            server.handle(event.data.u64(), listener, &mut buffer)?;
        }
    }
}

impl Server {
    #[inline(always)]
    fn handle(
        &mut self,
        data: u64,
        listener: &TcpListener,
        buffer: &mut [u8],
    ) -> anyhow::Result<()> {
        let index = usize::try_from(data).unwrap_or(usize::MAX);
        match self.connections.get_mut(index) {
            Some(slot) => {
                // An event of a connection that was closed earlier in this batch finds none, or its
                // successor, which then has nothing to read.
                let Some(connection) = slot else { return Ok(()) };
                match connection.step(buffer) {
                    Step::Go => {}
                    Step::Watch(flags) => {
                        epoll::modify(
                            &self.epoll,
                            &connection.socket.0,
                            EventData::new_u64(data),
                            flags,
                        )?;
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
            let connection =
                Connection { socket: Socket(stream.into()), unsent: Unsent::default() };
            self.connections[index] = Some(connection);
        }
        Ok(())
    }
}

impl Connection {
    #[inline(always)]
    fn step(&mut self, buffer: &mut [u8]) -> Step {
        if !self.unsent.is_empty() {
            return match self.unsent.flush(&mut self.socket) {
                Ok(true) => Step::Watch(EventFlags::IN),
                Ok(false) => Step::Go,
                Err(_) => Step::Close,
            };
        }
        let len = match recv(&self.socket.0, &mut *buffer, RecvFlags::empty()) {
            Ok((len, _)) if len > 0 => len,
            Err(Errno::AGAIN) => return Step::Go,
            Ok(_) | Err(_) => return Step::Close,
        };
        match self.unsent.send(&mut self.socket, &buffer[..len]) {
            Ok(true) => Step::Go,
            Ok(false) => Step::Watch(EventFlags::OUT),
            Err(_) => Step::Close,
        }
    }
}

impl Write for Socket {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
