//! The figures of an outcome, which both forms of a report share, and the table for people.

use crate::plan::{Loop, Plan};
use crate::run::Outcome;
use crate::series::Row;
use crate::stats::DatagramCounts;
use crate::validity::invalid_because;
use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// A plan with its outcome. It is displayed as the table.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The plan of the run.
    pub plan: &'a Plan,
    /// The outcome of the run.
    pub outcome: &'a Outcome,
}

/// The percentiles that every report has.
pub(crate) const PERCENTILES: [(&str, f64); 4] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

#[allow(clippy::cast_precision_loss, reason = "figures for people and plots")]
impl Report<'_> {
    /// Returns the number of answered requests.
    pub(crate) fn requests(&self) -> u64 {
        self.outcome.stats.answers()
    }

    /// Returns the number of bytes in the answered requests, in one direction.
    pub(crate) fn bytes(&self) -> u64 {
        self.requests().saturating_mul(self.outcome.message_size)
    }

    /// Returns `count` per second; 0 if no time has passed.
    pub(crate) fn per_second(&self, count: f64) -> f64 {
        let seconds = self.outcome.elapsed.as_secs_f64();
        if seconds > 0.0 { count / seconds } else { 0.0 }
    }

    pub(crate) fn throughput(&self) -> f64 {
        self.per_second(self.requests() as f64)
    }

    pub(crate) fn mib_per_second(&self) -> f64 {
        self.per_second(self.bytes() as f64) / f64::from(1 << 20)
    }

    /// Returns `time` divided by the number of requests, in microseconds; `None` without an answer.
    pub(crate) fn us_per_request(&self, time: Duration) -> Option<f64> {
        let requests = self.requests();
        (requests > 0).then(|| time.as_secs_f64() * 1e6 / requests as f64)
    }

    /// Returns the latencies of the answered requests.
    pub(crate) fn latencies(&self) -> Times<'_> {
        Times(self.outcome.stats.latencies_ns())
    }

    /// Returns the times that connecting took.
    pub(crate) fn connect_times(&self) -> Times<'_> {
        Times(self.outcome.stats.connects_ns())
    }

    /// Returns the number of failures a second.
    pub(crate) fn failures_per_second(&self) -> f64 {
        self.per_second(self.outcome.stats.failures_sum() as f64)
    }

    /// Returns the server's address, or as much of it as is known.
    pub(crate) fn target(&self) -> String {
        match &self.outcome.address {
            Some(address) => address.to_string(),
            None => self.plan.target.to_string(),
        }
    }

    /// Returns the series as text: a line for each interval, each with a line break.
    #[must_use]
    pub fn series(&self) -> String {
        self.outcome.series.iter().map(|row| format!("{}\n", Line(row))).collect()
    }
}

/// Times in microseconds. There may be none.
#[derive(Clone, Copy)]
pub(crate) struct Times<'a>(&'a Histogram<u64>);

#[allow(clippy::cast_precision_loss, reason = "figures for people and plots")]
impl<'a> Times<'a> {
    /// Returns the times in nanoseconds; `None` if there are none.
    fn ns(self) -> Option<&'a Histogram<u64>> {
        Some(self.0).filter(|times| !times.is_empty())
    }

    pub(crate) fn at_percentile(self, percentile: f64) -> Option<f64> {
        Some(self.ns()?.value_at_percentile(percentile) as f64 / 1e3)
    }

    pub(crate) fn min(self) -> Option<f64> {
        Some(self.ns()?.min() as f64 / 1e3)
    }

    pub(crate) fn mean(self) -> Option<f64> {
        Some(self.ns()?.mean() / 1e3)
    }

    pub(crate) fn max(self) -> Option<f64> {
        Some(self.ns()?.max() as f64 / 1e3)
    }
}

/// An interval of the series as a line.
struct Line<'a>(&'a Row);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { from, answers, failures, .. } = self.0;
        let (from, per_second) = (from.as_secs_f64(), self.0.per_second());
        write!(f, "{from:7.3} s   {answers} requests, {per_second:.0} a second, ")?;
        match self.0.latencies_us {
            Some([p50, p99, max]) => write!(f, "p50 {p50:.1} us, p99 {p99:.1}, max {max:.1}")?,
            None => f.write_str("no latency")?,
        }
        write!(f, ", {failures} errors")
    }
}

/// Formats a CPU time per request; `-` if it does not exist.
fn shown(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}"))
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, outcome } = self;
        let (requests, seconds) = (self.requests(), outcome.elapsed.as_secs_f64());
        write!(
            f,
            "{}: {}, {} loop, {} connections",
            self.target(),
            plan.protocol.name(),
            plan.kind().name(),
            plan.connections
        )?;
        if plan.idle > 0 {
            write!(f, " and {} idle", plan.idle)?;
        }
        write!(f, ", {} bytes", outcome.message_size)?;
        // Datagrams of an open loop are sent regardless of those in flight.
        if plan.has_datagrams() && plan.kind() == Loop::Open {
            writeln!(f)?;
        } else {
            writeln!(f, ", {} at a time", plan.pipeline)?;
        }
        write!(f, "requests    {requests} in {seconds:.3} s, {} connects", outcome.stats.connects)?;
        match (outcome.is_interrupted, outcome.stats.unanswered) {
            (true, count) => writeln!(f, ", interrupted with {count} unanswered")?,
            (false, 0) => writeln!(f)?,
            (false, count) => writeln!(f, ", {count} unanswered")?,
        }
        let (throughput, mib) = (self.throughput(), self.mib_per_second());
        write!(f, "throughput  {throughput:.0} a second, {mib:.2} MiB a second each way")?;
        match plan.rate {
            Some(rate) => writeln!(f, ", asked for {rate} a second")?,
            None => writeln!(f)?,
        }
        fmt_times(f, "latency  ", self.latencies())?;
        match plan.has_datagrams() {
            true => self.fmt_datagrams(f)?,
            false => fmt_times(f, "connect  ", self.connect_times())?,
        }
        let (user, system) = outcome.client;
        self.fmt_cpu(f, "client CPU", user, system)?;
        self.fmt_server(f)?;
        write!(f, "errors      ")?;
        let kinds: Vec<_> = outcome
            .stats
            .failures()
            .map(|(kind, count)| format!("{} {count}", kind.name()))
            .collect();
        if kinds.is_empty() {
            f.write_str("none")?;
        } else {
            write!(f, "{} ({:.2} a second", kinds.join(", "), self.failures_per_second())?;
            let worst = outcome.series.iter().max_by_key(|row| row.failures);
            if let Some(row) = worst.filter(|row| row.failures > 0) {
                let from = row.from.as_secs_f64();
                write!(f, "; most from {from:.1} s on: {}", row.failures)?;
            }
            f.write_str(")")?;
        }
        match &invalid_because(&outcome.stats)[..] {
            [] => Ok(()),
            reasons => write!(f, "\ninvalid     {}", reasons.join("; ")),
        }
    }
}

/// Writes a line of times, under a name of nine characters.
fn fmt_times(f: &mut fmt::Formatter<'_>, name: &str, times: Times<'_>) -> fmt::Result {
    let (Some(min), Some(mean), Some(max)) = (times.min(), times.mean(), times.max()) else {
        return writeln!(f, "{name}   -");
    };
    write!(f, "{name}   min {min:.1} us, mean {mean:.1}")?;
    for (name, percentile) in PERCENTILES {
        write!(f, ", {name} {:.1}", times.at_percentile(percentile).unwrap_or(max))?;
    }
    writeln!(f, ", max {max:.1}")
}

impl Report<'_> {
    fn fmt_cpu(
        &self,
        f: &mut fmt::Formatter<'_>,
        whose: &str,
        user: Duration,
        system: Duration,
    ) -> fmt::Result {
        let [each, each_user, each_system] =
            [user + system, user, system].map(|time| shown(self.us_per_request(time)));
        let (user, system) = (user.as_secs_f64(), system.as_secs_f64());
        write!(f, "{whose}  {user:.3} s user, {system:.3} s system, {each} us a request")?;
        writeln!(f, " ({each_user} user, {each_system} system)")
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn fmt_datagrams(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DatagramCounts { sent, lost, late, reordered, duplicated, wrong } =
            self.outcome.stats.datagrams;
        let received = self.requests();
        let percent = lost as f64 * 100.0 / sent.max(1) as f64;
        write!(f, "datagrams   {sent} sent, {received} received, {lost} lost ({percent:.3} %), ")?;
        writeln!(f, "{late} late, {reordered} reordered, {duplicated} duplicated, {wrong} wrong")
    }

    fn fmt_server(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(server) = &self.outcome.server else {
            return match self.plan.server_pid {
                Some(pid) => writeln!(f, "server      not measured: process {pid} has ended"),
                None => Ok(()),
            };
        };
        let used = &server.used;
        self.fmt_cpu(f, "server CPU", used.user, used.system)?;
        let (voluntary, involuntary) = (used.voluntary_switches, used.involuntary_switches);
        writeln!(f, "switches    {voluntary} voluntary, {involuntary} involuntary")?;
        match server.memory_per_connection {
            Some(bytes) => writeln!(f, "memory      {bytes} bytes a connection"),
            None => Ok(()),
        }
    }
}
