//! One connection as the server holds it: the conversation, who it is with, and its timer.

use crate::Timeouts;
use crate::stats::Closed;
use epoll_echo::{Awaits, Connection};
use epoll_reactor::Source;
use epoll_reactor::net::{Peer, Stream};
use epoll_timers::{Key, Timestamp};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// While the server drains, how long a connection must be quiet to have finished. Bytes that were
/// on their way when the drain began arrive well within it.
const QUIET: Duration = Duration::from_millis(100);

/// What the reactor owns for each connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection<Stream>,
    pub(crate) peer: Peer,
    /// Its timer, while it has one.
    pub(crate) timer: Option<Key>,
}

/// How the server drains, as far as a single connection is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    pub(crate) since: Timestamp,
    /// When connections that are still busy are ended.
    pub(crate) half_time: Option<Timestamp>,
}

/// What the time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Close it, for this reason.
    Close(Closed),
    /// It is quiet: echo what has arrived and end.
    Finish,
    /// It has been busy for long enough: end.
    End,
}

impl Client {
    /// What will be due next, and when.
    pub(crate) fn due(
        &self,
        timeouts: &Timeouts,
        draining: Option<Draining>,
    ) -> Option<(Timestamp, Due)> {
        let since = self.connection.since();
        let awaits = self.connection.awaits();
        let (limit, closed) = match awaits {
            Awaits::Data => (timeouts.idle, Closed::Idle),
            Awaits::Room => (timeouts.write, Closed::Stalled),
            Awaits::Close => (timeouts.linger, Closed::LingeredOut),
        };
        // A time beyond the end of the clock never comes.
        let close = limit.and_then(|limit| Some((since.checked_add(limit)?, Due::Close(closed))));
        let Some(draining) = draining.filter(|_| !self.connection.is_ending()) else {
            return close;
        };
        let end = draining.half_time.map(|time| (time, Due::End));
        // One that waits for room is not quiet: its peer has yet to read.
        let is_reading = awaits == Awaits::Data;
        let finish = is_reading.then(|| (since.max(draining.since) + QUIET, Due::Finish));
        [close, end, finish].into_iter().flatten().min_by_key(|&(time, _)| time)
    }
}

impl AsFd for Client {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl Source for Client {
    const NONBLOCKING: bool = Connection::<Stream>::NONBLOCKING;
    const UNSHARED: bool = Connection::<Stream>::UNSHARED;
}
