//! A connection of a worker: its socket, its exchange, and what it waits for.
//!
//! Watched with a level trigger, for input alone as long as the socket takes what is sent. Small
//! messages so cost a `send` and a `recv` and never an `epoll_ctl`; a large one is watched for output
//! too until it is sent, and what comes back is read meanwhile.

use crate::echo_check::EchoCheck;
use crate::failure::Failure;
use crate::pattern::Pattern;
use epoll_sys::{Epoll, Interest, Timestamp, Watch, socket};
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Sends to one connection before the others get their turn: a MiB.
const SENDS_MAX: usize = 8;

/// Why a connection has ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) failure: Failure,
    pub(crate) what: String,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) check: EchoCheck,
    socket: Option<OwnedFd>,
    stage: Stage,
    /// Whether output is watched for.
    awaits_room: bool,
    /// Whether it is in the worker's list of those with room.
    pub(crate) is_ready: bool,
    /// Since when the server owes the next answer, or its end.
    awaiting_since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Messages are exchanged, or can be.
    Open,
    /// Our half is closed, and the server's is to follow.
    Closing,
    /// It has failed.
    Failed,
}

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Nothing.
    Nothing,
    /// This many bytes.
    Bytes(usize),
    /// The end of the stream.
    End,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self { failure: Failure::from(&error), what: error.to_string() }
    }
}

impl Connection {
    /// Without a socket yet.
    pub(crate) fn new(check: EchoCheck) -> Self {
        Self {
            check,
            socket: None,
            stage: Stage::Open,
            awaits_room: false,
            is_ready: false,
            awaiting_since: Timestamp::EPOCH,
        }
    }

    /// Gives it a socket, which `epoll` watches from now on.
    pub(crate) fn attach(&mut self, socket: OwnedFd, epoll: &Epoll, data: u64) -> io::Result<()> {
        epoll.add(&socket, data, Watch::level(Interest::IN))?;
        self.socket = Some(socket);
        self.stage = Stage::Open;
        self.awaits_room = false;
        Ok(())
    }

    /// Whether it has a socket.
    pub(crate) fn is_attached(&self) -> bool {
        self.socket.is_some()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.stage == Stage::Failed
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.stage == Stage::Closing
    }

    /// Whether a message may be begun.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.stage == Stage::Open && self.check.has_room()
    }

    /// Whether the server owes an answer, or the end of the stream.
    #[inline]
    pub(crate) fn is_awaiting(&self) -> bool {
        match self.stage {
            Stage::Open => self.check.in_flight() > 0,
            Stage::Closing => true,
            Stage::Failed => false,
        }
    }

    /// The server has done something, or is to do something from now on.
    #[inline]
    pub(crate) fn await_from(&mut self, now: Timestamp) {
        self.awaiting_since = now;
    }

    /// Whether the server has owed something for too long at `now`.
    pub(crate) fn is_overdue(&self, now: Timestamp, limit: Duration) -> bool {
        self.is_awaiting() && now - self.awaiting_since >= limit
    }

    /// Sends what the socket takes, and has `epoll` watch for room for the rest.
    pub(crate) fn flush(&mut self, pattern: &Pattern, epoll: &Epoll, data: u64) -> Result<(), End> {
        let Some(socket) = &self.socket else { return Ok(()) };
        for _ in 0..SENDS_MAX {
            let bytes = self.check.unsent(pattern);
            if bytes.is_empty() {
                break;
            }
            let asked = bytes.len();
            match socket::send(socket, bytes) {
                Ok(len) => {
                    self.check.sent(pattern, len);
                    if len < asked {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let awaits_room = self.check.has_unsent();
        if awaits_room != self.awaits_room {
            let interest = if awaits_room { Interest::IN | Interest::OUT } else { Interest::IN };
            epoll.modify(socket, data, Watch::level(interest))?;
            self.awaits_room = awaits_room;
        }
        Ok(())
    }

    /// Whether there is something to send when the socket takes it.
    #[inline]
    pub(crate) fn awaits_room(&self) -> bool {
        self.awaits_room && self.stage == Stage::Open
    }

    /// Reads once.
    #[inline]
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<Read, End> {
        let Some(socket) = &self.socket else { return Ok(Read::Nothing) };
        match socket::recv(socket, buffer) {
            Ok(0) => Ok(Read::End),
            Ok(len) => Ok(Read::Bytes(len)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Read::Nothing),
                _ => Err(error.into()),
            },
        }
    }

    /// Closes our half; the server's end is owed from `now` on.
    pub(crate) fn close_half(&mut self, now: Timestamp) -> io::Result<()> {
        self.stage = Stage::Closing;
        self.await_from(now);
        match &self.socket {
            Some(socket) => socket::shutdown(socket, Shutdown::Write),
            None => Ok(()),
        }
    }

    /// Closes it after the server's end; another may take its place.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.stage = Stage::Open;
    }

    /// Closes it for good.
    pub(crate) fn fail(&mut self) {
        self.socket = None;
        self.stage = Stage::Failed;
    }
}
