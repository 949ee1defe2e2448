//! The figures of an outcome, which both forms of a report share, and the table for people.

use crate::plan::Plan;
use crate::run::Outcome;
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
        self.requests().saturating_mul(self.plan.size)
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

    /// Returns the latencies, in nanoseconds; `None` without an answer.
    fn latencies_ns(&self) -> Option<&Histogram<u64>> {
        Some(self.outcome.stats.latencies_ns()).filter(|latencies| !latencies.is_empty())
    }

    /// Returns a percentile of the latencies, in microseconds.
    pub(crate) fn latency_us(&self, percentile: f64) -> Option<f64> {
        Some(self.latencies_ns()?.value_at_percentile(percentile) as f64 / 1e3)
    }

    pub(crate) fn latency_min_us(&self) -> Option<f64> {
        Some(self.latencies_ns()?.min() as f64 / 1e3)
    }

    pub(crate) fn latency_mean_us(&self) -> Option<f64> {
        Some(self.latencies_ns()?.mean() / 1e3)
    }

    pub(crate) fn latency_max_us(&self) -> Option<f64> {
        Some(self.latencies_ns()?.max() as f64 / 1e3)
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
            "{}: {} loop, {} connections",
            outcome.address,
            plan.kind().name(),
            plan.connections
        )?;
        if plan.idle > 0 {
            write!(f, " and {} idle", plan.idle)?;
        }
        writeln!(f, ", {} bytes, {} at a time", plan.size, plan.pipeline)?;
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
        self.fmt_latencies(f)?;
        let (user, system) = outcome.client;
        self.fmt_cpu(f, "client CPU", user, system)?;
        self.fmt_server(f)?;
        write!(f, "errors      ")?;
        let kinds: Vec<_> = outcome
            .stats
            .failures()
            .map(|(kind, count)| format!("{} {count}", kind.name()))
            .collect();
        f.write_str(&if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") })
    }
}

impl Report<'_> {
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn fmt_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(latencies_ns) = self.latencies_ns() else {
            return writeln!(f, "latency     -");
        };
        let us = |ns: u64| ns as f64 / 1e3;
        let (min, mean) = (us(latencies_ns.min()), latencies_ns.mean() / 1e3);
        write!(f, "latency     min {min:.1} us, mean {mean:.1}")?;
        for (name, percentile) in PERCENTILES {
            write!(f, ", {name} {:.1}", us(latencies_ns.value_at_percentile(percentile)))?;
        }
        writeln!(f, ", max {:.1}", us(latencies_ns.max()))
    }

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
