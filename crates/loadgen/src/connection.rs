//! A connection of a worker: its socket, the state of its protocol, and the event that it waits for.
//!
//! It is watched with a level trigger, for input alone as long as the socket takes everything that is sent.
//! A small message therefore costs a `send` and a `recv` and never an `epoll_ctl`. A large message is also
//! watched for output until it is sent; echoes are read meanwhile.

use crate::exchange::Exchange;
use crate::failure::End;
use epoll_sys::socket::{self, RecvBatch};
use epoll_sys::{Epoll, Interest, Timestamp, Watch};
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The number of bytes that are sent to one connection before other connections get a turn.
const SENT_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Connection<'a> {
    pub(crate) exchange: Box<dyn Exchange + 'a>,
    socket: Option<OwnedFd>,
    stage: Stage,
    /// Output is watched for.
    awaits_room: bool,
    /// The connection is in the worker's queue of connections with room.
    pub(crate) is_ready: bool,
    /// The time from which the next answer, the server's end or a connection is awaited.
    awaiting_since: Timestamp,
    /// The time at which the attempt to connect began, until it is known to have succeeded.
    connecting_since: Option<Timestamp>,
    /// The number of requests that it may still begin.
    left: u64,
    /// The number of times that it was lost since the last answer.
    losses: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Messages can be exchanged.
    Open,
    /// It was lost, and its socket is on the way to the server again.
    Connecting,
    /// It was lost, and is made again after a pause.
    Lost,
    /// Our half is closed; the server has yet to close its own.
    Closing,
    /// It has failed for good.
    Failed,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// No bytes are there, and no datagram.
    Nothing,
    /// A number of bytes.
    Bytes(usize),
    /// Datagrams, which are in the batch.
    Datagrams,
    /// The end of the stream.
    End,
}

impl<'a> Connection<'a> {
    /// Returns a connection that has no socket yet, for at most `requests` requests.
    pub(crate) fn new(exchange: Box<dyn Exchange + 'a>, requests: u64) -> Self {
        Self {
            exchange,
            socket: None,
            stage: Stage::Open,
            awaits_room: false,
            is_ready: false,
            awaiting_since: Timestamp::EPOCH,
            connecting_since: None,
            left: requests,
            losses: 0,
        }
    }

    /// Gives the connection a socket and registers it with `epoll`.
    pub(crate) fn attach(&mut self, socket: OwnedFd, epoll: &Epoll, data: u64) -> io::Result<()> {
        epoll.add(&socket, data, Watch::level(Interest::IN))?;
        self.socket = Some(socket);
        self.stage = Stage::Open;
        self.awaits_room = false;
        self.connecting_since = None;
        Ok(())
    }

    /// Gives a lost connection a socket that is on its way to the server since `begun`, and registers it for
    /// the arrival.
    pub(crate) fn attach_connecting(
        &mut self,
        socket: OwnedFd,
        epoll: &Epoll,
        data: u64,
        begun: Timestamp,
    ) -> io::Result<()> {
        epoll.add(&socket, data, Watch::level(Interest::OUT))?;
        self.socket = Some(socket);
        self.stage = Stage::Connecting;
        self.connecting_since = Some(begun);
        self.await_from(begun);
        Ok(())
    }

    /// Notes that the attempt to connect began at `begun` and is not known to have succeeded.
    pub(crate) fn connects_since(&mut self, begun: Timestamp) {
        self.connecting_since = Some(begun);
    }

    /// Looks at the attempt to connect. Returns whether messages can be exchanged from now on.
    pub(crate) fn arrive(&mut self, epoll: &Epoll, data: u64) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        if !socket::is_connected(socket)? {
            return Ok(false);
        }
        epoll.modify(socket, data, Watch::level(Interest::IN))?;
        self.stage = Stage::Open;
        self.awaits_room = false;
        Ok(true)
    }

    /// Returns the time at which the attempt to connect began, once, when it has succeeded.
    #[inline]
    pub(crate) fn take_connecting_since(&mut self) -> Option<Timestamp> {
        self.connecting_since.take()
    }

    /// Returns whether it has a socket.
    pub(crate) fn is_attached(&self) -> bool {
        self.socket.is_some()
    }

    /// Returns whether it has no server, for good or until it is made again.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Lost | Stage::Failed)
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.stage == Stage::Connecting
    }

    /// Counts an answer: the next loss is the first again.
    #[inline]
    pub(crate) fn answered(&mut self) {
        self.losses = 0;
    }

    /// Takes one of the requests that it may begin.
    #[inline]
    pub(crate) fn take_request(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.stage == Stage::Closing
    }

    /// Returns whether a message may be begun.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.stage == Stage::Open && self.exchange.has_room() && self.left > 0
    }

    /// Returns whether an answer or the end of the stream is awaited.
    #[inline]
    pub(crate) fn is_awaiting(&self) -> bool {
        match self.stage {
            Stage::Open => self.exchange.in_flight() > 0,
            Stage::Closing => true,
            Stage::Connecting | Stage::Lost | Stage::Failed => false,
        }
    }

    /// Restarts the timeout for the next answer.
    #[inline]
    pub(crate) fn await_from(&mut self, now: Timestamp) {
        self.awaiting_since = now;
    }

    /// Returns whether the awaited answer has taken longer than `limit`.
    pub(crate) fn is_overdue(&self, now: Timestamp, limit: Duration) -> bool {
        (self.is_awaiting() || self.is_connecting()) && now - self.awaiting_since >= limit
    }

    /// Sends as much as the socket takes, and watches for output while bytes are left.
    pub(crate) fn flush(&mut self, epoll: &Epoll, data: u64) -> Result<(), End> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let mut sent = 0;
        while sent < SENT_MAX {
            let bytes = self.exchange.unsent();
            if bytes.is_empty() {
                break;
            }
            let asked = bytes.len();
            match socket::send(socket, bytes) {
                Ok(len) => {
                    self.exchange.sent(len);
                    sent += len;
                    if len < asked {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let awaits_room = self.exchange.has_unsent();
        if awaits_room != self.awaits_room {
            let interest = if awaits_room { Interest::IN | Interest::OUT } else { Interest::IN };
            epoll.modify(socket, data, Watch::level(interest))?;
            self.awaits_room = awaits_room;
        }
        Ok(())
    }

    /// Returns whether bytes wait until the socket has room.
    #[inline]
    pub(crate) fn awaits_room(&self) -> bool {
        self.awaits_room && self.stage == Stage::Open
    }

    /// Receives a batch of datagrams.
    pub(crate) fn receive(&self, batch: &mut RecvBatch) -> Result<Read, End> {
        let Some(socket) = &self.socket else { return Ok(Read::Nothing) };
        match batch.recv(socket) {
            Ok(0) => Ok(Read::Nothing),
            Ok(_) => Ok(Read::Datagrams),
            Err(error) => failed_read(error),
        }
    }

    /// Reads once.
    #[inline]
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<Read, End> {
        let Some(socket) = &self.socket else { return Ok(Read::Nothing) };
        match socket::recv(socket, buffer) {
            Ok(0) => Ok(Read::End),
            Ok(len) => Ok(Read::Bytes(len)),
            Err(error) => failed_read(error),
        }
    }

    /// Closes our half; the server's end is awaited from `now` on.
    pub(crate) fn close_half(&mut self, now: Timestamp) -> io::Result<()> {
        self.stage = Stage::Closing;
        self.await_from(now);
        let Some(socket) = &self.socket else { return Ok(()) };
        self.exchange.finish();
        // Everything before is answered, so there is room; an error shows in what follows too.
        if self.exchange.has_unsent() {
            if let Ok(len) = socket::send(socket, self.exchange.unsent()) {
                self.exchange.sent(len);
            }
        }
        socket::shutdown(socket, Shutdown::Write)
    }

    /// Closes the socket after the server's end; the connection may get another one.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.stage = Stage::Open;
    }

    /// Closes the connection for good.
    pub(crate) fn fail(&mut self) {
        self.socket = None;
        self.stage = Stage::Failed;
    }

    /// Closes the connection until it is made again. Returns the pause before that, which is `first` after an
    /// answer and doubles with each further loss, up to `longest`.
    pub(crate) fn lose(&mut self, first: Duration, longest: Duration) -> Duration {
        self.socket = None;
        self.stage = Stage::Lost;
        self.connecting_since = None;
        let factor = 1_u32.checked_shl(self.losses).unwrap_or(u32::MAX);
        self.losses = self.losses.saturating_add(1);
        first.saturating_mul(factor).min(longest)
    }

    /// Lets a lost connection get a new socket with its next request.
    pub(crate) fn reopen(&mut self) {
        self.stage = Stage::Open;
    }
}

fn failed_read(error: io::Error) -> Result<Read, End> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Read::Nothing),
        _ => Err(error.into()),
    }
}
