//! The report for machines: one JSON object.

use crate::report::Report;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Returns the report as one JSON object. Latencies have three digits, other fractions up to three
/// decimals.
///
/// `duration_s` ends with the last answer or the interrupt; if anything failed, with the run. With `rate`,
/// it is at least as long as the requests take at that rate, if all were answered.
///
/// A figure that does not exist is null: `rate` of a closed loop, `server` if it was not measured,
/// `memory_bytes_per_connection` of a churn without idle connections, where the server's memory has not
/// grown, or where the kernel does not report it. If no request was answered, every latency and every CPU
/// time per request is null, and `latency_curve` is empty.
///
/// `client` has the CPU time of this process, `server` that of the measured one: the totals `user_us` and
/// `system_us`, and `user_us_per_request` and `system_us_per_request` for each answered request.
///
/// Each request that was due is counted once: in `requests`, in `unanswered` or in the errors `unsent`.
#[must_use]
pub fn object(report: &Report<'_>) -> Value {
    let (plan, outcome) = (report.plan, report.outcome);
    let errors: Map<String, Value> = outcome
        .stats
        .failures()
        .map(|(kind, count)| (kind.name().to_owned(), count.into()))
        .collect();
    let (user, system) = outcome.client;
    json!({
        "target": outcome.address.to_string(),
        "loop": plan.kind().name(),
        "connections": plan.connections,
        "idle": plan.idle,
        "threads": plan.threads,
        "size": plan.size,
        "pipeline": plan.pipeline,
        "rate": plan.rate,
        "duration_s": rounded(outcome.elapsed.as_secs_f64()),
        "requests": report.requests(),
        "bytes": report.bytes(),
        "connects": outcome.stats.connects,
        "interrupted": outcome.is_interrupted,
        "unanswered": outcome.stats.unanswered,
        "throughput_per_s": rounded(report.throughput()),
        "mib_per_s": rounded(report.mib_per_second()),
        "latency_us": {
            "min": known(report.latency_min_us()),
            "mean": known(report.latency_mean_us()),
            "p50": known(report.latency_us(50.0)),
            "p90": known(report.latency_us(90.0)),
            "p99": known(report.latency_us(99.0)),
            "p99_9": known(report.latency_us(99.9)),
            "max": known(report.latency_max_us()),
        },
        "latency_curve": curve(report),
        "errors": errors,
        "client": {
            "user_us": microseconds(user),
            "system_us": microseconds(system),
            "user_us_per_request": known(report.us_per_request(user)),
            "system_us_per_request": known(report.us_per_request(system)),
        },
        "server": server(report),
    })
}

fn server(report: &Report<'_>) -> Value {
    let Some(server) = &report.outcome.server else { return Value::Null };
    let used = &server.used;
    json!({
        "pid": server.pid,
        "user_us": microseconds(used.user),
        "system_us": microseconds(used.system),
        "user_us_per_request": known(report.us_per_request(used.user)),
        "system_us_per_request": known(report.us_per_request(used.system)),
        "cpu_us_per_request": known(report.us_per_request(used.user + used.system)),
        "voluntary_switches": used.voluntary_switches,
        "involuntary_switches": used.involuntary_switches,
        "memory_bytes_per_connection": server.memory_per_connection,
    })
}

/// Returns pairs of a percentile and a latency. Each pair halves the distance to 100 until that is less
/// than one request; the last percentile is 100.
fn curve(report: &Report<'_>) -> Vec<[f64; 2]> {
    let mut percentiles = Vec::new();
    let mut left = 50.0;
    let mut below = report.requests();
    while below > 1 {
        percentiles.push(100.0 - left);
        left /= 2.0;
        below /= 2;
    }
    let points =
        percentiles.into_iter().map(|percentile| (percentile, report.latency_us(percentile)));
    let points = points.chain([(100.0, report.latency_max_us())]);
    points.filter_map(|(percentile, latency)| Some([percentile, rounded(latency?)])).collect()
}

/// Returns `None`, which becomes null, if the figure does not exist.
fn known(figure: Option<f64>) -> Option<f64> {
    figure.map(rounded)
}

fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
