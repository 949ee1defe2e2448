//! `echo`: our server beside the floor and the same server written with other crates.

use super::workloads::{ALL, Workload};
use super::{BY_HAND, Outcome, Part, about_commands, about_rounds, by_hand};
use crate::bench::{Bench, Paths};
use crate::contestants::{self, Contestant};
use crate::interrupt::Interrupted;
use crate::load::{Kind, Load};
use crate::machine;
use crate::plan::Item;
use crate::report::plot::{Bar, Bars, Line, Lines, Scale};
use crate::report::{Column, Figure, Table, ratio};
use crate::rounds::{Sample, Series, interleave};
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

fn chosen<'a>(all: &'a [Contestant], workload: &Workload, is_quick: bool) -> Vec<&'a Contestant> {
    all.iter().filter(|one| workload.has(one, is_quick)).collect()
}

pub(crate) fn run(bench: &Bench, outcome: &mut Outcome) -> anyhow::Result<()> {
    let all = contestants::all(&bench.paths);
    let Outcome { section, parts } = outcome;
    section.title = "Echo servers".to_owned();
    section.intro = intro();
    for workload in &ALL {
        let series = measure(bench, workload, &all)?;
        section.figures.extend(figures(workload, &series));
        section.tables.push(table(bench, workload, &series));
        parts.push(Part::new("echo", workload.title, series));
    }
    Ok(())
}

fn intro() -> Vec<String> {
    vec![
        "Each contestant is the same echo server: ours in its four modes, and one written with each \
         of the other crates. The floor is a loop that is written straight on the system calls."
            .to_owned(),
        "In a closed loop the client sends the next message when the answer has come, and checks every \
         byte: throughput is what both of them together can do. “Client CPU” is the client's share of a \
         core. Where it is near 100, a closed loop is limited by the client, and a server that is \
         faster does not show; CPU time of the server does. At a fixed rate the client sends when a \
         message is due, and a latency counts from then on; what the server needs for a message is then \
         the quietest figure of all. Every ratio is to the floor with one thread. Among idle connections, \
         “x alone” is the ratio to the same server without them, in the same round."
            .to_owned(),
        about_rounds(contestants::FLOOR_AGAIN),
        about_commands(),
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
    let rounds = workload.effort(bench.is_quick).rounds;
    bench.progress.begin(&item);
    let until = bench.until(&item);
    let measure = |at: usize, round: u32| {
        let (contestant, server) = (chosen[at], &mut servers[at]);
        bench.progress.at(&item, &format!("round {round} of {rounds}, {}", contestant.label));
        measure_one(bench, contestant, server, workload, round)
    };
    interleave(&labels, rounds, until, measure)
}

fn measure_one(
    bench: &Bench,
    contestant: &Contestant,
    server: &mut Option<Server>,
    workload: &Workload,
    round: u32,
) -> anyhow::Result<Sample> {
    let load = workload.load(bench.is_quick);
    let Some(alone) = workload.alone(bench.is_quick) else {
        return run_load(bench, contestant, server, &load);
    };
    // By turns, so that neither has a place in the order. The idle ones come first in the first round:
    // what they make the server's memory grow by is to be seen there.
    let mut run = |load| run_load(bench, contestant, server, load);
    let (among, alone) = if round % 2 == 1 {
        let among = run(&load)?;
        (among, run(&alone)?)
    } else {
        let alone = run(&alone)?;
        (run(&load)?, alone)
    };
    Ok(compared(among, &alone))
}

/// The sample with what it is in comparison with another, where both have a figure.
fn compared(mut sample: Sample, alone: &Sample) -> Sample {
    for name in ["cpu_us_per_request", "p50_us", "p99_us"] {
        let pair = sample.values.get(name).copied().zip(alone.values.get(name).copied());
        let Some((among, alone)) = pair else { continue };
        sample.values.insert(format!("{name}_alone"), alone);
        let ratio = Some(among / alone).filter(|ratio| ratio.is_finite());
        sample.values.extend(ratio.map(|ratio| (format!("{name}_x_alone"), ratio)));
    }
    sample
}

fn run_load(
    bench: &Bench,
    contestant: &Contestant,
    server: &mut Option<Server>,
    load: &Load,
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
    let client = Column::Median { header: "client CPU %", name: "client_cpu_percent" };
    let mut columns = match workload.kind {
        Kind::Open(_) => {
            let ratio = Column::Ratio { header: "x floor", name: "cpu_us_per_request" };
            let alone = Column::Value { header: "x alone", name: "cpu_us_per_request_x_alone" };
            let mut columns = vec![cpu, ratio];
            columns.extend((workload.idle > 0).then_some(alone));
            columns.extend([p50, p99]);
            columns
        }
        _ => {
            let ratio = Column::Ratio { header: "x floor", name: "throughput_per_s" };
            let cpu_ratio = Column::Ratio { header: "CPU x floor", name: "cpu_us_per_request" };
            vec![throughput, ratio, cpu, cpu_ratio, p50, p99]
        }
    };
    columns.push(client);
    columns.extend(workload.is_crowd().then_some(memory));
    columns
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
            (measured.measured / workload.times()).as_secs_f64()
        ),
        command: by_hand(
            &format!(
                "{}{}",
                machine::pinned(bench.cores.server()),
                contestants::ours(&bench.paths, "level", 1).command_line()
            ),
            &format!(
                "{}target/release/epoll-load {BY_HAND} {flags} --server-pid=$!",
                machine::pinned(bench.cores.client()),
            ),
        ),
        ..Table::of_rounds(workload.title, series, &columns(workload))
    }
}

fn figures(workload: &Workload, series: &[Series]) -> Vec<Figure> {
    match workload.kind {
        Kind::Open(rate) => vec![
            bars(
                workload,
                series,
                "cpu_us_per_request",
                "server CPU a message, x floor, less is better",
            ),
            curves(workload, rate, series),
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

fn curves(workload: &Workload, rate: u32, series: &[Series]) -> Figure {
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
        title: format!("Latency at {} messages a second", crate::report::number(f64::from(rate))),
        note: format!("{}, one thread; less is better", workload.title),
        svg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_sample_is_compared_with_the_one_beside_it() {
        let sample = |cpu: f64, p50: f64| Sample {
            values: BTreeMap::from([
                ("cpu_us_per_request".to_owned(), cpu),
                ("p50_us".to_owned(), p50),
            ]),
            curve: Vec::new(),
        };
        let compared = compared(sample(6.0, 5.0), &sample(4.0, 0.0)).values;
        assert_eq!(compared["cpu_us_per_request"], 6.0);
        assert_eq!(compared["cpu_us_per_request_alone"], 4.0);
        assert_eq!(compared["cpu_us_per_request_x_alone"], 1.5);
        assert!(!compared.contains_key("p50_us_x_alone"), "{compared:?}");
    }
}
