//! `echo`: our server beside the floor and the same server written with other crates.

mod workloads;

use crate::conditions::Conditions;
use crate::contestants::{self, EchoServer};
use crate::context::Context;
use crate::format::{number, ratio};
use crate::interrupt::Interrupted;
use crate::load::{Kind, Load};
use crate::metric::Metric;
use crate::notes::{BY_HAND, about_commands, about_rounds, by_hand, pinned};
use crate::paths::Paths;
use crate::plan::PlanEntry;
use crate::report::plot::{Bar, Bars, Hue, Line, Lines, Scale};
use crate::report::{Column, Figure, Section, Table};
use crate::results::{Contestant, Part, Results, Sample, Series};
use crate::rounds::interleave;
use crate::server::Server;
use crate::suite::Suite;
use anyhow::Context as _;
use workloads::{ALL, Workload};

/// The suite.
pub(crate) struct Echo;

impl Suite for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn title(&self) -> &'static str {
        "Echo servers"
    }

    fn plan(&self, paths: &Paths, is_quick: bool) -> Vec<PlanEntry> {
        let present = contestants::present(paths);
        let entry =
            |workload| entry(workload, chosen(&present, workload, is_quick).len(), is_quick);
        ALL.iter().map(entry).collect()
    }

    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()> {
        results.notes.extend(contestants::left_out(&context.paths));
        let present = contestants::present(&context.paths);
        for workload in &ALL {
            let series = measure(context, workload, &present)?;
            results.parts.push(Part::new(workload.title, series));
        }
        Ok(())
    }

    fn report(&self, results: &Results, conditions: &Conditions, section: &mut Section) {
        section.intro = intro(results.again_label().as_deref());
        for part in &results.parts {
            let workload = ALL.iter().find(|workload| workload.title == part.title);
            let Some(workload) = workload else { continue };
            section.figures.extend(figures(workload, &part.series));
            section.tables.push(table(workload, part, conditions));
        }
    }
}

fn entry(workload: &Workload, contestants: usize, is_quick: bool) -> PlanEntry {
    PlanEntry::of("echo", workload.title, contestants, workload.budget(is_quick))
}

fn chosen<'a>(all: &'a [EchoServer], workload: &Workload, is_quick: bool) -> Vec<&'a EchoServer> {
    all.iter().filter(|one| workload.has(one, is_quick)).collect()
}

fn intro(again: Option<&str>) -> Vec<String> {
    vec![
        "Each contestant is the same echo server: ours in its four modes, and one written with each \
         of the other crates, libraries and languages. The floor is a loop that is written straight on the system calls."
            .to_owned(),
        "In a closed loop the client sends the next message when the answer has come, and checks every \
         byte: throughput is what both of them together can do. “Client CPU” is the client's share of a \
         core. Where it is near 100, a closed loop is limited by the client, and a server that is \
         faster does not show; CPU time of the server does. At a fixed rate the client sends when a \
         message is due, and a latency counts from then on; what the server needs for a message is then \
         the quietest figure of all. Every ratio is to the floor with one thread. Among idle connections, \
         “x alone” is the ratio to the same server without them, in the same round."
            .to_owned(),
        about_rounds(again),
        about_commands(),
    ]
}

/// Measures one workload. Servers are started for it and stay for all of its rounds.
fn measure(
    context: &Context,
    workload: &Workload,
    present: &[EchoServer],
) -> Result<Vec<Series>, Interrupted> {
    let chosen = chosen(present, workload, context.is_quick);
    let mut servers: Vec<Option<Server>> = chosen.iter().map(|_| None).collect();
    let contestants: Vec<Contestant> = chosen.iter().map(|one| one.contestant.clone()).collect();
    let entry = entry(workload, chosen.len(), context.is_quick);
    let rounds = workload.budget(context.is_quick).rounds;
    context.progress.begin(&entry);
    let until = context.until(&entry);
    let measure = |at: usize, round: u32| {
        let label = contestants[at].label();
        context.progress.at(&entry, &format!("round {round} of {rounds}, {label}"));
        measure_one(context, chosen[at], &mut servers[at], workload, round)
    };
    interleave(&contestants, rounds, until, measure)
}

fn measure_one(
    context: &Context,
    echo_server: &EchoServer,
    server: &mut Option<Server>,
    workload: &Workload,
    round: u32,
) -> anyhow::Result<Sample> {
    let load = workload.load(context.is_quick);
    let Some(alone) = workload.alone(context.is_quick) else {
        return run_load(context, echo_server, server, &load);
    };
    // By turns, so that neither has a place in the order. The idle ones come first in the first round:
    // what they make the server's memory grow by is to be seen there.
    let mut run = |load| run_load(context, echo_server, server, load);
    let (among, alone) = if round % 2 == 1 {
        let among = run(&load)?;
        (among, run(&alone)?)
    } else {
        let alone = run(&alone)?;
        (run(&load)?, alone)
    };
    Ok(compared(among, &alone))
}

/// Returns the sample with what it is in comparison with another, where both have a figure.
fn compared(mut sample: Sample, alone: &Sample) -> Sample {
    for (metric, of_alone, x_alone) in [
        (Metric::CpuPerRequest, Metric::CpuAlone, Metric::CpuXAlone),
        (Metric::P50, Metric::P50Alone, Metric::P50XAlone),
        (Metric::P99, Metric::P99Alone, Metric::P99XAlone),
    ] {
        let pair = sample.values.get(&metric).copied().zip(alone.values.get(&metric).copied());
        let Some((among, alone)) = pair else { continue };
        sample.values.insert(of_alone, alone);
        let ratio = Some(among / alone).filter(|ratio| ratio.is_finite());
        sample.values.extend(ratio.map(|ratio| (x_alone, ratio)));
    }
    sample
}

fn run_load(
    context: &Context,
    echo_server: &EchoServer,
    server: &mut Option<Server>,
    load: &Load,
) -> anyhow::Result<Sample> {
    if server.is_none() {
        *server = Some(Server::start(context, echo_server)?);
    }
    let running = server.as_mut().context("it was just started")?;
    let measured = load.run(context, &running.address, running.process.id());
    let measured = measured.map_err(|error| running.explain(error, &context.interrupt));
    if measured.is_err() {
        // Dropping it ends it.
        *server = None;
    }
    measured
}

fn columns(workload: &Workload) -> Vec<Column> {
    let throughput = if workload.size >= 16 << 10 {
        Column::Value { header: "MiB/s", metric: Metric::MibPerSecond }
    } else {
        Column::Value { header: "messages/s", metric: Metric::Throughput }
    };
    let p50 = Column::Value { header: "p50 µs", metric: Metric::P50 };
    let p99 = Column::Value { header: "p99 µs", metric: Metric::P99 };
    let cpu = Column::Value { header: "server CPU µs/message", metric: Metric::CpuPerRequest };
    let memory =
        Column::First { header: "bytes a connection", metric: Metric::MemoryPerConnection };
    let client = Column::Median { header: "client CPU %", metric: Metric::ClientCpu };
    let mut columns = match workload.kind {
        Kind::Open(_) => {
            let ratio = Column::Ratio { header: "x floor", metric: Metric::CpuPerRequest };
            let alone = Column::Value { header: "x alone", metric: Metric::CpuXAlone };
            let mut columns = vec![cpu, ratio];
            columns.extend((workload.idle > 0).then_some(alone));
            columns.extend([p50, p99]);
            columns
        }
        _ => {
            let ratio = Column::Ratio { header: "x floor", metric: Metric::Throughput };
            let cpu_ratio = Column::Ratio { header: "CPU x floor", metric: Metric::CpuPerRequest };
            vec![throughput, ratio, cpu, cpu_ratio, p50, p99]
        }
    };
    columns.push(client);
    columns.extend(workload.is_crowd().then_some(memory));
    columns
}

fn table(workload: &Workload, part: &Part, conditions: &Conditions) -> Table {
    let load = workload.load(conditions.is_quick);
    let budget = workload.budget(conditions.is_quick);
    let (better, what) = match workload.kind {
        Kind::Open(_) => ("Less is better.", "server CPU"),
        _ => ("More is better; of CPU time, less.", "throughput"),
    };
    let flags = load.flags(conditions.congestion.as_deref()).join(" ");
    Table {
        note: format!(
            "{} of {} rounds of {:.2} s; the ratio is of {what}. {better}",
            part.rounds(),
            budget.rounds,
            (budget.measured / workload.times()).as_secs_f64()
        ),
        command: by_hand(
            &format!(
                "{}{}",
                pinned(conditions.cores.server()),
                contestants::ours(&Paths::default(), "level", 1).command_line()
            ),
            &format!(
                "{}target/release/epoll-load {BY_HAND} {flags} --server-pid=$!",
                pinned(conditions.cores.client()),
            ),
        ),
        ..Table::of_rounds(workload.title, &part.series, &columns(workload))
    }
}

fn figures(workload: &Workload, series: &[Series]) -> Vec<Figure> {
    let latency = workload.file.map(|_| "echo-latency");
    match workload.kind {
        Kind::Open(rate) => vec![
            bars(workload, series, Metric::CpuPerRequest, "server CPU a message", workload.file),
            bars(workload, series, Metric::P99, "99th percentile of the latency", latency),
            curves(workload, rate, series),
        ],
        _ => vec![bars(workload, series, Metric::Throughput, "throughput", workload.file)],
    }
}

fn bars(
    workload: &Workload,
    series: &[Series],
    metric: Metric,
    what: &str,
    file: Option<&'static str>,
) -> Figure {
    let base = &series[0];
    let again = series.iter().find(|one| one.contestant.role.is_again());
    let others = series[1..].iter().filter(|one| !one.contestant.role.is_again());
    let bar =
        |(place, one): (usize, &Series)| Bar::of(&one.contestant, place, one.ratio(base, metric));
    let bars: Vec<_> = others.enumerate().map(bar).collect();
    let noise = again.and_then(|again| again.ratio(base, metric));
    let svg =
        Bars { title: workload.title, bars: &bars, reference: Some(1.0), noise, show: ratio }.svg();
    let better = metric.better().words();
    Figure {
        title: workload.title.to_owned(),
        note: format!("{what}, x floor, {better}; the band is the floor measured again"),
        svg,
        file,
    }
}

/// Draws a line for each contestant. Not published: in a plot of this size they lie upon one another.
fn curves(workload: &Workload, rate: u32, series: &[Series]) -> Figure {
    let shown =
        series.iter().filter(|one| !one.contestant.role.is_again() && one.contestant.threads == 1);
    let line = |(place, one): (usize, &Series)| Line {
        label: one.contestant.label(),
        hue: Hue::of(&one.contestant, place),
        points: one.median_curve(),
    };
    let lines: Vec<_> = shown.enumerate().map(line).collect();
    let svg = Lines {
        title: "latency by percentile",
        lines: &lines,
        x: Scale::Percentile,
        x_label: "percentile",
        y_label: Metric::P50.unit(),
    }
    .svg();
    Figure {
        title: format!("Latency at {} messages a second", number(f64::from(rate))),
        note: format!("{}, one thread; {}", workload.title, Metric::P50.better().words()),
        svg,
        file: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Role;
    use std::collections::BTreeSet;

    #[test]
    fn a_sample_is_compared_with_the_one_beside_it() {
        let sample =
            |cpu: f64, p50: f64| Sample::of([(Metric::CpuPerRequest, cpu), (Metric::P50, p50)]);
        let compared = compared(sample(6.0, 5.0), &sample(4.0, 0.0)).values;
        assert_eq!(compared[&Metric::CpuPerRequest], 6.0);
        assert_eq!(compared[&Metric::CpuAlone], 4.0);
        assert_eq!(compared[&Metric::CpuXAlone], 1.5);
        assert!(!compared.contains_key(&Metric::P50XAlone), "{compared:?}");
    }

    #[test]
    fn every_server_has_a_colour_of_its_own() {
        let all = contestants::present(&Paths::default());
        let ours_and_peers = all.iter().map(|one| &one.contestant).filter(|one| one.threads == 1);
        let (mut hues, mut count) = (BTreeSet::new(), 0);
        for (place, one) in ours_and_peers.filter(|one| !one.role.is_again()).enumerate() {
            hues.insert(Hue::of(one, place).place());
            count += 1;
        }
        assert_eq!(hues.len(), count);
    }

    #[test]
    fn published_plots_have_names_of_their_own() {
        let one = |role| Series::new(Contestant::new("x", role));
        let series = [Role::Floor, Role::FloorAgain, Role::Ours].map(one);
        let files: Vec<_> = ALL
            .iter()
            .flat_map(|workload| figures(workload, &series))
            .filter_map(|figure| figure.file)
            .collect();
        assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len(), "{files:?}");
    }
}
