//! A run from its plan to its outcome: it opens the connections, starts the threads that exchange messages,
//! and merges their statistics.

use crate::connector::Connector;
use crate::interrupt::Interrupt;
use crate::limits;
use crate::pacing::Share;
use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::process::{Process, Used};
use crate::stats::Stats;
use crate::worker::{Counters, Shared, Worker, close_all};
use anyhow::Context;
use epoll_sys::Timestamp;
use epoll_sys::socket::Address;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The interval of progress reports.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// The progress of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The time since the first request.
    pub elapsed: Duration,
    /// The number of answered requests.
    pub answers: u64,
    /// The number of failures.
    pub failures: u64,
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The address of the server.
    pub address: Address,
    /// The time from the first request to the last answer or to the interrupt; to the end of the run if
    /// anything failed. In an open loop whose requests were all answered, it is at least the time that they
    /// take at their rate.
    pub elapsed: Duration,
    /// SIGINT ended the run early, either the load or the wait for the server to close its connections.
    pub is_interrupted: bool,
    /// The statistics of all threads.
    pub stats: Stats,
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

/// Carries out `plan`, and calls `progress` at regular intervals.
///
/// Failures of single connections are counted in the outcome. Once all connections are open, SIGINT ends
/// the run early instead of the process.
///
/// # Errors
///
/// A server that cannot be reached, connections that cannot be opened, a process to measure that
/// does not exist, threads that cannot be started, a `/proc` that does not say whether SIGINT is
/// ignored.
pub fn run(plan: &Plan, progress: impl FnMut(Progress)) -> anyhow::Result<Outcome> {
    limits::raise_nofile_limit(plan)?;
    let process = plan.server_pid.map(Process::find).transpose()?;
    let address = plan.target.reach(plan.answer_limit)?;
    let congestion = plan.congestion.as_deref();
    let connector = Connector { address: &address, congestion, limit: plan.answer_limit };
    if plan.churn {
        // Its connections are opened during the run; this one shows whether the server can be reached.
        drop(connector.open(1)?);
    }
    let memory_before = process.as_ref().and_then(Process::memory_bytes);
    let pattern = Pattern::for_size(plan.size);
    let shared = Shared { plan, connector, pattern: &pattern };
    let mut workers = workers(shared)?;

    let interrupt = Interrupt::catch()?;
    let usage_before = process.as_ref().and_then(|process| process.usage().ok());
    let client_before = own_cpu()?;
    let start = Timestamp::now();
    run_all(&mut workers, start, interrupt.as_fd(), progress)?;
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
    // Not measured: the server does nothing but close its connections.
    close_all(&mut workers).context("failed to wait for the ends of connections")?;
    let is_interrupted = interrupt.has_come();
    let mut stats = Stats::new()?;
    for worker in workers {
        stats.merge(worker.into_stats())?;
    }
    let server = process.zip(usage_before.zip(usage_after)).map(|(process, (before, after))| {
        let grown = memory_before.zip(memory_after).map(|(was, is)| is.saturating_sub(was));
        let held = held_throughout(plan);
        let memory_per_connection =
            grown.filter(|bytes| *bytes > 0).and_then(|bytes| bytes.checked_div(held));
        Server { pid: process.pid(), used: after.since(&before), memory_per_connection }
    });
    let client = (client_after.0 - client_before.0, client_after.1 - client_before.1);
    let answered = stats.until.unwrap_or(end) - begin;
    let pace = plan.pace().filter(|_| stats.unanswered == 0).unwrap_or_default();
    let elapsed = match is_cut_short {
        true => answered,
        false if stats.failures_sum() > 0 => (end - begin).max(pace),
        false => answered.max(pace),
    };
    Ok(Outcome { address, elapsed, is_interrupted, stats, client, server })
}

fn held_throughout(plan: &Plan) -> u64 {
    u64::from(plan.idle) + if plan.churn { 0 } else { u64::from(plan.connections) }
}

/// Returns the workers, with all connections open. Idle connections are opened first: a server that answers
/// on a later one has accepted them.
fn workers(shared: Shared<'_>) -> anyhow::Result<Vec<Worker<'_>>> {
    let plan = shared.plan;
    let shares: Vec<_> = (0..plan.threads).map(|index| Share { index, of: plan.threads }).collect();
    let mut idle = shared.connector.open(held_throughout(plan).try_into()?)?;
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

/// Runs each worker in a thread of its own.
fn run_all(
    workers: &mut [Worker<'_>],
    start: Timestamp,
    interrupt: BorrowedFd<'_>,
    mut progress: impl FnMut(Progress),
) -> anyhow::Result<()> {
    let counters: Vec<Counters> = workers.iter().map(|_| Counters::default()).collect();
    thread::scope(|scope| {
        let (sender, ended) = channel();
        let mut begin = Vec::new();
        for (worker, counters) in workers.iter_mut().zip(&counters) {
            let sender = sender.clone();
            let (ready, go) = channel();
            let work = move || {
                // If one thread cannot be started, none begins.
                if go.recv().is_ok() {
                    // Nobody receives any more after another thread has failed.
                    let _ = sender.send(worker.run(start, interrupt, counters));
                }
            };
            let thread = thread::Builder::new().name("load".to_owned());
            thread.spawn_scoped(scope, work).context("failed to start a thread")?;
            begin.push(ready);
        }
        drop(sender);
        for ready in begin {
            // The thread waits for this.
            let _ = ready.send(());
        }
        loop {
            match ended.recv_timeout(PROGRESS_EVERY) {
                Ok(done) => done.context("failed to wait for events")?,
                Err(RecvTimeoutError::Timeout) => progress(sum(start, &counters)),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    })
}

fn sum(start: Timestamp, counters: &[Counters]) -> Progress {
    let sum = |counter: fn(&Counters) -> &AtomicU64| {
        counters.iter().map(|counters| counter(counters).load(Ordering::Relaxed)).sum()
    };
    Progress {
        elapsed: Timestamp::now() - start,
        answers: sum(|counters| &counters.answers),
        failures: sum(|counters| &counters.failures),
    }
}

fn own_cpu() -> anyhow::Result<(Duration, Duration)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("failed to read the own CPU time")?;
    Ok((duration(usage.user_time()), duration(usage.system_time())))
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(time.tv_usec().try_into().unwrap_or(0))
}
