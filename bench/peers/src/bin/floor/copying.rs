//! Bytes are read into the buffer of their thread, and sent from there.

use crate::{Connection, Step, Transfer};
use epoll_kit_bench_peers::Unsent;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::convert::Infallible;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// A transfer through a buffer of type `B`. If the type is an array, its length is known at compile time.
pub(crate) struct Copying<B> {
    buffer: Box<B>,
}

impl<B> Copying<B> {
    pub(crate) fn new(buffer: B) -> Self {
        Self { buffer: Box::new(buffer) }
    }
}

impl<B: AsMut<[u8]>> Transfer for Copying<B> {
    type Unsent = Unsent;
    type Error = Infallible;

    #[inline(always)]
    fn step(&mut self, connection: &mut Connection<Unsent>) -> Result<Step, Infallible> {
        let Connection { socket, unsent } = connection;
        if !unsent.is_empty() {
            return Ok(match unsent.flush(Socket(socket)) {
                Ok(true) => Step::Watch(EventFlags::IN),
                Ok(false) => Step::Go,
                Err(_) => Step::Close,
            });
        }
        let buffer = (*self.buffer).as_mut();
        let len = match recv(&*socket, &mut *buffer, RecvFlags::empty()) {
            Ok((len, _)) if len > 0 => len,
            Err(Errno::AGAIN) => return Ok(Step::Go),
            Ok(_) | Err(_) => return Ok(Step::Close),
        };
        Ok(match unsent.send(Socket(socket), &buffer[..len]) {
            Ok(true) => Step::Go,
            Ok(false) => Step::Watch(EventFlags::OUT),
            Err(_) => Step::Close,
        })
    }
}

struct Socket<'a>(&'a OwnedFd);

impl Write for Socket<'_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
