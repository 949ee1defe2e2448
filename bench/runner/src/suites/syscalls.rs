//! `syscalls`: what a message and a connection cost in system calls, counted by strace.
//!
//! Every figure is the difference of two runs, a short one and a long one: what starting and ending
//! costs is in both of them.

use crate::conditions::Conditions;
use crate::contestants::{self, EchoServer};
use crate::context::Context;
use crate::interrupt::Interrupted;
use crate::load::{Amount, Kind, Load};
use crate::metric::Metric;
use crate::notes::{BY_HAND, about_commands, by_hand};
use crate::paths::Paths;
use crate::plan::{Budget, PlanEntry};
use crate::report::plot::{Bar, Bars};
use crate::report::{Cell, Figure, Row, Section, Table};
use crate::results::{Contestant, Part, Results, Sample, Series};
use crate::server::Server;
use crate::suite::Suite;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The suite.
pub(crate) struct Syscalls;

const SUITE: &str = "syscalls";

impl Suite for Syscalls {
    fn name(&self) -> &'static str {
        SUITE
    }

    fn title(&self) -> &'static str {
        "System calls"
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut strace = Command::new("strace");
        strace.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match strace.status() {
            Ok(status) if status.success() => Ok(()),
            _ => bail!("the suite syscalls needs strace, which is not installed"),
        }
    }

    fn plan(&self, paths: &Paths, is_quick: bool) -> Vec<PlanEntry> {
        vec![entry(&chosen(paths, is_quick))]
    }

    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()> {
        results.notes.extend(contestants::left_out(&context.paths));
        let (rows, ended) = count(context);
        if !rows.is_empty() {
            results.parts = parts(&rows);
        }
        ended
    }

    fn report(&self, results: &Results, _: &Conditions, section: &mut Section) {
        section.intro = vec![
            "Counted by strace as the difference of two runs. With one connection the counts are exact. \
             With 50 several may be ready in a turn, and how many depends on timing, the more so as strace \
             slows the server down. A connection is accepted, echoes one message and is closed by its peer."
                .to_owned(),
            about_commands(),
        ];
        if results.parts.is_empty() {
            return;
        }
        section.figures =
            COUNTS.iter().zip(&results.parts).map(|(c, part)| figure(c, part)).collect();
        section.tables = vec![table(&results.parts)];
    }
}

const END_MAX: Duration = Duration::from_secs(20);
/// A short run has this part of a long one's. So what happens only now and then, as one thread's waking
/// another, hardly counts in what is taken off.
const SHORT_PART: u64 = 10;
/// Calls that happen now and then, not for every message.
const SHOWN_MIN: f64 = 0.005;

/// A kind of request whose system calls are counted.
struct Count {
    name: &'static str,
    /// The name of its file among the published plots, if it has one.
    file: Option<&'static str>,
    header: &'static str,
    connections: u32,
    kind: Kind,
    /// The number of requests that the long run has more than the short one.
    requests: u64,
}

const COUNTS: [Count; 3] = [
    Count {
        name: "a message of one connection",
        file: Some("system-calls"),
        header: "a message, 1 connection",
        connections: 1,
        kind: Kind::Closed,
        requests: 1_000,
    },
    Count {
        name: "a message of 50 connections",
        file: None,
        header: "a message, 50 connections",
        connections: 50,
        kind: Kind::Closed,
        requests: 3_000,
    },
    Count {
        name: "a connection",
        file: None,
        header: "a connection",
        connections: 1,
        kind: Kind::Churn,
        requests: 200,
    },
];

/// Calls by their names, for one message or connection.
type Calls = BTreeMap<String, f64>;

fn chosen(paths: &Paths, is_quick: bool) -> Vec<EchoServer> {
    let all = contestants::present(paths).into_iter().filter(|one| one.is_main || !is_quick);
    all.filter(|one| !one.contestant.role.is_again()).collect()
}

fn entry(chosen: &[EchoServer]) -> PlanEntry {
    PlanEntry::of(SUITE, "counted by strace", chosen.len(), Budget::ms(1, 0, 800))
}

/// Counts the calls of every contestant, up to the end or an interrupt.
fn count(context: &Context) -> (Vec<Counted>, anyhow::Result<()>) {
    let chosen = chosen(&context.paths, context.is_quick);
    let entry = entry(&chosen);
    context.progress.begin(&entry);
    let until = context.deadline(entry.limit());
    let mut rows = Vec::new();
    for server in chosen {
        context.progress.at(&entry, &server.contestant.label());
        let calls = |count| match Instant::now() < until {
            true => calls(context, &server, count),
            false => bail!("no time was left"),
        };
        match COUNTS.iter().map(calls).collect() {
            Ok(counted) => rows.push((server.contestant, Ok(counted))),
            Err(error) if error.is::<Interrupted>() => return (rows, Err(error)),
            Err(error) => rows.push((server.contestant, Err(format!("{error:#}")))),
        }
    }
    (rows, Ok(()))
}

/// A contestant with its calls by [`COUNTS`], or what went wrong.
type Counted = (Contestant, Result<Vec<Calls>, String>);

fn calls(context: &Context, server: &EchoServer, count: &Count) -> anyhow::Result<Calls> {
    let part = count.requests / SHORT_PART;
    let short = trace(context, server, count, part)?;
    let long = trace(context, server, count, part + count.requests)?;
    difference(&short, &long, count.requests)
}

#[allow(clippy::cast_precision_loss, reason = "counts are small")]
fn difference(short: &Totals, long: &Totals, requests: u64) -> anyhow::Result<Calls> {
    // Of a single call a long run may make fewer: how often a thread wakes another depends on timing.
    let [few, many] = [short, long].map(|totals| totals.values().sum::<u64>());
    if few > many {
        bail!("there were {few} calls in the short run, and {many} in the long one");
    }
    let mut calls = Calls::new();
    for name in short.keys().chain(long.keys()) {
        let [few, many] = [short, long].map(|totals| totals.get(name).copied().unwrap_or(0));
        let more = many.saturating_sub(few);
        if more > 0 {
            calls.insert(name.clone(), more as f64 / requests as f64);
        }
    }
    Ok(calls)
}

/// Calls of a whole run.
type Totals = BTreeMap<String, u64>;

fn trace(
    context: &Context,
    server: &EchoServer,
    count: &Count,
    requests: u64,
) -> anyhow::Result<Totals> {
    let summary = context.paths.out.join("logs").join("strace.txt");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&summary);
    strace.arg(&server.program).args(&server.args);
    let mut running = Server::start_as(context, server, strace)?;
    let traced = child_of(running.process.id())?;
    let load = Load {
        connections: count.connections,
        idle: 0,
        size: 64,
        pipeline: 1,
        kind: count.kind,
        amount: Amount::Requests(requests),
    };
    load.run(context, &running.address, traced.as_raw_nonzero().get().unsigned_abs())?;
    // strace sums up when what it traces has ended.
    kill_process(traced, Signal::TERM).context("the server died")?;
    running.process.wait(context.deadline(END_MAX), &context.interrupt)?;
    totals(&fs::read_to_string(&summary).context("strace left no summary")?)
}

/// Returns the server that strace has started.
fn child_of(strace: u32) -> anyhow::Result<Pid> {
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children"));
    let children = children.context("the kernel does not tell children")?;
    let child = children.split_whitespace().next().and_then(|id| id.parse().ok());
    child.and_then(Pid::from_raw).context("strace has started nothing")
}

fn totals(summary: &str) -> anyhow::Result<Totals> {
    let mut totals = Totals::new();
    for line in summary.lines() {
        let mut words = line.split_whitespace();
        // The header and the rules have no number; the sum is not a call.
        let Some(calls) = words.next().and_then(|word| word.parse().ok()) else { continue };
        if let Some(name) = words.next().filter(|name| *name != "total") {
            totals.insert(name.to_owned(), calls);
        }
    }
    if totals.is_empty() {
        bail!("strace counted nothing");
    }
    Ok(totals)
}

fn sum(calls: &Calls) -> f64 {
    calls.values().sum()
}

fn table(parts: &[Part]) -> Table {
    let headers = COUNTS.iter().flat_map(|count| [count.header.to_owned(), "which".to_owned()]);
    let rows = parts[0].series.iter().enumerate().map(|(at, first)| {
        let of_parts = parts.iter().filter_map(|part| part.series.get(at));
        Row {
            label: first.contestant.label(),
            role: first.contestant.role,
            cells: of_parts.flat_map(cells).collect(),
            remark: first
                .error
                .as_ref()
                .map(|error| format!("failed: {error}"))
                .unwrap_or_default(),
        }
    });
    Table {
        title: "System calls a message and a connection".to_owned(),
        columns: std::iter::once(String::new()).chain(headers).collect(),
        rows: rows.collect(),
        note:
            "The command is the long run of the first column; the short one has --requests=100. The \
               other columns have --connections=50 with --requests=3300 and 300, and --churn with \
               --requests=220 and 20."
                .to_owned(),
        command: by_hand(
            &format!(
                "strace -f -c {}",
                contestants::ours(&Paths::default(), "level", 1).command_line()
            ),
            &format!(
                "target/release/epoll-load {BY_HAND} --connections=1 --size=64 --requests=1100"
            ),
        ),
    }
}

/// Returns the number of calls, and which they are.
fn cells(series: &Series) -> [Cell; 2] {
    let Some(sample) = series.rounds.values().next() else {
        return [Cell::text("–"), Cell::text("–")];
    };
    let calls = &sample.calls;
    let mut shown: Vec<_> = calls.iter().filter(|(_, count)| **count >= SHOWN_MIN).collect();
    shown.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
    let shown: Vec<_> = shown.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
    [Cell::text(format!("{:.2}", sum(calls))), Cell::text(shown.join(", "))]
}

fn figure(count: &Count, part: &Part) -> Figure {
    let bar =
        |(place, one): (usize, &Series)| Bar::of(&one.contestant, place, one.spread(Metric::Calls));
    let bars: Vec<_> = part.series.iter().enumerate().map(bar).collect();
    let show = |value: f64| format!("{value:.2}");
    let plot = Bars { title: count.header, bars: &bars, reference: None, noise: None, show };
    Figure {
        title: format!("System calls: {}", count.name),
        note: Metric::Calls.better().words().to_owned(),
        svg: plot.svg(),
        file: count.file,
    }
}

fn parts(rows: &[Counted]) -> Vec<Part> {
    let part = |(at, count): (usize, &Count)| {
        let series = rows.iter().map(|(contestant, counted)| {
            let mut series = Series::new(contestant.clone());
            match counted {
                Ok(counted) => {
                    series.rounds.insert(1, sample(&counted[at]));
                }
                Err(message) => series.error = Some(message.clone()),
            }
            series
        });
        Part::new(count.name, series.collect())
    };
    COUNTS.iter().enumerate().map(part).collect()
}

fn sample(calls: &Calls) -> Sample {
    Sample { calls: calls.clone(), ..Sample::of([(Metric::Calls, sum(calls))]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "\
    calls syscall
--------- ----------------
     3001 epoll_wait
     1000 recvfrom
        1 execve
--------- ----------------
     4002 total
";

    #[test]
    fn a_summary_is_read() {
        let totals = totals(SUMMARY).unwrap();
        assert_eq!(totals.len(), 3);
        assert_eq!(totals["epoll_wait"], 3001);
        assert!(super::totals("strace: nothing").is_err());
    }

    #[test]
    fn what_both_runs_have_is_not_counted() {
        let short = Totals::from([("read".to_owned(), 13), ("execve".to_owned(), 1)]);
        let long = Totals::from([("read".to_owned(), 113), ("execve".to_owned(), 1)]);
        let calls = difference(&short, &long, 100).unwrap();
        assert_eq!(calls["read"], 1.0);
        let mut series = Series::default();
        series.rounds.insert(1, sample(&calls));
        assert_eq!(cells(&series).map(|cell| cell.main), ["1.00", "read 1.00"]);
    }

    #[test]
    fn fewer_calls_in_a_long_run_are_an_error_and_fewer_of_one_kind_are_none() {
        let totals =
            |read, futex| Totals::from([("read".to_owned(), read), ("futex".to_owned(), futex)]);
        let calls = difference(&totals(10, 99), &totals(110, 2), 100).unwrap();
        assert_eq!(calls, Calls::from([("read".to_owned(), 1.0)]));
        let error = difference(&totals(10, 99), &totals(98, 2), 100).unwrap_err().to_string();
        assert_eq!(error, "there were 109 calls in the short run, and 100 in the long one");
    }
}
