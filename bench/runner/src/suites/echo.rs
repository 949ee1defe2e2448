//! `echo`: our server beside the floor and the same server written with other crates.

use super::workloads::{ALL, RATE, Workload};
use super::{Outcome, Part};
use crate::bench::{Bench, Paths};
use crate::contestants::{self, Contestant};
use crate::interrupt::Interrupted;
use crate::load::Kind;
use crate::plan::Item;
use crate::report::plot::{Bar, Bars, Line, Lines, Scale};
use crate::report::{Column, Figure, Section, Table, ratio};
use crate::rounds::{Sample, Series, Trouble, interleave};
use crate::server::Server;
use anyhow::Context;

pub(crate) fn plan(paths: &Paths, is_quick: bool) -> Vec<Item> {
    let all = contestants::all(paths);
    ALL.iter()
        .map(|workload| item(workload, chosen(&all, workload, is_quick).len(), is_quick))
        .collect()
}

fn item(workload: &Workload, contestants: usize, is_quick: bool) -> Item {
    Item::of("echo", workload.title, contestants, workload.effort(is_quick))
}

/// Quick runs measure crowds with the most important contestants only.
fn chosen<'a>(all: &'a [Contestant], workload: &Workload, is_quick: bool) -> Vec<&'a Contestant> {
    all.iter().filter(|one| one.is_main || !is_quick || !workload.is_crowd()).collect()
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    let all = contestants::all(&bench.paths);
    let mut section = Section { title: "Echo servers".to_owned(), ..Section::default() };
    section.intro = intro();
    let mut parts = Vec::new();
    for workload in &ALL {
        let series = measure(bench, workload, &all)?;
        section.figures.extend(figures(workload, &series));
        section.tables.push(table(bench, workload, &series));
        parts.push(Part { suite: "echo", title: workload.title.to_owned(), series });
    }
    Ok(Outcome { section, parts })
}

fn intro() -> Vec<String> {
    vec![
        "Each contestant is the same echo server: ours in its four modes, and one written with each \
         of the other crates. The floor is a loop that is written straight on the system calls."
            .to_owned(),
        "In a closed loop the client sends the next message when the answer has come, and checks every \
         byte: throughput is what both of them together can do. At a fixed rate the client sends when a \
         message is due, and a latency counts from then on; what the server needs for a message is then \
         the quietest figure of all."
            .to_owned(),
    ]
}

/// One workload. Servers are started for it and stay for all of its rounds.
fn measure(
    bench: &Bench,
    workload: &Workload,
    all: &[Contestant],
) -> Result<Vec<Series>, Interrupted> {
    let chosen = chosen(all, workload, bench.is_quick);
    let mut servers: Vec<Option<Server>> = chosen.iter().map(|_| None).collect();
    let labels: Vec<_> = chosen.iter().map(|one| one.label.clone()).collect();
    let item = item(workload, chosen.len(), bench.is_quick);
    let load = workload.load(bench.is_quick);
    let rounds = workload.effort(bench.is_quick).rounds;
    bench.progress.begin(&item);
    let until = bench.until(&item);
    let measure = |at: usize, round: u32| {
        let (contestant, server) = (chosen[at], &mut servers[at]);
        bench.progress.at(&item, &format!("round {round} of {rounds}, {}", contestant.label));
        measure_one(bench, contestant, server, &load)
    };
    let trouble = |at: usize, message: String| {
        let sure = chosen[at].connections_max;
        if sure.is_some_and(|sure| workload.connections_all() > sure) {
            Trouble::Unable(message)
        } else {
            Trouble::Failed(message)
        }
    };
    interleave(&labels, rounds, until, measure, trouble)
}

fn measure_one(
    bench: &Bench,
    contestant: &Contestant,
    server: &mut Option<Server>,
    load: &crate::load::Load,
) -> anyhow::Result<Sample> {
    if server.is_none() {
        *server = Some(Server::start(bench, contestant)?);
    }
    let running = server.as_mut().context("it was just started")?;
    let measured = load.run(bench, &running.address, running.process.id());
    let measured = measured.map_err(|error| running.explain(error, &bench.interrupt));
    if measured.is_err() {
        // Dropping it ends it.
        *server = None;
    }
    measured
}

fn columns(workload: &Workload) -> Vec<Column> {
    let throughput = if workload.size >= 16 << 10 {
        Column::Value { header: "MiB/s", name: "mib_per_s" }
    } else {
        Column::Value { header: "messages/s", name: "throughput_per_s" }
    };
    let p50 = Column::Value { header: "p50 µs", name: "p50_us" };
    let p99 = Column::Value { header: "p99 µs", name: "p99_us" };
    let cpu = Column::Value { header: "server CPU µs/message", name: "cpu_us_per_request" };
    let memory =
        Column::First { header: "bytes a connection", name: "memory_bytes_per_connection" };
    match workload.kind {
        Kind::Open(_) => {
            vec![cpu, Column::Ratio { header: "x floor", name: "cpu_us_per_request" }, p50, p99]
        }
        _ => {
            let ratio = Column::Ratio { header: "x floor", name: "throughput_per_s" };
            let cpu_ratio = Column::Ratio { header: "CPU x floor", name: "cpu_us_per_request" };
            let mut columns = vec![throughput, ratio, cpu, cpu_ratio, p50, p99];
            columns.extend(workload.is_crowd().then_some(memory));
            columns
        }
    }
}

fn table(bench: &Bench, workload: &Workload, series: &[Series]) -> Table {
    let load = workload.load(bench.is_quick);
    let measured = workload.effort(bench.is_quick);
    let rounds = series.iter().map(|one| one.rounds.len()).max().unwrap_or(0);
    let (better, what) = match workload.kind {
        Kind::Open(_) => ("Less is better.", "server CPU"),
        _ => ("More is better; of CPU time, less.", "throughput"),
    };
    let flags = load.flags(bench.congestion).join(" ");
    Table {
        note: format!(
            "{rounds} of {} rounds of {:.2} s; the ratio is of {what}. {better}",
            measured.rounds,
            measured.measured.as_secs_f64()
        ),
        command: format!("epoll-load 127.0.0.1:PORT {flags} --server-pid=PID"),
        ..Table::of_rounds(workload.title, series, &columns(workload))
    }
}

fn figures(workload: &Workload, series: &[Series]) -> Vec<Figure> {
    match workload.kind {
        Kind::Open(_) => vec![
            bars(
                workload,
                series,
                "cpu_us_per_request",
                "server CPU a message, x floor, less is better",
            ),
            curves(workload, series),
        ],
        _ => {
            vec![bars(workload, series, "throughput_per_s", "throughput, x floor, more is better")]
        }
    }
}

fn bars(workload: &Workload, series: &[Series], name: &str, note: &str) -> Figure {
    let base = &series[0];
    let again = series.iter().find(|one| one.contestant == contestants::FLOOR_AGAIN);
    let others = series[1..].iter().filter(|one| one.contestant != contestants::FLOOR_AGAIN);
    let bars: Vec<_> = others
        .map(|one| Bar {
            label: one.contestant.clone(),
            value: one.ratio(base, name),
            remark: if one.trouble.is_some() { "see the table".to_owned() } else { String::new() },
        })
        .collect();
    let noise = again.and_then(|again| again.ratio(base, name));
    let svg = Bars {
        title: workload.title,
        bars: &bars,
        reference: Some(1.0),
        noise,
        show: ratio,
        tint: None,
    }
    .svg();
    Figure {
        title: workload.title.to_owned(),
        note: format!("{note}; the band is the floor measured again"),
        svg,
    }
}

fn curves(workload: &Workload, series: &[Series]) -> Figure {
    let shown = series
        .iter()
        .filter(|one| one.contestant != contestants::FLOOR_AGAIN && !one.contestant.contains(','));
    let lines: Vec<_> = shown
        .map(|one| Line { label: one.contestant.clone(), points: one.median_curve() })
        .collect();
    let svg = Lines {
        title: "latency by percentile",
        lines: &lines,
        x: Scale::Percentile,
        x_label: "percentile",
        y_label: "µs",
    }
    .svg();
    Figure {
        title: format!("Latency at {} messages a second", crate::report::number(f64::from(RATE))),
        note: format!("{}, one thread; less is better", workload.title),
        svg,
    }
}
