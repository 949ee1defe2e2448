//! A run from its plan to its outcome: it opens the connections, starts the threads that exchange messages,
//! and merges their statistics.

use crate::address::Transport;
use crate::connector::Connector;
use crate::exchange::Exchanges;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::limits;
use crate::pacing::Share;
use crate::plan::{Loop, Plan};
use crate::process::{Process, Used};
use crate::series::{Row, Series};
use crate::sources::Sources;
use crate::stats::Stats;
use crate::threads::{Rows, Threads, Update, own_cpu};
use crate::worker::{Shared, Worker, close_all};
use anyhow::Context;
use epoll_sys::Timestamp;
use epoll_sys::socket::Address;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The address of the server; `None` if it was not found out.
    pub address: Option<Address>,
    /// The size of a message, or of a body of HTTP, in bytes.
    pub message_size: u64,
    /// The time from the first request to the last answer or to the interrupt; to the end of the run if
    /// anything failed, other than that datagrams of an open loop were lost. In an open loop whose requests
    /// were all answered or lost, it is at least the time that they take at their rate.
    pub elapsed: Duration,
    /// SIGINT or SIGTERM ended the run early, either the load or the wait for the server to close its
    /// connections.
    pub is_interrupted: bool,
    /// The statistics of all threads.
    pub stats: Stats,
    /// The figures of each interval.
    pub series: Vec<Row>,
    /// The CPU time of this process, user and system.
    pub client: (Duration, Duration),
    /// The resource usage of the server, if it was to be measured and lived to the end.
    pub server: Option<Server>,
}

/// The resource usage of the server during a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Server {
    /// The id of its process.
    pub pid: u32,
    /// The CPU time and the context switches.
    pub used: Used,
    /// The number of bytes by which its memory has grown for each connection that was open throughout;
    /// `None` if it has not grown, for example because the server held as many connections before.
    pub memory_per_connection: Option<u64>,
}

impl Outcome {
    /// Returns the outcome of a run that failed with this error before its first request.
    ///
    /// # Errors
    ///
    /// Those of [`Stats::new`].
    pub fn of_failure(plan: &Plan, error: &anyhow::Error) -> anyhow::Result<Self> {
        let mut stats = Stats::new()?;
        let cause = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
        stats.failed(cause.map_or(Failure::Failed, Failure::from), 1, || format!("{error:#}"));
        Ok(Self {
            address: None,
            message_size: plan.size,
            elapsed: Duration::ZERO,
            is_interrupted: false,
            stats,
            series: Vec::new(),
            client: Default::default(),
            server: None,
        })
    }
}

/// Carries out `plan`, and calls `update` with the news of it.
///
/// Failures of single connections are counted in the outcome. Once all connections are open, SIGINT and
/// SIGTERM end the run early instead of the process.
///
/// # Errors
///
/// A server that cannot be reached, connections that cannot be opened, a process to measure that
/// does not exist, threads that cannot be started, a `/proc` that does not say whether SIGINT is
/// ignored.
pub fn run(plan: &Plan, mut update: impl FnMut(Update<'_>)) -> anyhow::Result<Outcome> {
    limits::raise_nofile_limit(plan)?;
    let process = plan.server_pid.map(Process::find).transpose()?;
    let transport = if plan.has_datagrams() { Transport::Datagram } else { Transport::Stream };
    let address = plan.target.reach(transport, plan.answer_limit)?;
    let congestion = plan.congestion.as_deref();
    let held = held_throughout(plan);
    let sources = Sources::new(&plan.sources, &address, held, plan.churn);
    let limit = plan.answer_limit;
    let connector =
        Connector { address: &address, transport, congestion, sources: &sources, limit };
    let mut stats = Stats::new()?;
    if plan.churn {
        // Its connections are opened during the run; this one shows whether the server can be reached.
        drop(connector.open(1, Duration::ZERO, &mut Stats::new()?)?);
    }
    let memory_before = process.as_ref().and_then(Process::memory_bytes);
    let exchanges = Exchanges::new(plan)?;
    let series = Series::new(plan.interval, plan.threads);
    let shared = Shared { plan, connector, exchanges: &exchanges, series: &series };
    let mut workers = workers(shared, held, &mut stats)?;

    let interrupt = Interrupt::catch()?;
    let start = Timestamp::now();
    let mut rows = Rows::new(&mut update);
    let threads =
        Threads { start, warmup: plan.warmup, process: process.as_ref(), series: &series };
    let before = threads.run(&mut workers, interrupt.as_fd(), &mut rows)?;
    let end = Timestamp::now();
    let client_after = own_cpu()?;
    let usage_after = process.as_ref().and_then(|process| process.usage().ok());
    let memory_after = process.as_ref().and_then(Process::memory_bytes);

    let begin = workers.iter().map(Worker::begin).min().unwrap_or(start);
    let is_cut_short = workers.iter().any(Worker::is_interrupted);
    // Requests count as due up to the time at which the measurement ends.
    let due_end = match is_cut_short {
        true => workers.iter().filter_map(Worker::until).max().unwrap_or(end),
        false => end,
    };
    for worker in &mut workers {
        worker.count_unanswered(due_end);
    }
    // A run that has lost its last connection ends before its other requests are due.
    let has_begun_all = workers.iter().all(|worker| worker.has_begun_all(end));
    // Not measured: the server does nothing but close its connections.
    close_all(&mut workers).context("failed to wait for the ends of connections")?;
    let is_interrupted = interrupt.has_come();
    for worker in workers {
        stats.merge(worker.into_stats())?;
    }
    let server = process.zip(before.server.zip(usage_after)).map(|(process, (before, after))| {
        let grown = memory_before.zip(memory_after).map(|(was, is)| is.saturating_sub(was));
        let memory_per_connection =
            grown.filter(|bytes| *bytes > 0).and_then(|bytes| bytes.checked_div(held));
        Server { pid: process.pid(), used: after.since(&before), memory_per_connection }
    });
    let client = (client_after.0 - before.client.0, client_after.1 - before.client.1);
    let answered = stats.until.unwrap_or(end) - begin;
    let is_answered = has_begun_all && stats.unanswered == 0;
    let pace = plan.pace().filter(|_| is_answered).unwrap_or_default();
    // In an open loop nothing depends on a lost datagram, and nothing happens while the last ones are awaited.
    let is_open = plan.kind() == Loop::Open;
    let has_failed = stats.failures().any(|(kind, _)| kind != Failure::Lost || !is_open);
    let elapsed = match is_cut_short {
        true => answered,
        false if has_failed => (end - begin).max(pace),
        false => answered.max(pace),
    };
    rows.add(&series.rest(elapsed));
    let series = rows.into_rows();
    let (address, message_size) = (Some(address), exchanges.size(plan));
    Ok(Outcome { address, message_size, elapsed, is_interrupted, stats, series, client, server })
}

fn held_throughout(plan: &Plan) -> u64 {
    u64::from(plan.idle) + if plan.churn { 0 } else { u64::from(plan.connections) }
}

/// Returns the workers, with all connections open. Idle connections are opened first: a server that answers
/// on a later one has accepted them.
fn workers<'a>(
    shared: Shared<'a>,
    held: u64,
    stats: &mut Stats,
) -> anyhow::Result<Vec<Worker<'a>>> {
    let plan = shared.plan;
    let shares: Vec<_> = (0..plan.threads).map(|index| Share { index, of: plan.threads }).collect();
    let mut idle = shared.connector.open(held.try_into()?, plan.ramp_up, stats)?;
    let mut active = idle.split_off(plan.idle.try_into()?);
    let mut workers = Vec::new();
    for share in shares {
        let connections = part(plan.connections, share);
        let sockets = take(&mut active, connections)?;
        let held = take(&mut idle, part(plan.idle, share))?;
        let worker = Worker::new(shared, share, connections, sockets, held);
        workers.push(worker.context("failed to set up a thread's connections")?);
    }
    Ok(workers)
}

/// Removes and returns the first `count` sockets; all, if there are fewer.
fn take(sockets: &mut Vec<OwnedFd>, count: u32) -> anyhow::Result<Vec<OwnedFd>> {
    let count = usize::try_from(count)?.min(sockets.len());
    Ok(sockets.drain(..count).collect())
}

/// Returns the part of `count` things that a thread gets.
fn part(count: u32, share: Share) -> u32 {
    count / share.of + u32::from(share.index < count % share.of)
}
