//! The report for machines: one JSON object.

use crate::report::{Report, Times};
use crate::series::Row;
use crate::stats::DatagramCounts;
use crate::thresholds::Thresholds;
use crate::validity::invalid_because;
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
/// Each request that was due is counted once: in `requests`, in `unanswered` or in the errors `unsent`; a datagram
/// also in `lost`, or in `wrong` if its answer was that.
///
/// `datagrams` is null unless messages are datagrams. The warm-up is left out of it. `received` are the datagrams
/// with a right answer in time, as `requests`; `late` are answers to lost ones, `reordered` those that came after
/// the answer to a datagram that was sent later, `duplicated` further answers to a datagram.
///
/// `valid` is whether the figures are about the server; if not, `invalid_because` has the reasons as
/// sentences, and `own_delays` their figures. `failed_thresholds` has a sentence for each limit of
/// `thresholds` that was not kept. `first_error` describes the first error, and is null without one.
///
/// `series` has an object for each interval, with the time of its beginning and its length in seconds.
#[must_use]
pub fn object(report: &Report<'_>, thresholds: &Thresholds) -> Value {
    let (plan, outcome) = (report.plan, report.outcome);
    let errors: Map<String, Value> = outcome
        .stats
        .failures()
        .map(|(kind, count)| (kind.name().to_owned(), count.into()))
        .collect();
    let (user, system) = outcome.client;
    let (stats, delays) = (&outcome.stats, &outcome.stats.own_delays);
    let reasons = invalid_because(stats);
    json!({
        "target": report.target(),
        "loop": plan.kind().name(),
        "connections": plan.connections,
        "idle": plan.idle,
        "threads": plan.threads,
        "protocol": plan.protocol.name(),
        "size": outcome.message_size,
        "pipeline": plan.pipeline,
        "rate": plan.rate,
        "requests_per_connection": plan.requests_per_connection,
        "warmup_s": rounded(plan.warmup.as_secs_f64()),
        "ramp_up_s": rounded(plan.ramp_up.as_secs_f64()),
        "duration_s": rounded(outcome.elapsed.as_secs_f64()),
        "requests": report.requests(),
        "bytes": report.bytes(),
        "connects": outcome.stats.connects,
        "interrupted": outcome.is_interrupted,
        "unanswered": outcome.stats.unanswered,
        "throughput_per_s": rounded(report.throughput()),
        "mib_per_s": rounded(report.mib_per_second()),
        "latency_us": times(report.latencies()),
        "latency_curve": curve(report),
        "connect_us": times(report.connect_times()),
        "errors": errors,
        "errors_per_s": rounded(report.failures_per_second()),
        "first_error": stats.first_failure(),
        "failed_thresholds": thresholds.failed(stats),
        "valid": reasons.is_empty(),
        "invalid_because": reasons,
        "own_delays": {
            "ports_s": rounded(delays.ports.as_secs_f64()),
            "descriptors_s": rounded(delays.descriptors.as_secs_f64()),
            "late_requests": delays.late,
            "late_max_us": microseconds(delays.late_max),
        },
        "datagrams": datagrams(report),
        "series": outcome.series.iter().map(interval).collect::<Vec<_>>(),
        "client": {
            "user_us": microseconds(user),
            "system_us": microseconds(system),
            "user_us_per_request": known(report.us_per_request(user)),
            "system_us_per_request": known(report.us_per_request(system)),
        },
        "server": server(report),
    })
}

fn times(times: Times<'_>) -> Value {
    json!({
        "min": known(times.min()),
        "mean": known(times.mean()),
        "p50": known(times.at_percentile(50.0)),
        "p90": known(times.at_percentile(90.0)),
        "p99": known(times.at_percentile(99.0)),
        "p99_9": known(times.at_percentile(99.9)),
        "max": known(times.max()),
    })
}

fn interval(row: &Row) -> Value {
    let latency = |at: usize| known(row.latencies_us.map(|latencies| latencies[at]));
    json!({
        "from_s": rounded(row.from.as_secs_f64()),
        "length_s": rounded(row.length.as_secs_f64()),
        "requests": row.answers,
        "throughput_per_s": rounded(row.per_second()),
        "errors": row.failures,
        "latency_us": { "p50": latency(0), "p99": latency(1), "max": latency(2) },
    })
}

fn datagrams(report: &Report<'_>) -> Value {
    if !report.plan.has_datagrams() {
        return Value::Null;
    }
    let DatagramCounts { sent, lost, late, reordered, duplicated, wrong } =
        report.outcome.stats.datagrams;
    json!({
        "sent": sent,
        "received": report.requests(),
        "lost": lost,
        "late": late,
        "reordered": reordered,
        "duplicated": duplicated,
        "wrong": wrong,
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
    let times = report.latencies();
    let points =
        percentiles.into_iter().map(|percentile| (percentile, times.at_percentile(percentile)));
    let points = points.chain([(100.0, times.max())]);
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
