//! The flags, and the plan that they describe.

use crate::exchange::{DATAGRAM_LENS, VALUE_MAX};
use crate::pattern::SIZE_MAX;
use crate::{Plan, Protocol, Target, Thresholds, Until};
use clap::{Parser, ValueEnum};
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

const EXIT_STATUS: &str = "Exit status: 0 when every request was answered with the right bytes, 1 when a \
byte was wrong, a connection failed, a datagram was lost, a request was not sent, a limit (--max-…) was not \
kept or the run failed, 2 when the command line is wrong, 130 when the run was interrupted (Ctrl-C, SIGTERM) \
and nothing had failed until then; the report covers the time up to the interrupt. With --max-errors, errors \
up to that number are no failure. A second Ctrl-C ends the program without a report.";

/// The number of requests if neither a number nor a duration is given.
const REQUESTS: u64 = 100_000;

/// The default number of connections.
const CONNECTIONS: u32 = 50;

/// The defaults if the port is an argument of its own.
const SHORT_CONNECTIONS: u32 = 100;
const SHORT_REQUESTS_PER_CONNECTION: u64 = 100;

/// The largest number of messages in flight on a connection, and on all of them.
const PIPELINE_MAX: u32 = 65_536;
const IN_FLIGHT_MAX: u64 = 1 << 24;

/// Requests a second: from one in a quarter of an hour to one every 100 nanoseconds.
const RATES: RangeInclusive<f64> = 0.001..=1e7;

/// The largest number of threads.
const THREADS_MAX: u32 = 256;

/// The shortest interval of the series. Its histograms are merged each time.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Loads a server and checks every byte that comes back.
///
/// Without --rate, a connection sends its next message when it has received the answer to the previous one.
/// With --rate, messages are due at fixed times, and latencies count from those times.
#[derive(Debug, Parser)]
#[command(name = "epoll-load", version, after_long_help = EXIT_STATUS)]
pub(super) struct Args {
    /// The server: HOST followed by a PORT, HOST:PORT, unix:PATH or unix:@NAME (abstract).
    #[arg(value_name = "HOST")]
    target: String,

    /// The server's port, unless HOST includes it.
    #[arg(value_name = "PORT")]
    port: Option<String>,

    /// The same as --connections [default: 100].
    #[arg(value_name = "CONNECTIONS", value_parser = count, conflicts_with = "connections")]
    connections_short: Option<NonZeroU32>,

    /// The same as --requests-per-connection [default: 100].
    #[arg(
        value_name = "REQUESTS-PER-CONNECTION",
        value_parser = requests,
        conflicts_with_all = ["requests", "requests_per_connection", "duration"]
    )]
    requests_short: Option<NonZeroU64>,

    /// Number of connections that exchange messages [default: 50, after HOST PORT 100].
    #[arg(long, value_name = "N", value_parser = count)]
    connections: Option<NonZeroU32>,

    /// Number of messages to send, over all connections [default: 100000, after HOST PORT 100 on each
    /// connection].
    #[arg(long, value_name = "N", value_parser = requests, conflicts_with = "duration")]
    requests: Option<NonZeroU64>,

    /// Number of messages to send on each connection; with --rate or --churn, on average.
    #[arg(
        long,
        value_name = "N",
        value_parser = requests,
        conflicts_with_all = ["requests", "duration"]
    )]
    requests_per_connection: Option<NonZeroU64>,

    /// Time for which to send messages, such as 10s, instead of a number of them. With --rate, messages
    /// that were due by then are still sent if they are late, for at most --timeout.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    duration: Option<Duration>,

    /// Time before the measurement in which messages are sent and not counted; failures are.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    warmup: Option<Duration>,

    /// Time over which the connections are opened, evenly, before the first message.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = time,
        allow_hyphen_values = true,
        conflicts_with = "churn"
    )]
    ramp_up: Option<Duration>,

    /// Protocol of the messages. resp sets and gets a key on each connection, http gets --path.
    #[arg(long, value_enum, default_value = "echo")]
    protocol: Speaks,

    /// File of certificates, one of which the server's has to be signed by, for tls-echo.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Accept any certificate, for tls-echo.
    #[arg(long, conflicts_with = "tls_ca")]
    insecure: bool,

    /// Send datagrams over UDP, which an echo sends back: each connection is a socket, a datagram without an answer
    /// within --timeout is lost, and losses, duplicates and the order are counted. With --rate, datagrams are sent
    /// whatever is in flight.
    #[arg(
        long,
        conflicts_with_all = ["churn", "ramp_up", "idle", "congestion", "abort_on_error", "tls_ca", "insecure"]
    )]
    udp: bool,

    /// Path that http gets. Each answer has to have status 200, a Content-Length and the same body.
    #[arg(long, value_name = "PATH", value_parser = path, default_value = "/")]
    path: String,

    /// Size of a message, or of a value of resp, in bytes, such as 64, 16KiB or 4MB.
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "64")]
    size: u64,

    /// Number of messages in flight on a connection.
    #[arg(long, value_name = "N", value_parser = count, default_value = "1")]
    pipeline: NonZeroU32,

    /// Messages a second, over all connections, regardless of answers.
    #[arg(long, value_name = "N", value_parser = rate, allow_hyphen_values = true)]
    rate: Option<f64>,

    /// Number of threads, which share the connections.
    #[arg(long, value_name = "N", value_parser = count, default_value = "1")]
    threads: NonZeroU32,

    /// Number of additional idle connections, which are opened first.
    #[arg(long, value_name = "N", value_parser = count)]
    idle: Option<NonZeroU32>,

    /// Open a connection for each message: connect, exchange it, close.
    #[arg(long, conflicts_with = "pipeline")]
    churn: bool,

    /// Do not make lost connections again; the run ends with the last one.
    #[arg(long)]
    abort_on_error: bool,

    /// Time limit for an answer, and for establishing a connection.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = time,
        allow_hyphen_values = true,
        default_value = "10s"
    )]
    timeout: Duration,

    /// Local addresses of the connections, in turn. Without it, more connections than an address has ports
    /// come from several addresses of 127.0.0.0/8 if the server is there.
    #[arg(long, value_name = "IP,…", value_delimiter = ',', value_parser = source)]
    source: Vec<IpAddr>,

    /// TCP congestion control of the connections, such as cubic.
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,

    /// Process id of the server: measure its CPU time, context switches and memory.
    #[arg(long, value_name = "PID", value_parser = count)]
    server_pid: Option<NonZeroU32>,

    /// Print the result as one JSON object.
    #[arg(long)]
    pub(super) json: bool,

    /// Print the figures of each interval of this length too [the JSON object has those of 1s in any case].
    #[arg(long, value_name = "TIME", value_parser = interval, allow_hyphen_values = true)]
    pub(super) interval: Option<Duration>,

    /// Write the latencies of each interval to a log of HdrHistogram, in nanoseconds.
    #[arg(long, value_name = "FILE")]
    pub(super) hdr: Option<PathBuf>,

    /// Show the progress on standard error even if that is no terminal: a line for each interval.
    #[arg(long)]
    pub(super) live: bool,

    /// Fail if the 99th percentile of the latencies is longer.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    max_p99: Option<Duration>,

    /// Fail if there are more errors; fewer are no failure then.
    #[arg(long, value_name = "N", value_parser = errors, allow_hyphen_values = true)]
    max_errors: Option<u64>,
}

/// A protocol on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Speaks {
    Echo,
    Resp,
    Http,
    TlsEcho,
}

fn path(text: &str) -> Result<String, String> {
    let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.starts_with('/') && is_clean {
        true => Ok(text.to_owned()),
        false => Err("expected a path such as /a, without blanks".to_owned()),
    }
}

fn count(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("expected a number from 1 to {}", u32::MAX))
}

fn requests(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| format!("expected a number from 1 to {}", u64::MAX))
}

fn errors(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a number from 0 to {}", u64::MAX))
}

fn source(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "expected an IP address such as 127.0.0.2".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("expected a time above 0".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error} (a time is written like 10s, 1m30s or 250ms)")),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match time(text)? {
        time if time < INTERVAL_MIN => Err("expected 10ms or more".to_owned()),
        time => Ok(time),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if RATES.contains(&rate) => Ok(rate),
        _ => Err(format!("expected a number from {} to {}", RATES.start(), RATES.end())),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let with_unit = units.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, bytes) = with_unit.unwrap_or((text, 1_u64));
    let size = number.parse().ok().and_then(|number: u64| number.checked_mul(bytes));
    match size {
        Some(size @ 1..=SIZE_MAX) => Ok(size),
        _ => Err("expected a size such as 64, 16KiB or 4MB, from 1 to 1GiB".to_owned()),
    }
}

impl Args {
    /// Returns the plan that the flags describe, or their contradiction as one line.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let is_short = self.port.is_some();
        let connections = self.connections.or(self.connections_short);
        let connections = connections
            .map_or(if is_short { SHORT_CONNECTIONS } else { CONNECTIONS }, NonZeroU32::get);
        let each = self.requests_per_connection.or(self.requests_short).map(NonZeroU64::get);
        let (until, requests_per_connection) = match (self.duration, self.requests, each) {
            (Some(duration), ..) => (Until::Elapsed(duration), None),
            (None, Some(requests), _) => (Until::Requests(requests.get()), None),
            (None, None, None) if !is_short => (Until::Requests(REQUESTS), None),
            (None, None, each) => {
                let each = each.unwrap_or(SHORT_REQUESTS_PER_CONNECTION);
                (Until::Requests(each.saturating_mul(connections.into())), Some(each))
            }
        };
        if self.protocol == Speaks::TlsEcho && self.tls_ca.is_none() && !self.insecure {
            return Err("--protocol tls-echo: --tls-ca FILE or --insecure is needed".to_owned());
        }
        if self.udp && self.protocol != Speaks::Echo {
            return Err("--udp: of the protocols only echo sends datagrams".to_owned());
        }
        let plan = Plan {
            target: Target::parse(&self.target, self.port.as_deref())?,
            connections,
            idle: self.idle.map_or(0, NonZeroU32::get),
            threads: self.threads.get(),
            protocol: match self.protocol {
                Speaks::Echo if self.udp => Protocol::UdpEcho,
                Speaks::Echo => Protocol::Echo,
                Speaks::Resp => Protocol::Resp,
                Speaks::Http => Protocol::Http { path: self.path.clone() },
                Speaks::TlsEcho => Protocol::TlsEcho { ca: self.tls_ca.clone() },
            },
            size: self.size,
            pipeline: self.pipeline.get(),
            rate: self.rate,
            until,
            requests_per_connection,
            warmup: self.warmup.unwrap_or_default(),
            ramp_up: self.ramp_up.unwrap_or_default(),
            interval: self.interval.unwrap_or(Duration::from_secs(1)),
            churn: self.churn,
            abort_on_error: self.abort_on_error,
            sources: self.source.clone(),
            answer_limit: self.timeout,
            congestion: self.congestion.clone(),
            server_pid: self.server_pid.map(NonZeroU32::get),
        };
        check(&plan)?;
        Ok(plan)
    }

    /// Returns the limits that the run has to keep.
    pub(super) fn thresholds(&self) -> Thresholds {
        Thresholds { p99_max: self.max_p99, errors_max: self.max_errors }
    }
}

/// Checks that the flags do not contradict one another.
fn check(plan: &Plan) -> Result<(), String> {
    let Plan { threads, connections, pipeline, .. } = *plan;
    if threads > THREADS_MAX {
        return Err(format!("--threads {threads}: at most {THREADS_MAX} are allowed"));
    }
    if threads > connections {
        return Err(format!("--threads {threads}: there are only {connections} connections"));
    }
    if pipeline > PIPELINE_MAX {
        return Err(format!("--pipeline {pipeline}: at most {PIPELINE_MAX} are allowed"));
    }
    if pipeline > 1 && u64::from(pipeline) * u64::from(connections) > IN_FLIGHT_MAX {
        return Err(format!(
            "--pipeline {pipeline}: on {connections} connections more than {IN_FLIGHT_MAX} messages \
             would be in flight"
        ));
    }
    if plan.protocol == Protocol::Resp && plan.size > VALUE_MAX {
        return Err(format!("--size {}: a value of resp has at most {VALUE_MAX} bytes", plan.size));
    }
    if plan.has_datagrams() {
        check_datagrams(plan)?;
    }
    if matches!(plan.target, Target::Unix(_)) {
        if plan.congestion.is_some() {
            return Err("--congestion: a UNIX socket has no congestion control".to_owned());
        }
        if !plan.sources.is_empty() {
            return Err("--source: a UNIX socket has no IP address".to_owned());
        }
    }
    Ok(())
}

/// Checks the rules that differ for datagrams.
fn check_datagrams(plan: &Plan) -> Result<(), String> {
    let (size, pipeline) = (plan.size, plan.pipeline);
    if matches!(plan.target, Target::Unix(_)) {
        return Err("--udp: a UNIX socket has no port; expected HOST PORT or HOST:PORT".to_owned());
    }
    if !DATAGRAM_LENS.contains(&size) {
        let (min, max) = DATAGRAM_LENS.into_inner();
        return Err(format!("--size {size}: a datagram has {min} to {max} bytes with --udp"));
    }
    if pipeline > 1 && plan.rate.is_some() {
        let why = "with --udp and --rate, datagrams are sent whatever is in flight";
        return Err(format!("--pipeline {pipeline}: {why}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[track_caller]
    fn plan(args: &[&str]) -> Plan {
        Args::try_parse_from([&["epoll-load"], args].concat()).unwrap().plan().unwrap()
    }

    #[test]
    fn both_forms_mean_the_same() {
        let short = plan(&["localhost", "80", "7", "99"]);
        let long = plan(&["localhost:80", "--requests-per-connection", "99", "--connections", "7"]);
        assert_eq!(short, long);
        assert_eq!((short.connections, short.until), (7, Until::Requests(693)));
        assert_eq!(short.requests_per_connection, Some(99));
    }

    #[test]
    fn each_form_has_defaults_of_its_own() {
        let amount = |args: &[&str]| {
            let plan = plan(args);
            (plan.connections, plan.until, plan.requests_per_connection)
        };
        let short = (100, Until::Requests(10_000), Some(100));
        assert_eq!(amount(&["localhost", "80"]), short);
        assert_eq!(amount(&["localhost:80"]), (50, Until::Requests(100_000), None));
        let requests = amount(&["localhost", "80", "--requests", "5"]);
        assert_eq!(requests, (100, Until::Requests(5), None));
        let time = Until::Elapsed(Duration::from_secs(3));
        assert_eq!(amount(&["localhost", "80", "9", "--duration", "3s"]), (9, time, None));
    }

    #[test]
    fn only_datagrams_of_a_closed_loop_wait_for_others() {
        let flags = |flags: &[&str]| plan(&[&["localhost:80"], flags].concat());
        let closed = flags(&["--udp", "--pipeline", "7"]);
        assert_eq!((&closed.protocol, closed.in_flight_max()), (&Protocol::UdpEcho, 7));
        assert_eq!(flags(&["--udp", "--rate", "5"]).in_flight_max(), u32::MAX);
        assert_eq!(flags(&["--rate", "5", "--pipeline", "7"]).in_flight_max(), 7);
    }

    #[test]
    fn sources_are_separated_by_commas() {
        let sources = plan(&["localhost:80", "--source", "127.0.0.2,::1"]).sources;
        assert_eq!(sources, ["127.0.0.2", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1", 1),
            ("3KiB", 3072),
            ("4MiB", 1 << 22),
            ("1GiB", SIZE_MAX),
            ("3kB", 3000),
            ("2MB", 2_000_000),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes));
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1 KiB", "1kb", "1025MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
