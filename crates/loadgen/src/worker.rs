//! The loop of one thread: its connections, its part of the requests, and what it counts.
//!
//! A message costs no system call besides a `send`, a `recv` and its part of an `epoll_wait`, and no
//! allocation. Every wait ends: by an event, by the next request that is due, or to look for answers
//! that take too long.

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

/// What one read brings at most, in bytes.
const READ_MAX: usize = 256 * 1024;

/// Events of one wait at most.
const EVENTS_MAX: usize = 512;

/// How often answers that take too long are looked for, unless the limit is shorter.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// Set in the data of events of connections that are only held.
const IDLE: u64 = 1 << 63;

/// The data of the event that tells of an interrupt; no connection has this number.
const INTERRUPT: u64 = u64::MAX;

/// What all workers have in shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) connector: Connector<'a>,
    pub(crate) pattern: &'a Pattern,
}

/// How far a worker has come, for others to see.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answers: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// Since when no connection can be opened, and when to try again.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    since: Timestamp,
    again: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Worker<'a> {
    shared: Shared<'a>,
    share: Share,
    /// When its run began.
    begin: Timestamp,
    epoll: Epoll,
    events: Events,
    buffer: Box<[u8]>,
    connections: Vec<Connection>,
    idle: Idle,
    /// Connections with room for a message, the one that has waited longest first.
    ready: VecDeque<u32>,
    pacer: Pacer,
    /// Connections from which something is to come.
    awaiting: usize,
    /// Connections that are not lost.
    alive: usize,
    /// The number of the next connection of a churn.
    next_number: u64,
    next_sweep: Timestamp,
    /// While no connection can be opened.
    connect_backoff: Option<Backoff>,
    /// Whether everything is to end now, whatever is still to come.
    is_interrupted: bool,
    stats: Stats,
}

impl<'a> Worker<'a> {
    /// A worker with these connections; those of a churn it opens itself, as many at a time as
    /// `connections`.
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

    /// What it has counted.
    pub(crate) fn into_stats(self) -> Stats {
        self.stats
    }

    /// When its run began.
    pub(crate) fn begin(&self) -> Timestamp {
        self.begin
    }

    /// When its last answer came, or the interrupt that ended it.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.stats.until
    }

    /// Whether an interrupt has come before it was done.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }

    /// Runs from `start` until nothing is left to do, or until `interrupt` is readable. Connections stay
    /// open, but for those of a churn.
    pub(crate) fn run(
        &mut self,
        start: Timestamp,
        interrupt: BorrowedFd<'_>,
        counters: &Counters,
    ) -> io::Result<()> {
        let plan = self.shared.plan;
        self.epoll.add(interrupt, INTERRUPT, Watch::level(Interest::IN))?;
        if plan.rate.is_some() {
            // The kernel adds this to every timeout: a nanosecond in place of 50 microseconds. Without
            // it, requests are only less punctual, and it shows in their latencies.
            let _ = nix::sys::prctl::set_timerslack(1);
        }
        // Without a rate, a thread that begins late has all of its time from then on.
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

    /// Counts the requests that were due by `end`, the end of the run, and have not been answered; those
    /// of lost connections too, which keep what was under way.
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

    /// Waits and handles what has come. Gives the time after the wait.
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

    /// Waits so long at most, and handles what has come.
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
        // Nothing can be begun; what has held it up does not matter any more.
        if self.pacer.is_over(now) || self.ready.is_empty() {
            return self.next_sweep;
        }
        // While it is held up, what is due has to wait.
        let again = self.connect_backoff.map(|connect_backoff| connect_backoff.again);
        // No time is less than any time.
        let begin = self.pacer.next_due().max(again);
        begin.map_or(self.next_sweep, |begin| begin.min(self.next_sweep))
    }

    fn sweep_every(&self) -> Duration {
        let fraction = self.shared.plan.answer_limit / 8;
        fraction.clamp(Duration::from_millis(1), SWEEP_EVERY)
    }

    /// Ends connections whose answer takes too long.
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

    /// Does what there is to do on a connection, reported yet or not: what has arrived is in time, however
    /// late this thread comes to look, and what was not sent for that reason has no answer yet. Says whether
    /// there was anything.
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

    /// Handles what one read brings. Says whether it was bytes.
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

    /// Checks `len` bytes that came back, and goes on with the next messages.
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

/// The number, among those of all threads, of a thread's thing at `index`.
fn numbered(share: Share, index: u64) -> u64 {
    index * u64::from(share.of) + u64::from(share.index)
}
