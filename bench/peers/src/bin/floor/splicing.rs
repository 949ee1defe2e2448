//! Bytes go from socket to socket through a pipe, and never into this process.
//!
//! Kernel facts: (a) a pipe holds a number of pieces rather than of bytes, so what comes in small
//! segments fills it early; one that is empty always takes something, and nothing else is spliced
//! into here; (b) whether a splice waits is said by its flag for the pipe, for the socket by
//! `O_NONBLOCK`; (c) a splice knows no `MSG_NOSIGNAL`, but Rust's programs ignore `SIGPIPE`.

use crate::{Connection, Step, Transfer};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::os::fd::OwnedFd;

/// Bytes that a pipe holds at most: what the system allows anyone, unless it was told otherwise.
const PIPE_LEN: usize = 1 << 20;

/// Empty pipes that are kept for the next that needs one.
const SPARE_MAX: usize = 64;

/// A transfer through pipes. Only an active connection has a pipe: one serves every connection of a
/// thread until a socket is full.
#[derive(Default)]
pub(crate) struct Splicing {
    /// Pipes that hold nothing.
    spare: Vec<Pipe>,
}

pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Bytes in it.
    len: usize,
}

impl Transfer for Splicing {
    type Unsent = Option<Pipe>;
    type Error = io::Error;

    fn step(&mut self, connection: &mut Connection<Option<Pipe>>) -> io::Result<Step> {
        if let Some(pipe) = connection.unsent.take() {
            return Ok(match self.send(pipe, connection) {
                Ok(true) => Step::Watch(EventFlags::IN),
                Ok(false) => Step::Go,
                Err(_) => Step::Close,
            });
        }
        let mut pipe = self.take()?;
        let filled = pipe.fill(&connection.socket);
        if pipe.len == 0 {
            self.give_back(pipe);
            return Ok(if filled == Err(Errno::AGAIN) { Step::Go } else { Step::Close });
        }
        Ok(match self.send(pipe, connection) {
            Ok(true) => Step::Go,
            Ok(false) => Step::Watch(EventFlags::OUT),
            Err(_) => Step::Close,
        })
    }
}

impl Splicing {
    /// Sends the bytes in the pipe. `false`: some of them are left, and the socket is full.
    fn send(
        &mut self,
        mut pipe: Pipe,
        connection: &mut Connection<Option<Pipe>>,
    ) -> Result<bool, Errno> {
        pipe.drain(&connection.socket)?;
        let is_empty = pipe.len == 0;
        if is_empty {
            self.give_back(pipe);
        } else {
            connection.unsent = Some(pipe);
        }
        Ok(is_empty)
    }

    /// Returns an empty pipe. Fails if there is no descriptor for one.
    fn take(&mut self) -> io::Result<Pipe> {
        match self.spare.pop() {
            Some(pipe) => Ok(pipe),
            None => Pipe::new(),
        }
    }

    fn give_back(&mut self, pipe: Pipe) {
        debug_assert_eq!(pipe.len, 0);
        if self.spare.len() < SPARE_MAX {
            self.spare.push(pipe);
        }
    }
}

impl Pipe {
    #[cold]
    fn new() -> io::Result<Self> {
        let made = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
        let (reader, writer) =
            made.map_err(|errno| io::Error::other(format!("failed to make a pipe: {errno}")))?;
        // A user's pipes may be limited, each or all together: a smaller one takes more calls.
        let _ = fcntl_setpipe_size(&writer, PIPE_LEN);
        Ok(Self { reader, writer, len: 0 })
    }

    /// Takes the bytes that have arrived; there are none at the end of the stream.
    fn fill(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        self.len += splice(socket, None, &self.writer, None, PIPE_LEN, SpliceFlags::NONBLOCK)?;
        Ok(())
    }

    /// Gives the socket what it takes: less than everything when it is full.
    fn drain(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        match splice(&self.reader, None, socket, None, self.len, SpliceFlags::NONBLOCK) {
            Ok(len) => self.len -= len,
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}
