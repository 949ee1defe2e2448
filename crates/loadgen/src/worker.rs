//! The event loop of one thread: its connections, its share of the requests, and its statistics.
//!
//! A message costs no system call besides a `send`, a `recv` and its part of an `epoll_wait`, and no
//! allocation. Every wait ends: with an event, when the next request is due, or for the next check of
//! timeouts.

mod churn;
mod closing;
mod idle;
mod sending;

pub(crate) use closing::close_all;

use crate::connection::{Connection, End, Read};
use crate::connector::Connector;
use crate::echo_check::EchoCheck;
use crate::failure::Failure;
use crate::pacing::{Pacer, Share};
use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::stats::Stats;
use epoll_sys::{Epoll, Event, Events, Interest, Timestamp, Watch};
use idle::Idle;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The length of the read buffer, in bytes.
const READ_MAX: usize = 256 * 1024;

/// The largest number of events of one wait.
const EVENTS_MAX: usize = 512;

/// The interval at which answers are checked for timeouts, unless the limit is shorter.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A bit in the event data of idle connections.
const IDLE: u64 = 1 << 63;

/// The event data of an interrupt; no connection has this number.
const INTERRUPT: u64 = u64::MAX;

/// The state that all workers share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) connector: Connector<'a>,
    pub(crate) pattern: &'a Pattern,
}

/// The progress of a worker, which other threads read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answers: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// The backoff while no connection can be opened: when that began, and when to try again.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    since: Timestamp,
    again: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Worker<'a> {
    shared: Shared<'a>,
    share: Share,
    /// The time at which its run began.
    begin: Timestamp,
    epoll: Epoll,
    events: Events,
    buffer: Box<[u8]>,
    connections: Vec<Connection>,
    idle: Idle,
    /// Connections with room for a message, the one that has waited longest first.
    ready: VecDeque<u32>,
    pacer: Pacer,
    /// The number of connections from which an answer or an end is awaited.
    awaiting: usize,
    /// The number of connections that have not failed.
    alive: usize,
    /// The number of the next connection of a churn.
    next_number: u64,
    next_sweep: Timestamp,
    /// The backoff, while no connection can be opened.
    connect_backoff: Option<Backoff>,
    /// The run is to end now, whatever is still awaited.
    is_interrupted: bool,
    stats: Stats,
}

impl<'a> Worker<'a> {
    /// Returns a worker with these sockets. In a churn it opens its own, up to `connections` at a time.
    pub(crate) fn new(
        shared: Shared<'a>,
        share: Share,
        connections: u32,
        sockets: Vec<OwnedFd>,
        idle: Vec<OwnedFd>,
    ) -> anyhow::Result<Self> {
        let (plan, pattern) = (shared.plan, shared.pattern);
        let epoll = Epoll::new()?;
        let mut stats = Stats::new()?;
        stats.connects = (sockets.len() + idle.len()) as u64;
        let pipeline = usize::try_from(plan.pipeline)?;
        let mut all: Vec<_> = (0..connections)
            .map(|index| numbered(share, index.into()))
            .map(|number| EchoCheck::new(pattern, number, plan.size, pipeline))
            .map(Connection::new)
            .collect();
        for ((connection, socket), data) in all.iter_mut().zip(sockets).zip(0..) {
            connection.attach(socket, &epoll, data)?;
        }
        let events_max = (all.len() + idle.len()).min(EVENTS_MAX);
        let idle = Idle::new(idle, &epoll, IDLE)?;
        Ok(Self {
            share,
            begin: Timestamp::MAX,
            epoll,
            events: Events::with_capacity(events_max),
            buffer: vec![0; READ_MAX].into(),
            alive: all.len(),
            ready: VecDeque::with_capacity(all.len()),
            connections: all,
            idle,
            pacer: Pacer::new(Timestamp::EPOCH, plan.rate, plan.until, share),
            awaiting: 0,
            next_number: numbered(share, 0),
            next_sweep: Timestamp::EPOCH,
            connect_backoff: None,
            is_interrupted: false,
            stats,
            shared,
        })
    }

    /// Returns its statistics.
    pub(crate) fn into_stats(self) -> Stats {
        self.stats
    }

    /// Returns the time at which its run began.
    pub(crate) fn begin(&self) -> Timestamp {
        self.begin
    }

    /// Returns the time of its last answer, or of the interrupt that ended it.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.stats.until
    }

    /// Returns whether an interrupt has ended its run.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }

    /// Runs from `start` until nothing is left to do, or until `interrupt` is readable. Connections stay
    /// open, except those of a churn.
    pub(crate) fn run(
        &mut self,
        start: Timestamp,
        interrupt: BorrowedFd<'_>,
        counters: &Counters,
    ) -> io::Result<()> {
        let plan = self.shared.plan;
        self.epoll.add(interrupt, INTERRUPT, Watch::level(Interest::IN))?;
        if plan.rate.is_some() {
            // The kernel adds the slack to every timeout: a nanosecond instead of 50 microseconds. If this
            // fails, requests are only less punctual, which shows in their latencies.
            let _ = nix::sys::prctl::set_timerslack(1);
        }
        // Without a rate, a thread that begins late still gets the whole duration.
        let begin = plan.rate.map_or_else(Timestamp::now, |_| start);
        self.begin = begin;
        self.pacer = Pacer::new(begin, plan.rate, plan.until, self.share);
        self.next_sweep = begin + self.sweep_every();
        for index in 0..self.connections.len() {
            self.make_ready(index);
        }
        self.send_due(begin);
        let mut now = begin;
        while !self.is_over(now) {
            now = self.turn(now)?;
            counters.answers.store(self.stats.answers(), Ordering::Relaxed);
            counters.failures.store(self.stats.failures_sum(), Ordering::Relaxed);
        }
        if self.is_interrupted {
            self.stats.until = Some(now);
        }
        Ok(())
    }

    /// Counts the requests that were due by `end`, the end of the run, and have not been answered. Messages
    /// in flight on failed connections are included.
    pub(crate) fn count_unanswered(&mut self, end: Timestamp) {
        let in_flight = self.connections.iter().map(|connection| connection.check.in_flight());
        self.stats.unanswered = self.pacer.overdue(end) + in_flight.sum::<usize>() as u64;
    }

    fn is_over(&mut self, now: Timestamp) -> bool {
        if self.alive == 0 || self.is_interrupted {
            return true;
        }
        let limit = self.shared.plan.answer_limit;
        if !self.pacer.is_over(now) && now >= self.pacer.end() + limit {
            let unsent = self.pacer.overdue(now);
            let what = || format!("{unsent} requests were due and no connection was free for them");
            self.stats.failed(Failure::Unsent, unsent, what);
            self.pacer.stop();
        }
        self.pacer.is_over(now) && self.awaiting == 0
    }

    /// Waits and handles the events. Returns the time after the wait.
    fn turn(&mut self, now: Timestamp) -> io::Result<Timestamp> {
        self.wait(self.next_wake(now) - now)?;
        let now = Timestamp::now();
        self.send_due(now);
        if now >= self.next_sweep {
            self.sweep(now);
            self.next_sweep = now + self.sweep_every();
        }
        Ok(now)
    }

    /// Waits for at most `timeout` and handles the events.
    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        match self.epoll.wait(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            // An interrupted wait leaves no events.
            _ => {}
        }
        for at in 0..self.events.len() {
            if let Some(event) = self.events.get(at) {
                self.handle(event);
            }
        }
        Ok(())
    }

    fn next_wake(&self, now: Timestamp) -> Timestamp {
        // Nothing can be begun, so the backoff does not matter any more.
        if self.pacer.is_over(now) || self.ready.is_empty() {
            return self.next_sweep;
        }
        // Requests that are due have to wait until the backoff ends.
        let again = self.connect_backoff.map(|connect_backoff| connect_backoff.again);
        // `None` is less than any time.
        let begin = self.pacer.next_due().max(again);
        begin.map_or(self.next_sweep, |begin| begin.min(self.next_sweep))
    }

    fn sweep_every(&self) -> Duration {
        let fraction = self.shared.plan.answer_limit / 8;
        fraction.clamp(Duration::from_millis(1), SWEEP_EVERY)
    }

    /// Drops connections whose answer has timed out.
    fn sweep(&mut self, now: Timestamp) {
        let limit = self.shared.plan.answer_limit;
        for index in 0..self.connections.len() {
            while self.connections[index].is_overdue(now, limit) && self.drain_readable(index, now)
            {
            }
            if self.connections[index].is_overdue(now, limit) {
                let limit = humantime::format_duration(limit);
                let what = match self.connections[index].is_closing() {
                    true => format!("it was not closed within {limit}"),
                    false => format!("no answer within {limit}"),
                };
                self.drop_connection(index, &End { failure: Failure::NoAnswer, what });
            }
        }
    }

    /// Flushes and reads a connection whether or not it was reported: bytes that have arrived are in time
    /// however late this thread is, and messages that were not sent for that reason cannot have an answer.
    /// Returns whether there was anything to do.
    #[cold]
    fn drain_readable(&mut self, index: usize, now: Timestamp) -> bool {
        if self.connections[index].awaits_room() {
            self.flush(index);
            if !self.connections[index].awaits_room() {
                self.connections[index].await_from(now);
                return true;
            }
        }
        self.read(index)
    }

    #[inline]
    fn handle(&mut self, event: Event) {
        if event.data & IDLE != 0 {
            if event.data == INTERRUPT {
                self.is_interrupted = true;
                return;
            }
            return self.idle.look(event.data & !IDLE, &mut self.buffer, &mut self.stats);
        }
        let index = usize::try_from(event.data).unwrap_or(usize::MAX);
        if index >= self.connections.len() {
            return;
        }
        if event.readiness.may_read() {
            self.read(index);
        }
        if event.readiness.may_write() && self.connections[index].awaits_room() {
            self.flush(index);
        }
    }

    /// Handles the result of one read. Returns whether it brought bytes.
    #[inline]
    fn read(&mut self, index: usize) -> bool {
        match self.connections[index].read(&mut self.buffer) {
            Ok(Read::Bytes(len)) => {
                self.check(index, len);
                return true;
            }
            Ok(Read::End) if self.connections[index].is_closing() => self.ended(index),
            Ok(Read::End) => {
                let what = "the server closed it".to_owned();
                self.drop_connection(index, &End { failure: Failure::Closed, what });
            }
            Ok(Read::Nothing) => {}
            Err(end) => self.drop_connection(index, &end),
        }
        false
    }

    /// Checks `len` bytes that came back, and sends the next messages.
    #[inline]
    fn check(&mut self, index: usize, len: usize) {
        let now = Timestamp::now();
        let (connection, stats) = (&mut self.connections[index], &mut self.stats);
        let in_flight = connection.check.in_flight();
        let bytes = &self.buffer[..len];
        let answered = |due| stats.answered(due, now);
        if let Err(wrong) = connection.check.receive(self.shared.pattern, bytes, answered) {
            let end = End { failure: wrong.into(), what: wrong.to_string() };
            return self.drop_connection(index, &end);
        }
        let left = connection.check.in_flight();
        if left == in_flight {
            return;
        }
        connection.await_from(now);
        if self.shared.plan.churn {
            return match connection.close_half(now) {
                Ok(()) => {}
                Err(error) => self.drop_connection(index, &error.into()),
            };
        }
        if left == 0 {
            self.awaiting -= 1;
        }
        self.fill(index, now, self.shared.plan.pipeline);
    }

    #[cold]
    fn drop_connection(&mut self, index: usize, end: &End) {
        let connection = &mut self.connections[index];
        if connection.has_failed() {
            return;
        }
        if connection.is_awaiting() {
            self.awaiting -= 1;
        }
        connection.fail();
        self.alive -= 1;
        let number = numbered(self.share, index as u64);
        let what = || format!("connection {number}: {}", end.what);
        self.stats.failed(end.failure, 1, what);
    }
}

/// Returns the number, over all threads, of the item at `index` of this thread.
fn numbered(share: Share, index: u64) -> u64 {
    index * u64::from(share.of) + u64::from(share.index)
}
