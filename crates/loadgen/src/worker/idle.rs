//! Idle connections. Nothing is expected on them but the server's end after our own.

use crate::failure::Failure;
use crate::stats::Stats;
use epoll_sys::{Epoll, Interest, Watch, socket};
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Idle {
    sockets: Vec<Option<OwnedFd>>,
    /// The number of open connections.
    open: usize,
    /// Our halves are closed; the server has yet to close its own.
    is_closing: bool,
}

impl Idle {
    /// Registers the sockets with `epoll`; the data of their events counts from `data` on.
    pub(super) fn new(sockets: Vec<OwnedFd>, epoll: &Epoll, data: u64) -> io::Result<Self> {
        for (socket, data) in sockets.iter().zip(data..) {
            epoll.add(socket, data, Watch::level(Interest::IN))?;
        }
        let open = sockets.len();
        Ok(Self { sockets: sockets.into_iter().map(Some).collect(), open, is_closing: false })
    }

    /// Returns whether the server has yet to close its half of any connection.
    pub(super) fn is_awaiting(&self) -> bool {
        self.is_closing && self.open > 0
    }

    /// Closes our half of each connection.
    pub(super) fn close_halves(&mut self, buffer: &mut [u8], stats: &mut Stats) {
        self.is_closing = true;
        for index in 0..self.sockets.len() {
            let Some(socket) = &self.sockets[index] else { continue };
            if socket::shutdown(socket, Shutdown::Write).is_err() {
                // The connection was reset a moment ago; a read returns the error.
                self.look(index as u64, buffer, stats);
            }
        }
    }

    /// Drops the connections that the server has not closed within `limit`.
    pub(super) fn give_up(&mut self, limit: Duration, stats: &mut Stats) {
        if self.open == 0 {
            return;
        }
        let count = std::mem::take(&mut self.open) as u64;
        self.sockets.clear();
        let limit = humantime::format_duration(limit);
        let what = || format!("an idle connection: it was not closed within {limit}");
        stats.failed(Failure::NoAnswer, count, what);
    }

    /// Reads from the connection at `index` after an event.
    #[cold]
    pub(super) fn look(&mut self, index: u64, buffer: &mut [u8], stats: &mut Stats) {
        let Some(place) = usize::try_from(index).ok().and_then(|at| self.sockets.get_mut(at))
        else {
            return;
        };
        let Some(socket) = place else { return };
        let (failure, what) = match socket::recv(socket, buffer) {
            Ok(0) if self.is_closing => {
                *place = None;
                self.open -= 1;
                return;
            }
            Ok(0) => (Failure::Closed, "the server closed it".to_owned()),
            Ok(len) => (Failure::ExtraBytes, format!("{len} bytes came that nobody asked for")),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return,
                _ => (Failure::from(&error), error.to_string()),
            },
        };
        *place = None;
        self.open -= 1;
        stats.failed(failure, 1, || format!("an idle connection: {what}"));
    }
}
