//! The event loop of one thread: its connections, its share of the requests, and its statistics.
//!
//! A message costs no system call besides a `send`, a `recv` and its part of an `epoll_wait`, and no
//! allocation. Every wait ends: with an event, when the next request is due, or for the next check of
//! timeouts.

mod churn;
mod closing;
mod datagrams;
mod idle;
mod reconnecting;
mod sending;

pub(crate) use closing::close_all;

use crate::connection::{Connection, Read};
use crate::connector::Connector;
use crate::exchange::Exchanges;
use crate::failure::{End, Failure};
use crate::pacing::{Pacer, Share, Until};
use crate::plan::{Loop, Plan};
use crate::series::{Series, Slice};
use crate::stats::{Resource, Stats};
use epoll_sys::socket::RecvBatch;
use epoll_sys::{Epoll, Event, Events, Interest, Timestamp, Watch};
use idle::Idle;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
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

/// A request of an open loop counts as sent late by this program only from this time on: no kernel wakes a
/// thread much more punctually on a busy machine.
const TOLERANCE_MIN: Duration = Duration::from_millis(1);

/// A bit in the event data of idle connections.
const IDLE: u64 = 1 << 63;

/// The event data of an interrupt; no connection has this number.
const INTERRUPT: u64 = u64::MAX;

/// The state that all workers share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) connector: Connector<'a>,
    pub(crate) exchanges: &'a Exchanges,
    pub(crate) series: &'a Series,
}

/// The progress of a worker, which other threads read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answers: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// The backoff while no connection can be opened.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    /// The time of the first attempt that failed.
    since: Timestamp,
    /// The time of the last attempt.
    last: Timestamp,
    /// The time of the next attempt.
    again: Timestamp,
    /// The resource that is missing; `None` if it is room in the server's queue.
    lack: Option<Resource>,
}

#[derive(Debug)]
pub(crate) struct Worker<'a> {
    shared: Shared<'a>,
    share: Share,
    epoll: Epoll,
    events: Events,
    buffer: Box<[u8]>,
    /// The buffers for received datagrams, if messages are datagrams.
    batch: Option<RecvBatch>,
    connections: Vec<Connection<'a>>,
    idle: Idle,
    /// Connections with room for a message, the one that has waited longest first.
    ready: VecDeque<u32>,
    pacer: Pacer,
    /// The number of connections from which an answer or an end is awaited.
    awaiting: usize,
    /// The number of connections that are not lost.
    alive: usize,
    /// The number of connections that are made again at present.
    connecting: usize,
    /// The times at which lost connections are to be made again, the earliest first.
    retries: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// The number of the next connection that this thread opens.
    next_number: u64,
    /// Requests are sent and not counted.
    is_warming_up: bool,
    /// Requests that were due by then are sent late because this thread did not run in time, though a
    /// connection was free.
    stalled_until: Timestamp,
    /// The time by which a request may be sent late without being counted as such.
    tolerance: Duration,
    slice: Slice,
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
        let (plan, exchanges) = (shared.plan, shared.exchanges);
        let epoll = Epoll::new()?;
        let mut stats = Stats::new()?;
        stats.connects = (sockets.len() + idle.len()) as u64;
        let in_flight_max = usize::try_from(plan.in_flight_max())?;
        let mut all: Vec<_> = (0..connections)
            .map(|index| numbered(share, index.into()))
            .map(|number| exchanges.connection(number, plan.size, in_flight_max))
            .map(|exchange| Connection::new(exchange, quota(plan).unwrap_or(u64::MAX)))
            .collect();
        for ((connection, socket), data) in all.iter_mut().zip(sockets).zip(0..) {
            connection.attach(socket, &epoll, data)?;
        }
        let events_max = (all.len() + idle.len()).min(EVENTS_MAX);
        let idle = Idle::new(idle, &epoll, IDLE)?;
        Ok(Self {
            share,
            epoll,
            events: Events::with_capacity(events_max),
            buffer: vec![0; READ_MAX].into(),
            batch: datagrams::batch(plan)?,
            alive: all.len(),
            ready: VecDeque::with_capacity(all.len()),
            connections: all,
            idle,
            pacer: Pacer::new(Timestamp::EPOCH, plan.rate, plan.until, share),
            awaiting: 0,
            connecting: 0,
            retries: BinaryHeap::new(),
            next_number: numbered(share, if plan.churn { 0 } else { connections.into() }),
            is_warming_up: false,
            stalled_until: Timestamp::EPOCH,
            tolerance: tolerance(plan),
            slice: Slice::new(share.index, plan.interval)?,
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

    /// Returns the time at which its measurement began.
    pub(crate) fn begin(&self) -> Timestamp {
        self.stats.from()
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
        let from = begin + plan.warmup;
        self.stats.count_from(from);
        self.slice.begin(from);
        self.is_warming_up = !plan.warmup.is_zero();
        self.pacer = match self.is_warming_up {
            true => Pacer::new(begin, plan.rate, Until::Elapsed(plan.warmup), self.share),
            false => self.measured_pacer(),
        };
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
        self.abandon_connecting();
        self.slice.finish(self.stats.failures_sum(), self.shared.series);
        Ok(())
    }

    /// Returns the pacer of the requests that count.
    fn measured_pacer(&self) -> Pacer {
        let plan = self.shared.plan;
        let (until, share) = match quota(plan) {
            // Exactly those of its own connections.
            Some(each) => {
                let all = each.saturating_mul(self.connections.len() as u64);
                (Until::Requests(all), Share { index: 0, of: 1 })
            }
            None => (plan.until, self.share),
        };
        Pacer::new(self.stats.from(), plan.rate, until, share)
    }

    /// Counts the requests that were due by `end`, the end of the run, and have not been answered. Those that
    /// were in flight on lost connections were counted before.
    pub(crate) fn count_unanswered(&mut self, end: Timestamp) {
        let from = self.stats.from();
        let exchanges = self.connections.iter().map(|connection| &connection.exchange);
        let in_flight: usize = exchanges.map(|exchange| exchange.in_flight_since(from)).sum();
        let overdue = if self.is_warming_up { 0 } else { self.pacer.overdue(end) };
        self.stats.unanswered += overdue + in_flight as u64;
    }

    /// Returns whether the requests that count were all begun or given up by `end`, the end of the run.
    pub(crate) fn has_begun_all(&self, end: Timestamp) -> bool {
        !self.is_warming_up && self.pacer.is_over(end)
    }

    /// Returns whether all connections have failed for good.
    fn has_failed(&self) -> bool {
        self.alive == 0 && self.connecting == 0 && self.retries.is_empty()
    }

    fn is_over(&mut self, now: Timestamp) -> bool {
        if self.is_interrupted || self.has_failed() {
            return true;
        }
        if self.is_warming_up {
            return false;
        }
        let limit = self.shared.plan.answer_limit;
        if !self.pacer.is_over(now) && now >= self.pacer.end() + limit {
            let unsent = self.pacer.overdue(now);
            let what = || format!("{unsent} requests were due and no connection was free for them");
            self.stats.failed(Failure::Unsent, unsent, what);
            self.pacer.stop();
        }
        if self.is_stuck(now) {
            let unsent = self.pacer.left();
            let what = || format!("{unsent} requests were left and no connection for them");
            self.stats.failed(Failure::Unsent, unsent, what);
            self.pacer.stop();
        }
        self.pacer.is_over(now) && self.awaiting == 0
    }

    /// Returns whether a closed loop with a number of requests has no connection for the rest of them: none
    /// is to be made again, or none has brought an answer for twice the time limit, so that each has had the
    /// time to fail and to be made again. Datagrams that are lost keep no connection from sending others; there it
    /// is [`datagrams::SILENT_LIMITS`] times the limit. No time would end that run.
    fn is_stuck(&self, now: Timestamp) -> bool {
        let plan = self.shared.plan;
        let is_counted = plan.rate.is_none() && matches!(plan.until, Until::Requests(_));
        if !is_counted || self.pacer.is_over(now) {
            return false;
        }
        let last = self.stats.until.unwrap_or_default().max(self.stats.from());
        if self.awaiting > 0 || !self.ready.is_empty() {
            let limits = datagrams::SILENT_LIMITS;
            return self.batch.is_some() && now - last >= plan.answer_limit.saturating_mul(limits);
        }
        let has_hope = !self.retries.is_empty() || self.connecting > 0;
        !has_hope || now - last >= plan.answer_limit.saturating_mul(2)
    }

    /// Waits and handles the events. Returns the time after the wait.
    fn turn(&mut self, now: Timestamp) -> io::Result<Timestamp> {
        // A connection is free for the next request of an open loop, so it can be sent when it is due.
        let is_free = !self.ready.is_empty() && self.alive > 0 && !self.is_backing_off(now);
        let due = self.pacer.next_due().filter(|_| is_free);
        self.poll(self.next_wake(now) - now)?;
        if let Some(due) = due {
            self.note_stall(due, Timestamp::now());
        }
        self.handle_all();
        let now = Timestamp::now();
        if let Some(due) = due {
            self.note_stall(due, now);
        }
        if self.is_warming_up && now >= self.stats.from() {
            self.is_warming_up = false;
            self.pacer = self.measured_pacer();
        }
        self.reconnect_due(now);
        if !self.has_failed() {
            self.fail_due(now);
        }
        self.send_due(now);
        if now >= self.next_sweep {
            self.sweep(now);
            self.next_sweep = now + self.sweep_every();
        }
        if self.slice.is_over(now) {
            self.slice.roll(now, self.stats.failures_sum(), self.shared.series);
        }
        Ok(now)
    }

    /// Notes that this thread has not run in time for a request that was due at `due`.
    fn note_stall(&mut self, due: Timestamp, now: Timestamp) {
        // What was due before and was sent meanwhile was in time.
        let due = self.pacer.next_due().unwrap_or(due).max(due);
        if now > due + self.tolerance {
            self.stalled_until = now;
        }
    }

    /// Waits for at most `timeout` and handles the events.
    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.poll(timeout)?;
        self.handle_all();
        Ok(())
    }

    /// Waits for at most `timeout`.
    fn poll(&mut self, timeout: Duration) -> io::Result<()> {
        match self.epoll.wait(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            // An interrupted wait leaves no events.
            _ => Ok(()),
        }
    }

    /// Handles the events of the last wait.
    fn handle_all(&mut self) {
        for at in 0..self.events.len() {
            if let Some(event) = self.events.get(at) {
                self.handle(event);
            }
        }
    }

    fn next_wake(&self, now: Timestamp) -> Timestamp {
        let mut wake = self.next_sweep;
        if self.is_warming_up {
            wake = wake.min(self.stats.from());
        }
        // Nothing can be begun, so neither the backoff nor lost connections matter any more.
        if self.pacer.is_over(now) {
            return wake;
        }
        wake = self.next_retry().map_or(wake, |retry| retry.min(wake));
        if self.ready.is_empty() || self.alive == 0 {
            return wake;
        }
        // Requests that are due have to wait until the backoff ends.
        let again = self.connect_backoff.map(|connect_backoff| connect_backoff.again);
        // `None` is less than any time.
        let begin = self.pacer.next_due().max(again);
        begin.map_or(wake, |begin| begin.min(wake))
    }

    fn sweep_every(&self) -> Duration {
        let fraction = self.shared.plan.answer_limit / 8;
        fraction.clamp(Duration::from_millis(1), SWEEP_EVERY)
    }

    /// Drops connections whose answer has timed out.
    fn sweep(&mut self, now: Timestamp) {
        let limit = self.shared.plan.answer_limit;
        for index in 0..self.connections.len() {
            if self.batch.is_some() {
                self.give_up_overdue(index, now, limit);
                continue;
            }
            while self.connections[index].is_overdue(now, limit) && self.drain_readable(index, now)
            {
            }
            // The connection may have been established just now.
            if self.connections[index].is_overdue(now, limit) {
                let limit = humantime::format_duration(limit);
                let what = if self.connections[index].is_closing() {
                    format!("it was not closed within {limit}")
                } else {
                    format!("no answer within {limit}")
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
        if self.connections[index].is_connecting() {
            self.arrive(index);
            return false;
        }
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
        if self.connections[index].is_connecting() {
            return self.arrive(index);
        }
        if event.readiness.may_read() {
            self.read(index);
        }
        if event.readiness.may_write() && self.connections[index].awaits_room() {
            if let Some(begun) = self.connections[index].take_connecting_since() {
                self.stats.connected(Timestamp::now() - begun);
            }
            self.flush(index);
        }
    }

    /// Handles the result of one read. Returns whether it brought bytes.
    #[inline]
    fn read(&mut self, index: usize) -> bool {
        let read = match &mut self.batch {
            None => self.connections[index].read(&mut self.buffer),
            Some(batch) => self.connections[index].receive(batch),
        };
        match read {
            Ok(Read::Bytes(len)) => {
                self.check(index, len);
                return true;
            }
            Ok(Read::Datagrams) => {
                self.check(index, 0);
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

    /// Checks `len` bytes or the datagrams that came back, and sends the next messages.
    #[inline]
    fn check(&mut self, index: usize, len: usize) {
        let now = Timestamp::now();
        if self.slice.is_over(now) {
            self.slice.roll(now, self.stats.failures_sum(), self.shared.series);
        }
        let (connection, stats) = (&mut self.connections[index], &mut self.stats);
        let slice = &mut self.slice;
        let was_awaiting = connection.is_awaiting();
        let exchange = &mut connection.exchange;
        let in_flight = exchange.in_flight();
        let number = numbered(self.share, index as u64);
        let mut judged = |verdict| datagrams::record(stats, slice, number, now, verdict);
        let received = match &self.batch {
            None => exchange.receive(&self.buffer[..len], &mut judged),
            Some(batch) => {
                batch.iter().try_for_each(|datagram| exchange.receive(datagram.bytes, &mut judged))
            }
        };
        if let Err(end) = received {
            // The last answer may have come before what is wrong.
            if was_awaiting && !connection.is_awaiting() {
                self.awaiting -= 1;
            }
            return self.drop_connection(index, &end);
        }
        let left = connection.exchange.in_flight();
        if left == in_flight {
            // A handshake has words of its own.
            if connection.exchange.has_unsent() && !connection.awaits_room() {
                self.flush(index);
            }
            return;
        }
        connection.await_from(now);
        connection.answered();
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
        if connection.is_lost() {
            return;
        }
        if connection.is_awaiting() {
            self.awaiting -= 1;
        }
        match connection.is_connecting() {
            true => self.connecting -= 1,
            false => self.alive -= 1,
        }
        if self.batch.is_some() {
            self.lose_in_flight(index);
        }
        let connection = &mut self.connections[index];
        self.stats.unanswered += connection.exchange.in_flight_since(self.stats.from()) as u64;
        // Bytes that are still to come from the lost connection would not fit the next one.
        connection.exchange.restart(self.next_number);
        self.next_number += u64::from(self.share.of);
        self.lose(index, end);
    }
}

/// Returns the number of requests of each connection, if the plan sets it; an open loop has a schedule
/// instead.
fn quota(plan: &Plan) -> Option<u64> {
    plan.requests_per_connection.filter(|_| plan.kind() == Loop::Closed)
}

/// Returns the time by which a request of an open loop may be late: a tenth of the interval between two
/// requests of a thread.
fn tolerance(plan: &Plan) -> Duration {
    let interval_s = plan.rate.map_or(0.0, |rate| f64::from(plan.threads) / rate);
    let tenth = Duration::try_from_secs_f64(interval_s / 10.0).unwrap_or(Duration::MAX);
    tenth.max(TOLERANCE_MIN)
}

/// Returns the number, over all threads, of the item at `index` of this thread.
fn numbered(share: Share, index: u64) -> u64 {
    index * u64::from(share.of) + u64::from(share.index)
}
