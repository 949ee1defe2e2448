//! `syscalls`: what a message and a connection cost in system calls, counted by strace.
//!
//! Every figure is the difference of two runs, a short one and a long one: what starting and ending
//! costs is in both of them.

use super::{BY_HAND, Outcome, Part, about_commands, by_hand};
use crate::bench::{Bench, Paths};
use crate::contestants::{self, Contestant};
use crate::interrupt::Interrupted;
use crate::load::{Amount, Kind, Load};
use crate::plan::{Effort, Item};
use crate::report::plot::{Bar, Bars};
use crate::report::{Cell, Figure, Row, Table};
use crate::rounds::{Sample, Series};
use crate::server::Server;
use crate::stats::Spread;
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const END_MAX: Duration = Duration::from_secs(20);
/// A short run has this part of a long one's. So what happens only now and then, as one thread's waking
/// another, hardly counts in what is taken off.
const SHORT_PART: u64 = 10;
/// How many calls fewer a long run may make: what depends on timing.
const FEWER_MAX: u64 = 50;
/// Calls that happen now and then, not for every message.
const SHOWN_MIN: f64 = 0.005;

/// What is counted.
struct Count {
    name: &'static str,
    header: &'static str,
    connections: u32,
    kind: Kind,
    /// How many more the long run has than the short one.
    requests: u64,
}

const COUNTS: [Count; 3] = [
    Count {
        name: "a message of one connection",
        header: "a message, 1 connection",
        connections: 1,
        kind: Kind::Closed,
        requests: 1_000,
    },
    Count {
        name: "a message of 50 connections",
        header: "a message, 50 connections",
        connections: 50,
        kind: Kind::Closed,
        requests: 3_000,
    },
    Count {
        name: "a connection",
        header: "a connection",
        connections: 1,
        kind: Kind::Churn,
        requests: 200,
    },
];

/// Calls by their names, for one message or connection.
type Calls = BTreeMap<String, f64>;

pub(crate) fn check() -> anyhow::Result<()> {
    let mut strace = Command::new("strace");
    strace.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match strace.status() {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("the suite syscalls needs strace, which is not installed"),
    }
}

fn chosen(paths: &Paths, is_quick: bool) -> Vec<Contestant> {
    let all = contestants::all(paths).into_iter().filter(|one| one.is_main || !is_quick);
    all.filter(|one| one.label != contestants::FLOOR_AGAIN).collect()
}

pub(crate) fn plan(paths: &Paths, is_quick: bool) -> Item {
    let effort = Effort::ms(1, 0, 800);
    Item::of("syscalls", "counted by strace", chosen(paths, is_quick).len(), effort)
}

pub(crate) fn run(bench: &Bench, outcome: &mut Outcome) -> anyhow::Result<()> {
    let item = plan(&bench.paths, bench.is_quick);
    bench.progress.begin(&item);
    let until = bench.deadline(item.limit());
    let (mut rows, mut interrupted) = (Vec::new(), None);
    for contestant in chosen(&bench.paths, bench.is_quick) {
        bench.progress.at(&item, &contestant.label);
        let calls = |count| match Instant::now() < until {
            true => calls(bench, &contestant, count),
            false => bail!("no time was left"),
        };
        let counted = COUNTS.iter().map(calls).collect();
        match counted {
            Ok(counted) => rows.push((contestant.label, Ok(counted))),
            Err(error) if error.is::<Interrupted>() => {
                interrupted = Some(error);
                break;
            }
            Err(error) => rows.push((contestant.label, Err(format!("{error:#}")))),
        }
    }
    if !rows.is_empty() {
        report(&bench.paths, outcome, &rows);
    }
    interrupted.map_or(Ok(()), Err)
}

fn report(paths: &Paths, outcome: &mut Outcome, rows: &[Counted]) {
    let Outcome { section, parts } = outcome;
    section.title = "System calls".to_owned();
    section.intro = vec![
        "Counted by strace as the difference of two runs. With one connection the counts are exact. \
         With 50 several may be ready in a turn, and how many depends on timing, the more so as strace \
         slows the server down. A connection is accepted, echoes one message and is closed by its peer."
            .to_owned(),
        about_commands(),
    ];
    section.figures =
        COUNTS.iter().enumerate().map(|(at, count)| figure(at, count, rows)).collect();
    section.tables = vec![table(paths, rows)];
    *parts = self::parts(rows);
}

/// A contestant with its calls by [`COUNTS`], or what went wrong.
type Counted = (String, Result<Vec<Calls>, String>);

fn calls(bench: &Bench, contestant: &Contestant, count: &Count) -> anyhow::Result<Calls> {
    let part = count.requests / SHORT_PART;
    let short = trace(bench, contestant, count, part)?;
    let long = trace(bench, contestant, count, part + count.requests)?;
    difference(&short, &long, count.requests)
}

#[allow(clippy::cast_precision_loss, reason = "counts are small")]
fn difference(short: &Totals, long: &Totals, requests: u64) -> anyhow::Result<Calls> {
    let mut calls = Calls::new();
    for name in short.keys().chain(long.keys()) {
        let [few, many] = [short, long].map(|totals| totals.get(name).copied().unwrap_or(0));
        if few > many + FEWER_MAX {
            bail!("{name} was called {few} times in the short run, and {many} in the long one");
        }
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
    bench: &Bench,
    contestant: &Contestant,
    count: &Count,
    requests: u64,
) -> anyhow::Result<Totals> {
    let summary = bench.paths.out.join("logs").join("strace.txt");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&summary);
    strace.arg(&contestant.program).args(&contestant.args);
    let mut server = Server::start_as(bench, contestant, strace)?;
    let traced = child_of(server.process.id())?;
    let load = Load {
        connections: count.connections,
        idle: 0,
        size: 64,
        kind: count.kind,
        amount: Amount::Requests(requests),
    };
    load.run(bench, &server.address, traced.as_raw_nonzero().get().unsigned_abs())?;
    // strace sums up when what it traces has ended.
    kill_process(traced, Signal::TERM).context("the server died")?;
    server.process.wait(bench.deadline(END_MAX), &bench.interrupt)?;
    totals(&fs::read_to_string(&summary).context("strace left no summary")?)
}

/// The server that strace has started.
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

fn table(paths: &Paths, rows: &[Counted]) -> Table {
    let headers = COUNTS.iter().flat_map(|count| [count.header.to_owned(), "which".to_owned()]);
    let rows = rows.iter().map(|(label, counted)| {
        let (cells, remark) = match counted {
            Ok(counted) => (counted.iter().flat_map(cells).collect(), String::new()),
            Err(message) => (vec![Cell::text("–"); COUNTS.len() * 2], format!("failed: {message}")),
        };
        Row { label: label.clone(), kind: crate::report::Kind::of(label), cells, remark }
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
            &format!("strace -f -c {}", contestants::ours(paths, "level", 1).command_line()),
            &format!(
                "target/release/epoll-load {BY_HAND} --connections=1 --size=64 --requests=1100"
            ),
        ),
    }
}

fn cells(calls: &Calls) -> [Cell; 2] {
    let mut shown: Vec<_> = calls.iter().filter(|(_, count)| **count >= SHOWN_MIN).collect();
    shown.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
    let shown: Vec<_> = shown.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
    [Cell::text(format!("{:.2}", sum(calls))), Cell::text(shown.join(", "))]
}

fn figure(at: usize, count: &Count, rows: &[Counted]) -> Figure {
    let bars: Vec<_> = rows
        .iter()
        .map(|(label, counted)| Bar {
            label: label.clone(),
            value: counted.as_ref().ok().and_then(|counted| Spread::of([sum(&counted[at])])),
            remark: "see the table".to_owned(),
        })
        .collect();
    let show = |value: f64| format!("{value:.2}");
    let plot =
        Bars { title: count.header, bars: &bars, reference: None, noise: None, show, tint: None };
    Figure {
        title: format!("System calls: {}", count.name),
        note: "less is better".to_owned(),
        svg: plot.svg(),
    }
}

fn parts(rows: &[Counted]) -> Vec<Part> {
    let part = |at: usize, count: &Count| {
        let series = rows.iter().map(|(label, counted)| {
            let mut series = Series::new(label);
            match counted {
                Ok(counted) => {
                    let values = counted[at].clone();
                    series.rounds.insert(1, Sample { values, curve: Vec::new() });
                }
                Err(message) => series.trouble = Some(message.clone()),
            }
            series
        });
        Part::new("syscalls", count.name, series.collect())
    };
    COUNTS.iter().enumerate().map(|(at, count)| part(at, count)).collect()
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
        assert_eq!(cells(&calls).map(|cell| cell.main), ["1.00", "read 1.00"]);
    }

    #[test]
    fn far_fewer_calls_in_a_long_run_are_an_error() {
        let totals = |calls| Totals::from([("read".to_owned(), calls)]);
        assert_eq!(difference(&totals(FEWER_MAX), &Totals::new(), 100).unwrap(), Calls::new());
        let error = difference(&totals(100), &totals(10), 100).unwrap_err().to_string();
        assert_eq!(error, "read was called 100 times in the short run, and 10 in the long one");
    }
}
