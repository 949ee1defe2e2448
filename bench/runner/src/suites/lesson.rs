//! `lesson`: the same server level-triggered and edge-triggered, and what the difference costs.

use super::{BY_HAND, Outcome, Part, about_commands, about_rounds, by_hand};
use crate::bench::{Bench, Paths};
use crate::contestants::{Contestant, a_read_a_report, ours};
use crate::load::{Amount, Kind, Load};
use crate::machine;
use crate::plan::{Effort, Item};
use crate::report::plot::{Bar, Bars};
use crate::report::{Column, Figure, Table, ratio};
use crate::rounds::{Sample, Series, interleave};
use crate::server::Server;
use anyhow::{Context, bail};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// For the drain after the last connection was closed.
const END_MAX: Duration = Duration::from_secs(20);

/// A lesson: what is sent, and what the server reads it with.
struct Case {
    title: &'static str,
    note: &'static str,
    size: u32,
    requests: u32,
    /// Bytes of the server's read buffer, where it is not the usual one.
    read_buffer: Option<u32>,
    full: Effort,
    quick: Effort,
}

const CONNECTIONS: u32 = 10_000;

const CASES: [Case; 2] = [
    Case {
        title: "10 000 connections, 100 000 messages of 64 B",
        note: "A read takes a whole message, and one more is not needed to know that the socket is \
               dry: the trigger is all that is different.",
        size: 64,
        requests: 100_000,
        read_buffer: None,
        full: Effort::ms(15, 1_200, 700),
        quick: Effort::ms(1, 1_300, 700),
    },
    Case {
        title: "10 000 connections, messages of 16 KiB, a read buffer of 512 B",
        note: "A message takes 32 reads or more. Our server reads on until the socket is dry or a \
               turn's share of bytes is spent, whatever the trigger. The last row is the reference \
               with a level trigger, which reads once for each report: so many more are the reports.",
        size: 16 << 10,
        requests: 10_000,
        read_buffer: Some(512),
        full: Effort::ms(15, 2_000, 700),
        quick: Effort::ms(1, 2_000, 1_200),
    },
];

/// The first is what the others are compared with; the second is the same again, for the noise.
fn contestants(paths: &Paths, case: &Case) -> Vec<Contestant> {
    let mut again = ours(paths, "level", 1);
    again.label += " again";
    let mut all = vec![ours(paths, "level", 1), again, ours(paths, "edge", 1)];
    for contestant in &mut all {
        let size = case.read_buffer.map(|size| ["--read-buffer".to_owned(), size.to_string()]);
        contestant.args.extend(size.into_iter().flatten());
    }
    all.extend(case.read_buffer.map(|size| a_read_a_report(paths, size)));
    all
}

/// In the order of the contestants.
const EDGE: usize = 2;

fn effort(case: &Case, is_quick: bool) -> Effort {
    if is_quick { case.quick } else { case.full }
}

pub(crate) fn plan(is_quick: bool) -> Vec<Item> {
    let item = |case: &Case| {
        let contestants = contestants(&Paths::default(), case).len();
        Item::of("lesson", case.title, contestants, effort(case, is_quick))
    };
    CASES.iter().map(item).collect()
}

pub(crate) fn run(bench: &Bench, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Outcome { section, parts } = outcome;
    section.title = "Level or edge".to_owned();
    section.intro = vec![
        "One server, once with a level trigger and once with an edge trigger, each started anew for \
         every round. Its own counters say how often it called epoll_wait."
            .to_owned(),
        about_rounds("level again"),
        about_commands(),
    ];
    for (case, item) in CASES.iter().zip(plan(bench.is_quick)) {
        bench.progress.begin(&item);
        let all = contestants(&bench.paths, case);
        let labels: Vec<_> = all.iter().map(|one| one.label.clone()).collect();
        let rounds = effort(case, bench.is_quick).rounds;
        let measure = |at: usize, round: u32| {
            bench.progress.at(&item, &format!("round {round} of {rounds}, {}", labels[at]));
            measure_one(bench, &all[at], case)
        };
        let until = bench.until(&item);
        let series = interleave(&labels, rounds, until, measure)?;
        section.figures.push(figure(case, &series));
        section.tables.push(table(bench, case, &all, &series));
        parts.push(Part::new("lesson", case.title, series));
    }
    Ok(())
}

fn load(case: &Case) -> Load {
    Load {
        connections: CONNECTIONS,
        idle: 0,
        size: case.size,
        kind: Kind::Closed,
        amount: Amount::Requests(case.requests.into()),
    }
}

fn measure_one(bench: &Bench, contestant: &Contestant, case: &Case) -> anyhow::Result<Sample> {
    let stats = bench.paths.out.join("logs").join("lesson-stats.json");
    let mut command = Command::new(&contestant.program);
    command.args(&contestant.args);
    if contestant.is_ours() {
        command.arg("--stats-json").arg(&stats);
    }
    let mut server = Server::start_as(bench, contestant, command)?;
    let measured = load(case).run(bench, &server.address, server.process.id());
    let mut sample = measured.map_err(|error| server.explain(error, &bench.interrupt))?;
    if contestant.is_ours() {
        let status = server.process.terminate(bench.deadline(END_MAX), &bench.interrupt)?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        let waits = waits(&fs::read_to_string(&stats).context("the server left no statistics")?)?;
        sample.values.insert("waits".to_owned(), waits);
    }
    Ok(sample)
}

fn waits(stats: &str) -> anyhow::Result<f64> {
    let json: Value = serde_json::from_str(stats).context("the statistics are no JSON")?;
    json["reactor"]["waits"].as_f64().context("the statistics have no reactor.waits")
}

const COLUMNS: [Column; 8] = [
    Column::Value { header: "messages/s", name: "throughput_per_s" },
    Column::Ratio { header: "x level", name: "throughput_per_s" },
    Column::Value { header: "mean latency µs", name: "mean_us" },
    Column::Value { header: "calls of epoll_wait", name: "waits" },
    Column::Ratio { header: "x level", name: "waits" },
    Column::Value { header: "server CPU µs/message", name: "cpu_us_per_request" },
    Column::Ratio { header: "x level", name: "cpu_us_per_request" },
    Column::Median { header: "CPU %", name: "server_cpu_percent" },
];

fn table(bench: &Bench, case: &Case, all: &[Contestant], series: &[Series]) -> Table {
    let rounds = series.iter().map(|one| one.rounds.len()).max().unwrap_or(0);
    let effort = effort(case, bench.is_quick);
    Table {
        note: format!(
            "{} {rounds} of {} rounds of {} messages.",
            case.note,
            effort.rounds,
            crate::report::whole(case.requests.into())
        ),
        command: by_hand(
            &format!(
                "{}{} --stats-json stats.json",
                machine::pinned(bench.cores.server()),
                all[0].command_line()
            ),
            &format!(
                "{}target/release/epoll-load {BY_HAND} {} --server-pid=$!",
                machine::pinned(bench.cores.client()),
                load(case).flags(bench.congestion).join(" ")
            ),
        ),
        ..Table::of_rounds(case.title, series, &COLUMNS)
    }
}

fn figure(case: &Case, series: &[Series]) -> Figure {
    let named = [
        ("throughput_per_s", "messages/s"),
        ("waits", "epoll_wait calls"),
        ("cpu_us_per_request", "CPU a message"),
        ("mean_us", "mean latency"),
    ];
    let (base, edge) = (&series[0], &series[EDGE]);
    let bars: Vec<_> = named
        .iter()
        .map(|(name, label)| Bar {
            label: (*label).to_owned(),
            value: edge.ratio(base, name),
            remark: "not measured".to_owned(),
        })
        .collect();
    let svg = Bars {
        title: case.title,
        bars: &bars,
        reference: Some(1.0),
        noise: None,
        show: ratio,
        tint: Some("edge"),
    }
    .svg();
    Figure { title: case.title.to_owned(), note: "edge, x level".to_owned(), svg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_from_the_servers_statistics() {
        assert_eq!(waits(r#"{"reactor":{"waits":12}}"#).unwrap(), 12.0);
        assert!(waits("{}").unwrap_err().to_string().contains("reactor.waits"));
        assert!(waits("").is_err());
    }
}
