//! The command line: flags, error messages, and the exit status.

use crate::pattern::SIZE_MAX;
use crate::progress::ProgressLine;
use crate::{Outcome, Plan, Report, Target, Until, json};
use clap::Parser;
use std::io::{self, Write};
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

const EXIT_STATUS: &str = "Exit status: 0 when every request was answered with the right bytes, 1 when \
a byte was wrong, a connection failed, a request was not sent or the run failed, 2 when the command \
line is wrong, 130 when the run was interrupted (Ctrl-C) and nothing had failed until then; the report \
covers the time up to the interrupt. A second Ctrl-C ends the program without a report.";

/// 128 and the number of SIGINT, as in shells.
const INTERRUPTED: u8 = 130;

/// The number of requests if neither a number nor a duration is given.
const REQUESTS: u64 = 100_000;

/// The default number of connections.
const CONNECTIONS: u32 = 50;

/// The largest number of messages in flight on a connection, and on all of them.
const PIPELINE_MAX: u32 = 65_536;
const IN_FLIGHT_MAX: u64 = 1 << 24;

/// Requests a second: from one in a quarter of an hour to one every 100 nanoseconds.
const RATES: RangeInclusive<f64> = 0.001..=1e7;

/// The largest number of threads.
const THREADS_MAX: u32 = 256;

/// Loads an echo server and checks every byte that comes back.
///
/// Without --rate, a connection sends its next message when it has received the answer to the previous one.
/// With --rate, messages are due at fixed times, and latencies count from those times.
#[derive(Debug, Parser)]
#[command(name = "epoll-load", version, after_long_help = EXIT_STATUS)]
struct Args {
    /// The server: HOST followed by a PORT, HOST:PORT, unix:PATH or unix:@NAME (abstract).
    #[arg(value_name = "HOST")]
    target: String,

    /// The server's port, unless HOST includes it.
    #[arg(value_name = "PORT")]
    port: Option<String>,

    /// The same as --connections.
    #[arg(value_name = "CONNECTIONS", value_parser = count, conflicts_with = "connections")]
    connections_short: Option<NonZeroU32>,

    /// The same as --requests.
    #[arg(
        value_name = "REQUESTS",
        value_parser = requests,
        conflicts_with_all = ["requests", "duration"]
    )]
    requests_short: Option<NonZeroU64>,

    /// Number of connections that exchange messages [default: 50].
    #[arg(long, value_name = "N", value_parser = count)]
    connections: Option<NonZeroU32>,

    /// Number of messages to send, over all connections [default: 100000].
    #[arg(long, value_name = "N", value_parser = requests, conflicts_with = "duration")]
    requests: Option<NonZeroU64>,

    /// Time for which to send messages, such as 10s, instead of a number of them. With --rate, messages
    /// that were due by then are still sent if they are late, for at most --timeout.
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    duration: Option<Duration>,

    /// Size of a message in bytes, such as 64, 16KiB or 4MiB.
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

    /// Time limit for an answer, and for establishing a connection.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = time,
        allow_hyphen_values = true,
        default_value = "10s"
    )]
    timeout: Duration,

    /// TCP congestion control of the connections, such as cubic.
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,

    /// Process id of the server: measure its CPU time, context switches and memory.
    #[arg(long, value_name = "PID", value_parser = count)]
    server_pid: Option<NonZeroU32>,

    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

fn count(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("expected a number from 1 to {}", u32::MAX))
}

fn requests(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| format!("expected a number from 1 to {}", u64::MAX))
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("expected a time above 0".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error} (a time is written like 10s, 1m30s or 250ms)")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if RATES.contains(&rate) => Ok(rate),
        _ => Err(format!("expected a number from {} to {}", RATES.start(), RATES.end())),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let with_unit = units.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, bytes) = with_unit.unwrap_or((text, 1_u64));
    let size = number.parse().ok().and_then(|number: u64| number.checked_mul(bytes));
    match size {
        Some(size @ 1..=SIZE_MAX) => Ok(size),
        _ => Err("expected a size such as 64, 16KiB or 4MiB, from 1 to 1GiB".to_owned()),
    }
}

impl Args {
    /// Returns the plan that the flags describe, or their contradiction as one line.
    fn plan(&self) -> Result<Plan, String> {
        let connections = self.connections.or(self.connections_short);
        let requests = self.requests.or(self.requests_short).map_or(REQUESTS, NonZeroU64::get);
        let plan = Plan {
            target: Target::parse(&self.target, self.port.as_deref())?,
            connections: connections.map_or(CONNECTIONS, NonZeroU32::get),
            idle: self.idle.map_or(0, NonZeroU32::get),
            threads: self.threads.get(),
            size: self.size,
            pipeline: self.pipeline.get(),
            rate: self.rate,
            until: self.duration.map_or(Until::Requests(requests), Until::Elapsed),
            churn: self.churn,
            answer_limit: self.timeout,
            congestion: self.congestion.clone(),
            server_pid: self.server_pid.map(NonZeroU32::get),
        };
        check(&plan)?;
        Ok(plan)
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
    if plan.congestion.is_some() && matches!(plan.target, Target::Unix(_)) {
        return Err("--congestion: a UNIX socket has no congestion control".to_owned());
    }
    Ok(())
}

/// Runs the program with the process's arguments.
///
/// The exit status is 0 when every request was answered with the right bytes, 1 when anything failed, 2
/// when the command line is wrong, and 130 when the run was interrupted and nothing had failed until then.
#[must_use]
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.exit_code() == 0 => {
            // Help or the version, on stdout; a reader that has closed it is no error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&one_line(&error.to_string())),
    };
    let plan = match args.plan() {
        Ok(plan) => plan,
        Err(message) => return refuse(&format!("error: {message}")),
    };
    let line = ProgressLine::new(plan.until);
    let outcome = crate::run(&plan, |progress| line.show(&progress));
    line.clear();
    match outcome {
        Ok(outcome) => print(&plan, &outcome, args.json),
        Err(error) => {
            eprint_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn refuse(message: &str) -> ExitCode {
    eprint_line(message);
    ExitCode::from(2)
}

/// Prints a line to stderr. Errors are ignored: nobody may be reading.
fn eprint_line(message: &str) {
    // A host or a path may contain a line break.
    let message = message.replace(char::is_control, "?");
    let _ = writeln!(io::stderr(), "epoll-load: {message}");
}

/// Returns the message of the command-line parser without its usage hints.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

fn print(plan: &Plan, outcome: &Outcome, as_json: bool) -> ExitCode {
    let report = Report { plan, outcome };
    let text = if as_json { json::object(&report).to_string() } else { report.to_string() };
    if let Err(error) = writeln!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        eprint_line(&format!("error: failed to write the report: {error}"));
        return ExitCode::FAILURE;
    }
    match (outcome.stats.first_failure(), outcome.is_interrupted) {
        (None, false) => ExitCode::SUCCESS,
        (None, true) => {
            eprint_line("interrupted");
            ExitCode::from(INTERRUPTED)
        }
        (Some(first), is_interrupted) => {
            let count = outcome.stats.failures_sum();
            let interrupted = if is_interrupted { "interrupted; " } else { "" };
            eprint_line(&format!("error: {interrupted}{count} errors; the first: {first}"));
            ExitCode::FAILURE
        }
    }
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
        let long = plan(&["localhost:80", "--requests", "99", "--connections", "7"]);
        assert_eq!(short, long);
        assert_eq!((short.connections, short.until), (7, Until::Requests(99)));
        let least = plan(&["localhost", "80"]);
        assert_eq!((least.connections, least.until), (50, Until::Requests(100_000)));
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("1", 1), ("3KiB", 3072), ("4MiB", 1 << 22), ("1GiB", SIZE_MAX)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1 KiB", "1kb", "1025MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
