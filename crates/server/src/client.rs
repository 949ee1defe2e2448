//! One connection as the server holds it: the conversation, who it is with, and its timer.

use crate::Timeouts;
use crate::stats::Closed;
use epoll_connection::{Awaits, Connection, Step, StepRest, ThreadState};
use epoll_echo::Echo;
use epoll_reactor::net::{Peer, Stream};
use epoll_reactor::{Interest, Readiness, Source, Token};
use epoll_timers::{Key, Timestamp};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// While the server drains, how long a connection must be quiet before each of the two looks that prove
/// that it has finished. Bytes that were on their way when the drain began arrive well within it.
const QUIET: Duration = Duration::from_millis(100);

/// What the reactor owns for each connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection<Echo, Stream>,
    /// When a byte last moved, or when the connection began to linger.
    pub(crate) last_activity: Timestamp,
    /// The interest that is registered.
    pub(crate) registered: Interest,
    /// What the timer is set for.
    pub(crate) awaits: Awaits,
    /// When it was opened, in seconds; more would cost every connection eight bytes.
    began_s: u32,
    pub(crate) peer: Peer,
    /// Its timer, while it has one.
    pub(crate) timer: Option<Key>,
}

/// The limit on memory per idle connection counts on this.
const _: () = assert!(size_of::<Client>() <= 80);

/// How the server drains, as far as a single connection is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    pub(crate) since: Timestamp,
    /// When connections that are still busy are ended.
    pub(crate) half_time: Option<Timestamp>,
}

/// What was seen of a connection that was looked at: of a peer that takes its time, before our end or after
/// it, or of one that may have finished. The socket is writable again only when much of its
/// buffer is free, so a peer that takes little is told from one that takes nothing by looking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    /// When it was last seen to be shorter than before; of one that may have finished, when a byte had
    /// last moved.
    pub(crate) since: Timestamp,
    /// When it was last looked at.
    pub(crate) looked: Timestamp,
    /// How many bytes the peer had not taken by then.
    pub(crate) unsent: u64,
}

/// How often a write timeout is looked after.
const LOOKS: u32 = 8;

/// What the time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// See whether the peer has taken something.
    Look,
    /// Close it, for this reason.
    Close(Closed),
    /// It is quiet: echo what has arrived and end.
    Finish,
    /// It has been busy for long enough: end.
    End,
}

impl Client {
    pub(crate) fn new(stream: Stream, peer: Peer, now: Timestamp) -> Self {
        Self {
            connection: Connection::new(Echo::default(), stream),
            last_activity: now,
            registered: Connection::<Echo, Stream>::FIRST_INTEREST,
            awaits: Awaits::Input,
            began_s: u32::try_from(now.since_epoch().as_secs()).unwrap_or(u32::MAX),
            peer,
            timer: None,
        }
    }

    /// When it was opened, rounded down to a second.
    pub(crate) fn began(&self) -> Timestamp {
        Timestamp::after_epoch(Duration::from_secs(self.began_s.into()))
    }

    /// Moves the connection on, and dates it if bytes have moved. `None` is [`Step::Wait`]; otherwise
    /// [`finish_step`](Self::finish_step) has to do the rest.
    #[inline(always)]
    pub(crate) fn begin_step(
        &mut self,
        readiness: Readiness,
        thread: &mut ThreadState<Echo>,
        now: Timestamp,
    ) -> Option<StepRest> {
        let rest = self.connection.begin_step(readiness, thread);
        if rest.is_none() {
            self.last_activity = now;
        }
        rest
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn finish_step(
        &mut self,
        rest: StepRest,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<Echo>,
        now: Timestamp,
    ) -> Step {
        let before = self.moved();
        let has_received = rest.has_received();
        let step = self.connection.finish_step(rest, readiness, token, thread);
        // A peer that sends and takes nothing is reported again and again, but no byte moves.
        if has_received || self.moved() != before {
            self.last_activity = now;
        }
        step
    }

    /// Both.
    pub(crate) fn step(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<Echo>,
        now: Timestamp,
    ) -> Step {
        match self.begin_step(readiness, thread, now) {
            None => Step::Wait,
            Some(rest) => self.finish_step(rest, readiness, token, thread, now),
        }
    }

    /// How many bytes have moved either way.
    #[inline]
    pub(crate) fn moved(&self) -> u64 {
        self.connection.received() + self.connection.sent()
    }

    /// What will be due next, and when.
    pub(crate) fn due(
        &self,
        timeouts: &Timeouts,
        draining: Option<Draining>,
        queue: Option<Queue>,
    ) -> Option<(Timestamp, Due)> {
        let since = self.last_activity;
        let awaits = self.connection.awaits();
        // A time beyond the end of the clock never comes.
        let after = |limit: Option<Duration>, what| Some((since.checked_add(limit?)?, what));
        let close = match awaits {
            Awaits::Input | Awaits::Connect => after(timeouts.idle, Due::Close(Closed::Idle)),
            Awaits::Close => timeouts.linger.and_then(|limit| {
                // A peer that is still taking what was sent before our end has not come to it.
                let looked = queue.map(|queue| queue.looked).filter(|&looked| looked > since);
                let begin = looked.unwrap_or(since);
                Some((begin.checked_add(limit)?, Due::Close(Closed::LingeredOut)))
            }),
            Awaits::Room => match queue.filter(|queue| queue.since > since) {
                None => after(timeouts.write.map(|limit| limit / LOOKS), Due::Look),
                Some(queue) => timeouts.write.map(|limit| {
                    let next = queue.looked + limit / LOOKS;
                    (next.min(queue.since + limit), Due::Look)
                }),
            },
        };
        let Some(draining) = draining.filter(|_| !self.connection.is_finishing()) else {
            return close;
        };
        let end = draining.half_time.map(|time| (time, Due::End));
        // One that waits for room is not quiet: its peer has yet to read.
        let is_reading = awaits == Awaits::Input;
        let looked = queue.filter(|queue| queue.since == since).map(|queue| queue.looked);
        let begin = since.max(draining.since).max(looked.unwrap_or(since));
        let finish = is_reading.then(|| (begin + QUIET, Due::Finish));
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
    #[inline]
    fn is_nonblocking(&self) -> bool {
        self.connection.is_nonblocking()
    }

    #[inline]
    fn is_unshared(&self) -> bool {
        self.connection.is_unshared()
    }
}
