//! `lesson`: the same server level-triggered and edge-triggered, and what the difference costs.

use crate::conditions::Conditions;
use crate::contestants::{EchoServer, one_read_per_event, ours};
use crate::context::Context;
use crate::format::{ratio, whole};
use crate::load::{Amount, Kind, Load};
use crate::metric::Metric;
use crate::notes::{BY_HAND, about_commands, about_rounds, by_hand, pinned};
use crate::paths::Paths;
use crate::plan::{Budget, PlanEntry};
use crate::report::plot::{Bar, Bars, Hue};
use crate::report::{Column, Figure, Section, Table};
use crate::results::{Part, Results, Role, Sample, Series};
use crate::rounds::interleave;
use crate::server::Server;
use crate::suite::Suite;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// The suite.
pub(crate) struct Lesson;

impl Suite for Lesson {
    fn name(&self) -> &'static str {
        "lesson"
    }

    fn title(&self) -> &'static str {
        "Level or edge"
    }

    fn plan(&self, paths: &Paths, is_quick: bool) -> Vec<PlanEntry> {
        CASES.iter().map(|case| entry(paths, case, is_quick)).collect()
    }

    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()> {
        for case in &CASES {
            results.parts.push(Part::new(case.title, measure(context, case)?));
        }
        Ok(())
    }

    fn report(&self, results: &Results, conditions: &Conditions, section: &mut Section) {
        section.intro = vec![
            "One server, once with a level trigger and once with an edge trigger, each started anew for \
             every round. Its own counters say how often it called epoll_wait."
                .to_owned(),
            about_rounds(results.again_label().as_deref()),
            about_commands(),
        ];
        for part in &results.parts {
            let Some(case) = CASES.iter().find(|case| case.title == part.title) else { continue };
            section.figures.push(figure(case, &part.series));
            section.tables.push(table(case, part, conditions));
        }
    }
}

/// The longest time that a drain may take after the last connection was closed.
const END_MAX: Duration = Duration::from_secs(20);

/// A lesson: what is sent, and what the server reads it with.
struct Case {
    title: &'static str,
    /// The name of its file among the published plots, if it has one.
    file: Option<&'static str>,
    note: &'static str,
    size: u32,
    requests: u32,
    /// Bytes of the server's read buffer, where it is not the usual one.
    read_buffer: Option<u32>,
    full: Budget,
    quick: Budget,
}

const CONNECTIONS: u32 = 10_000;

const CASES: [Case; 2] = [
    Case {
        title: "10 000 connections, 100 000 messages of 64 B",
        file: Some("level-or-edge"),
        note: "A read takes a whole message, and one more is not needed to know that the socket is \
               dry: the trigger is all that is different.",
        size: 64,
        requests: 100_000,
        read_buffer: None,
        full: Budget::ms(9, 1_200, 700),
        quick: Budget::ms(1, 1_300, 700),
    },
    Case {
        title: "10 000 connections, messages of 16 KiB, a read buffer of 512 B",
        file: None,
        note: "A message takes 32 reads or more. Our server reads on until the socket is dry or a \
               turn's share of bytes is spent, whatever the trigger. The last row is the reference \
               with a level trigger, which reads once per event and therefore needs that many more events.",
        size: 16 << 10,
        requests: 10_000,
        read_buffer: Some(512),
        full: Budget::ms(9, 2_000, 700),
        quick: Budget::ms(1, 2_000, 1_200),
    },
];

/// Returns the servers of a case. The first is what the others are compared with; the second is the same
/// again, for the noise.
fn servers(paths: &Paths, case: &Case) -> Vec<EchoServer> {
    let level = || ours(paths, "level", 1);
    let mut all = vec![level(), level().role(Role::OursAgain), ours(paths, "edge", 1)];
    for server in &mut all {
        let size = case.read_buffer.map(|size| ["--read-buffer".to_owned(), size.to_string()]);
        server.args.extend(size.into_iter().flatten());
    }
    all.extend(case.read_buffer.map(|size| one_read_per_event(paths, size)));
    all
}

/// The place of the server with an edge trigger.
const EDGE: usize = 2;

fn budget(case: &Case, is_quick: bool) -> Budget {
    if is_quick { case.quick } else { case.full }
}

fn entry(paths: &Paths, case: &Case, is_quick: bool) -> PlanEntry {
    PlanEntry::of("lesson", case.title, servers(paths, case).len(), budget(case, is_quick))
}

fn measure(context: &Context, case: &Case) -> anyhow::Result<Vec<Series>> {
    let entry = entry(&context.paths, case, context.is_quick);
    context.progress.begin(&entry);
    let servers = servers(&context.paths, case);
    let contestants: Vec<_> = servers.iter().map(|one| one.contestant.clone()).collect();
    let rounds = budget(case, context.is_quick).rounds;
    let measure = |at: usize, round: u32| {
        let label = contestants[at].label();
        context.progress.at(&entry, &format!("round {round} of {rounds}, {label}"));
        measure_one(context, &servers[at], case)
    };
    Ok(interleave(&contestants, rounds, context.until(&entry), measure)?)
}

fn load(case: &Case) -> Load {
    Load {
        connections: CONNECTIONS,
        idle: 0,
        size: case.size,
        pipeline: 1,
        kind: Kind::Closed,
        amount: Amount::Requests(case.requests.into()),
    }
}

fn measure_one(context: &Context, echo_server: &EchoServer, case: &Case) -> anyhow::Result<Sample> {
    let stats = context.paths.out.join("logs").join("lesson-stats.json");
    let mut command = Command::new(&echo_server.program);
    command.args(&echo_server.args);
    let is_ours = echo_server.contestant.role.is_ours();
    if is_ours {
        command.arg("--stats-json").arg(&stats);
    }
    let mut server = Server::start_as(context, echo_server, command)?;
    let measured = load(case).run(context, &server.address, server.process.id());
    let mut sample = measured.map_err(|error| server.explain(error, &context.interrupt))?;
    if is_ours {
        let status = server.process.terminate(context.deadline(END_MAX), &context.interrupt)?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        let waits = waits(&fs::read_to_string(&stats).context("the server left no statistics")?)?;
        sample.values.insert(Metric::Waits, waits);
    }
    Ok(sample)
}

fn waits(stats: &str) -> anyhow::Result<f64> {
    let json: Value = serde_json::from_str(stats).context("the statistics are no JSON")?;
    json["reactor"]["waits"].as_f64().context("the statistics have no reactor.waits")
}

const COLUMNS: [Column; 8] = [
    Column::Value { header: "messages/s", metric: Metric::Throughput },
    Column::Ratio { header: "x level", metric: Metric::Throughput },
    Column::Value { header: "mean latency µs", metric: Metric::MeanLatency },
    Column::Value { header: "calls of epoll_wait", metric: Metric::Waits },
    Column::Ratio { header: "x level", metric: Metric::Waits },
    Column::Value { header: "server CPU µs/message", metric: Metric::CpuPerRequest },
    Column::Ratio { header: "x level", metric: Metric::CpuPerRequest },
    Column::Median { header: "CPU %", metric: Metric::ServerCpu },
];

fn table(case: &Case, part: &Part, conditions: &Conditions) -> Table {
    let budget = budget(case, conditions.is_quick);
    let level = &servers(&Paths::default(), case)[0];
    Table {
        note: format!(
            "{} {} of {} rounds of {} messages.",
            case.note,
            part.rounds(),
            budget.rounds,
            whole(case.requests.into())
        ),
        command: by_hand(
            &format!(
                "{}{} --stats-json stats.json",
                pinned(conditions.cores.server()),
                level.command_line()
            ),
            &format!(
                "{}target/release/epoll-load {BY_HAND} {} --server-pid=$!",
                pinned(conditions.cores.client()),
                load(case).flags(conditions.congestion.as_deref()).join(" ")
            ),
        ),
        ..Table::of_rounds(case.title, &part.series, &COLUMNS)
    }
}

fn figure(case: &Case, series: &[Series]) -> Figure {
    let shown = [
        (Metric::Throughput, "messages/s"),
        (Metric::Waits, "epoll_wait calls"),
        (Metric::CpuPerRequest, "CPU a message"),
        (Metric::MeanLatency, "mean latency"),
    ];
    let (base, edge) = (&series[0], &series[EDGE]);
    let bar = |(metric, label)| Bar {
        remark: "not measured".to_owned(),
        ..Bar::named(label, Hue::OURS_EDGE, edge.ratio(base, metric))
    };
    let bars = shown.map(bar);
    let svg =
        Bars { title: case.title, bars: &bars, reference: Some(1.0), noise: None, show: ratio }
            .svg();
    let (title, note) = (case.title.to_owned(), "edge, x level".to_owned());
    Figure { title, note, svg, file: case.file }
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
