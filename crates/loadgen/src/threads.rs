//! The threads of a run: they are started together, and the thread that waits for them tells of their progress.

use crate::process::{Process, Usage};
use crate::series::{Interval, ROWS_MAX, Row, Series};
use crate::worker::{Counters, Worker};
use anyhow::Context;
use epoll_sys::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The interval of progress reports.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// The news of a run.
#[derive(Clone, Copy, Debug)]
pub enum Update<'a> {
    /// The progress, several times a second.
    Progress(Progress),
    /// An interval of the series is complete. The intervals come in their order, and the last ones after the
    /// end of the run.
    Interval(&'a Interval),
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The time since the first request, the warm-up included.
    pub elapsed: Duration,
    /// The number of answered requests that count.
    pub answers: u64,
    /// The number of failures.
    pub failures: u64,
    /// The figures of the last complete interval.
    pub latest: Option<Row>,
}

/// The figures of the intervals so far, and the caller that is told of them.
pub(crate) struct Rows<'a> {
    rows: Vec<Row>,
    update: &'a mut dyn FnMut(Update<'_>),
}

impl<'a> Rows<'a> {
    pub(crate) fn new(update: &'a mut dyn FnMut(Update<'_>)) -> Self {
        Self { rows: Vec::new(), update }
    }

    pub(crate) fn add(&mut self, intervals: &[Interval]) {
        for interval in intervals {
            (self.update)(Update::Interval(interval));
            if self.rows.len() < ROWS_MAX {
                self.rows.push(interval.row());
            }
        }
    }

    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

/// The resources used before the measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    /// The usage of the server, if it is measured.
    pub(crate) server: Option<Usage>,
    /// The CPU time of this process, user and system.
    pub(crate) client: (Duration, Duration),
}

/// The settings with which threads are run.
pub(crate) struct Threads<'a> {
    /// The time of the first request of an open loop.
    pub(crate) start: Timestamp,
    /// The time before the measurement.
    pub(crate) warmup: Duration,
    /// The server's process, if it is measured.
    pub(crate) process: Option<&'a Process>,
    pub(crate) series: &'a Series,
}

impl Threads<'_> {
    /// Runs each worker in a thread of its own until all have ended. Returns the resources that were used
    /// before the measurement.
    pub(crate) fn run(
        &self,
        workers: &mut [Worker<'_>],
        interrupt: BorrowedFd<'_>,
        rows: &mut Rows<'_>,
    ) -> anyhow::Result<Before> {
        let mut before = self.used()?;
        let mut is_warming_up = !self.warmup.is_zero();
        let start = self.start;
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
                let left = start + self.warmup - Timestamp::now();
                let timeout = if is_warming_up { left.min(PROGRESS_EVERY) } else { PROGRESS_EVERY };
                let received = ended.recv_timeout(timeout);
                if is_warming_up && Timestamp::now() >= start + self.warmup {
                    before = self.used()?;
                    is_warming_up = false;
                }
                match received {
                    Ok(done) => done.context("failed to wait for events")?,
                    Err(RecvTimeoutError::Timeout) => {
                        rows.add(&self.series.complete());
                        (rows.update)(Update::Progress(self.progress(&counters, &rows.rows)));
                    }
                    Err(RecvTimeoutError::Disconnected) => return Ok(before),
                }
            }
        })
    }

    fn used(&self) -> anyhow::Result<Before> {
        let server = self.process.and_then(|process| process.usage().ok());
        Ok(Before { server, client: own_cpu()? })
    }

    fn progress(&self, counters: &[Counters], rows: &[Row]) -> Progress {
        let sum = |counter: fn(&Counters) -> &AtomicU64| {
            counters.iter().map(|counters| counter(counters).load(Ordering::Relaxed)).sum()
        };
        Progress {
            elapsed: Timestamp::now() - self.start,
            answers: sum(|counters| &counters.answers),
            failures: sum(|counters| &counters.failures),
            latest: rows.last().copied(),
        }
    }
}

/// Returns the CPU time of this process, user and system.
pub(crate) fn own_cpu() -> anyhow::Result<(Duration, Duration)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("failed to read the own CPU time")?;
    Ok((duration(usage.user_time()), duration(usage.system_time())))
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(time.tv_usec().try_into().unwrap_or(0))
}
