//! The load clients of others, `redis-benchmark` and `wrk`: how they are run, and what they print.

use super::programs::find;
use crate::context::Context;
use crate::metric::Metric;
use crate::process::{Output, Process};
use crate::results::Sample;
use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The time that a run may take on top of what is measured.
const REST_MAX: Duration = Duration::from_secs(10);

/// Runs `redis-benchmark` with so many requests.
pub(crate) fn redis_benchmark(
    context: &Context,
    address: SocketAddr,
    flags: &[String],
) -> anyhow::Result<Output> {
    let mut command = Command::new(program("redis-benchmark")?);
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "--csv"]).args(flags);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // Without a server it tries for ever.
    let deadline = context.deadline(REST_MAX);
    let process = Process::start(command, context.cores.client())?;
    process.collect(deadline, &context.interrupt, |_| {})
}

/// Runs `wrk` for so long. It takes whole seconds only, but reports early when it is interrupted.
pub(crate) fn wrk(
    context: &Context,
    flags: &[String],
    measured: Duration,
) -> anyhow::Result<Output> {
    let mut command = Command::new(program("wrk")?);
    command.args(["-d", "60s"]).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let deadline = context.deadline(measured + REST_MAX);
    let mut process = Process::start(command, context.cores.client())?;
    process.interrupt_at(start + measured, &context.interrupt)?;
    process.collect(deadline, &context.interrupt, |_| {})
}

fn program(name: &str) -> anyhow::Result<PathBuf> {
    find(name).with_context(|| format!("{name} is not installed"))
}

/// Reads the table that `redis-benchmark --csv` prints: a header and one line.
pub(crate) fn redis_sample(text: &str) -> anyhow::Result<Sample> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("\"test\""));
    let cells = |line: &str| -> Vec<String> {
        line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()
    };
    let (Some(header), Some(line)) = (lines.next(), lines.next()) else {
        bail!("redis-benchmark printed no table")
    };
    let by_name: BTreeMap<_, _> = cells(header).into_iter().zip(cells(line)).collect();
    let mut values = BTreeMap::new();
    for (metric, column, factor) in [
        (Metric::Throughput, "rps", 1.0),
        (Metric::P50, "p50_latency_ms", 1e3),
        (Metric::P99, "p99_latency_ms", 1e3),
    ] {
        let cell = by_name.get(column).and_then(|cell| cell.parse::<f64>().ok());
        let value = cell.filter(|value| value.is_finite());
        let value = value.with_context(|| format!("redis-benchmark printed no {column}"))?;
        values.insert(metric, value * factor);
    }
    Ok(Sample::of(values))
}

/// Reads what `wrk --latency` prints, with the number of requests.
///
/// # Errors
///
/// A request was answered with an error, or not at all, or the output has no figures.
pub(crate) fn wrk_sample(text: &str) -> anyhow::Result<Sample> {
    let after = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        line.map(str::trim)
    };
    for trouble in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        if let Some(counts) = after(trouble) {
            bail!("wrk: {trouble} {counts}");
        }
    }
    let mut values = BTreeMap::new();
    let rate = after("Requests/sec:").and_then(|word| word.parse().ok());
    values.insert(Metric::Throughput, rate.context("wrk printed no rate")?);
    for (metric, key) in [(Metric::P50, "50%"), (Metric::P99, "99%")] {
        let time = after(key).and_then(microseconds);
        values.insert(metric, time.with_context(|| format!("wrk printed no {key}"))?);
    }
    let requests = text.lines().find_map(|line| {
        let (count, _) = line.trim().split_once(" requests in ")?;
        count.parse::<f64>().ok()
    });
    let requests = requests.context("wrk printed no number of requests")?;
    ensure!(requests > 0.0, "no answer came");
    values.insert(Metric::Requests, requests);
    Ok(Sample::of(values))
}

/// Reads a time such as `725.00us`, `2.22ms` or `1.10s`.
fn microseconds(text: &str) -> Option<f64> {
    let (number, factor) = match text {
        _ if text.ends_with("us") => (text.strip_suffix("us")?, 1.0),
        _ if text.ends_with("ms") => (text.strip_suffix("ms")?, 1e3),
        _ => (text.strip_suffix('s')?, 1e6),
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "\
\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"
\"GET\",\"416666.66\",\"1.354\",\"0.280\",\"1.007\",\"3.127\",\"7.559\",\"7.855\"
";

    const WRK: &str = "\
Running 10s test @ http://127.0.0.1:7788/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.25ms    3.78ms  26.13ms   90.20%
    Req/Sec    32.23k     8.05k   39.46k    75.00%
  Latency Distribution
     50%  725.00us
     75%    2.22ms
     90%    5.80ms
     99%   21.36ms
  12784 requests in 404.43ms, 1.82MB read
Requests/sec:  31609.76
Transfer/sec:      4.49MB
";

    #[test]
    fn the_table_of_redis_benchmark_is_read() {
        let values = redis_sample(CSV).unwrap().values;
        assert_eq!(values[&Metric::Throughput], 416_666.66);
        assert_eq!(
            [values[&Metric::P50], values[&Metric::P99]].map(f64::round),
            [1_007.0, 7_559.0]
        );
        for (from, to) in [("416666.66", "nan"), ("\"rps\"", "\"x\""), ("\"test\"", "")] {
            assert!(redis_sample(&CSV.replace(from, to)).is_err(), "{from}");
        }
    }

    #[test]
    fn the_figures_of_wrk_are_read() {
        let values = wrk_sample(WRK).unwrap().values;
        assert_eq!(values[&Metric::Throughput], 31_609.76);
        assert_eq!((values[&Metric::P50], values[&Metric::P99]), (725.0, 21_360.0));
        assert_eq!(values[&Metric::Requests], 12_784.0);
        assert_eq!(microseconds("1.10s"), Some(1_100_000.0));
        for missing in ["Requests/sec:", " requests in ", "99%"] {
            assert!(wrk_sample(&WRK.replace(missing, "")).is_err(), "{missing}");
        }
    }

    #[test]
    fn errors_that_wrk_counts_are_errors() {
        for line in [
            "  Socket errors: connect 0, read 3, write 0, timeout 0",
            "  Non-2xx or 3xx responses: 28585",
        ] {
            let error = wrk_sample(&format!("{WRK}{line}\n")).unwrap_err().to_string();
            assert_eq!(error, format!("wrk: {}", line.trim()));
        }
    }
}
