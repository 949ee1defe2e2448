//! `splicing`: long messages that are copied and that are spliced, and what they cost both sides.

use crate::conditions::Conditions;
use crate::contestants::{EchoServer, ours};
use crate::context::Context;
use crate::format::ratio;
use crate::interrupt::Interrupted;
use crate::line::round_trip_ns;
use crate::load::{self, Amount, Kind, Load};
use crate::metric::Metric;
use crate::network::Neighbour;
use crate::notes::{BY_HAND, about_rounds, by_hand, pinned};
use crate::paths::Paths;
use crate::plan::{Budget, PlanEntry};
use crate::report::plot::{Bar, Bars};
use crate::report::{Column, Figure, Section, Table};
use crate::results::{Part, Results, Role, Sample, Series};
use crate::rounds::interleave;
use crate::server::Server;
use crate::suite::Suite;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

/// The suite.
pub(crate) struct Splicing;

impl Suite for Splicing {
    fn name(&self) -> &'static str {
        "splicing"
    }

    fn title(&self) -> &'static str {
        "Splicing, and who pays"
    }

    fn plan(&self, _: &Paths, is_quick: bool) -> Vec<PlanEntry> {
        CASES.iter().map(|case| entry(case, is_quick)).collect()
    }

    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()> {
        let neighbour = Neighbour::start(context.has_own_network, &context.interrupt);
        for case in &CASES {
            let neighbour = match (case.link, &neighbour) {
                (Link::Loopback, _) => None,
                (Link::Veth, Ok(neighbour)) => Some(neighbour),
                (Link::Veth, Err(error)) => {
                    let note = format!("“{}” is left out: {error:#}.", case.title);
                    results.notes.push(note);
                    continue;
                }
            };
            let series = measure(context, case, neighbour)?;
            results.parts.push(Part::new(case.title, series));
        }
        Ok(())
    }

    fn report(&self, results: &Results, conditions: &Conditions, section: &mut Section) {
        section.intro = intro();
        for part in &results.parts {
            let Some(case) = CASES.iter().find(|case| case.title == part.title) else { continue };
            section.figures.push(figure(case, &part.series));
            section.tables.push(table(case, part, conditions));
        }
    }
}

/// The link between server and client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Loopback,
    /// A pair of devices between two network namespaces, as there is for a container.
    Veth,
}

/// A number of connections over a link.
struct Case {
    title: &'static str,
    file: Option<&'static str>,
    link: Link,
    connections: u32,
}

const CASES: [Case; 4] = [
    Case {
        title: "1 MiB x 4 connections, loopback",
        file: Some("splicing"),
        link: Link::Loopback,
        connections: 4,
    },
    Case {
        title: "1 MiB x 1 connection, loopback",
        file: None,
        link: Link::Loopback,
        connections: 1,
    },
    Case { title: "1 MiB x 4 connections, veth", file: None, link: Link::Veth, connections: 4 },
    Case { title: "1 MiB x 1 connection, veth", file: None, link: Link::Veth, connections: 1 },
];

/// The length of a message in bytes: 1 MiB, so that a figure for each message is one for each MiB.
const SIZE: u32 = 1 << 20;

const FULL: Budget = Budget::ms(7, 120, 30);
const QUICK: Budget = Budget::ms(1, 100, 30);

fn budget(is_quick: bool) -> Budget {
    if is_quick { QUICK } else { FULL }
}

fn entry(case: &Case, is_quick: bool) -> PlanEntry {
    let servers = servers(&Paths::default()).len();
    PlanEntry::of("splicing", case.title, servers, budget(is_quick))
}

/// Returns the contestants, all of them our server. The first is what the others are compared with.
fn servers(paths: &Paths) -> Vec<EchoServer> {
    let server = |name: &str, splice: &str, read_buffer: &str| {
        let mut server = ours(paths, "level", 1);
        name.clone_into(&mut server.contestant.name);
        let flags = ["--splice", splice, "--read-buffer", read_buffer];
        server.args.extend(flags.map(str::to_owned));
        server
    };
    let copy = || server("copy, 64 KiB", "off", "65536");
    vec![
        copy(),
        copy().role(Role::OursAgain),
        server("copy, 256 KiB", "off", "262144"),
        server("splice, 64 KiB", "on", "65536"),
        server("splice, 256 KiB", "on", "262144"),
        server("splice, 1 MiB", "on", "1048576"),
    ]
}

fn load(case: &Case, is_quick: bool) -> Load {
    Load {
        connections: case.connections,
        idle: 0,
        pipeline: 1,
        size: SIZE,
        kind: Kind::Closed,
        amount: Amount::Time(budget(is_quick).measured),
    }
}

fn intro() -> Vec<String> {
    vec![
        "Our server copies long messages, with reads of so many bytes, or splices so many at once. The \
         client has a core of its own and checks every byte. A page that is spliced was written by the \
         client and is read by the client: it crosses to the server's core and back only if it is copied \
         there. So what a copy costs is decided by how far the two cores are from each other, “line ns”: \
         the time in which a cache line goes to the other core and back. It is a few dozen where they \
         share a cache and hundreds where they do not, and it may change under a virtual machine from one \
         round to the next."
            .to_owned(),
        about_rounds(Some("copy, 64 KiB again")),
    ]
}

fn measure(
    context: &Context,
    case: &Case,
    neighbour: Option<&Neighbour>,
) -> Result<Vec<Series>, Interrupted> {
    let entry = entry(case, context.is_quick);
    context.progress.begin(&entry);
    let servers = servers(&context.paths);
    let contestants: Vec<_> = servers.iter().map(|one| one.contestant.clone()).collect();
    let rounds = budget(context.is_quick).rounds;
    let measure = |at: usize, round: u32| {
        let label = contestants[at].label();
        context.progress.at(&entry, &format!("round {round} of {rounds}, {label}"));
        measure_one(context, case, &servers[at], neighbour)
    };
    interleave(&contestants, rounds, context.until(&entry), measure)
}

fn measure_one(
    context: &Context,
    case: &Case,
    server: &EchoServer,
    neighbour: Option<&Neighbour>,
) -> anyhow::Result<Sample> {
    let ip = neighbour.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), Neighbour::address);
    let program = load::program(context);
    let command = match neighbour {
        Some(neighbour) => neighbour.command(program),
        None => Command::new(program),
    };
    let mut running = Server::start_on(context, server, ip)?;
    let load = load(case, context.is_quick);
    let measured = load.run_as(context, command, &running.address, running.process.id());
    let sample = measured.map_err(|error| running.explain(error, &context.interrupt))?;
    Ok(with_both(sample, round_trip_ns(context.cores)))
}

/// Adds up what both sides took, and notes how far their cores were from each other.
fn with_both(mut sample: Sample, line_ns: Option<f64>) -> Sample {
    let of = |metric| sample.values.get(&metric).copied();
    let both = of(Metric::CpuPerRequest).zip(of(Metric::ClientCpuPerRequest));
    let both = both.map(|(server, client)| (Metric::BothCpuPerRequest, server + client));
    sample.values.extend(both);
    sample.values.extend(line_ns.map(|ns| (Metric::LineRoundTrip, ns)));
    sample
}

const COLUMNS: [Column; 9] = [
    Column::Value { header: "server CPU µs/MiB", metric: Metric::CpuPerRequest },
    Column::Ratio { header: "x copy", metric: Metric::CpuPerRequest },
    Column::Value { header: "client CPU µs/MiB", metric: Metric::ClientCpuPerRequest },
    Column::Ratio { header: "x copy", metric: Metric::ClientCpuPerRequest },
    Column::Value { header: "both µs/MiB", metric: Metric::BothCpuPerRequest },
    Column::Ratio { header: "x copy", metric: Metric::BothCpuPerRequest },
    Column::Value { header: "MiB/s", metric: Metric::MibPerSecond },
    Column::Ratio { header: "x copy", metric: Metric::MibPerSecond },
    Column::Value { header: "line ns", metric: Metric::LineRoundTrip },
];

fn table(case: &Case, part: &Part, conditions: &Conditions) -> Table {
    let budget = budget(conditions.is_quick);
    let flags = load(case, conditions.is_quick).flags(conditions.congestion.as_deref()).join(" ");
    let loopback = match case.link {
        Link::Loopback => "",
        Link::Veth => " By hand it is loopback.",
    };
    Table {
        note: format!(
            "{} of {} rounds of {:.2} s; of CPU time less is better, of throughput more. A server is \
             started for each round.{loopback}",
            part.rounds(),
            budget.rounds,
            budget.measured.as_secs_f64()
        ),
        command: by_hand(
            &format!(
                "{}{}",
                pinned(conditions.cores.server()),
                servers(&Paths::default())[0].command_line()
            ),
            &format!(
                "{}target/release/epoll-load {BY_HAND} {flags} --server-pid=$!",
                pinned(conditions.cores.client()),
            ),
        ),
        ..Table::of_rounds(case.title, &part.series, &COLUMNS)
    }
}

fn figure(case: &Case, series: &[Series]) -> Figure {
    let metric = Metric::BothCpuPerRequest;
    let base = &series[0];
    let again = series.iter().find(|one| one.contestant.role.is_again());
    let others = series[1..].iter().filter(|one| !one.contestant.role.is_again());
    let bar =
        |(place, one): (usize, &Series)| Bar::of(&one.contestant, place, one.ratio(base, metric));
    let bars: Vec<_> = others.enumerate().map(bar).collect();
    let noise = again.and_then(|again| again.ratio(base, metric));
    let svg =
        Bars { title: case.title, bars: &bars, reference: Some(1.0), noise, show: ratio }.svg();
    let better = metric.better().words();
    Figure {
        title: case.title.to_owned(),
        note: format!(
            "CPU time of both sides, x copy with reads of 64 KiB, {better}; the band is that copy \
             measured again"
        ),
        svg,
        file: case.file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn both_sides_are_added_up_where_both_are_known() {
        let server = (Metric::CpuPerRequest, 3.0);
        let sample =
            with_both(Sample::of([server, (Metric::ClientCpuPerRequest, 4.0)]), Some(50.0));
        assert_eq!(sample.values[&Metric::BothCpuPerRequest], 7.0);
        assert_eq!(sample.values[&Metric::LineRoundTrip], 50.0);
        let sample = with_both(Sample::of([server]), None);
        assert_eq!(sample, Sample::of([server]));
    }

    #[test]
    fn servers_have_names_of_their_own_and_the_first_is_measured_again() {
        let servers = servers(&Paths::default());
        let labels: BTreeSet<_> = servers.iter().map(|one| one.contestant.label()).collect();
        assert_eq!(labels.len(), servers.len());
        assert_eq!(servers[1].contestant.role, Role::OursAgain);
        assert_eq!(servers[0].args, servers[1].args);
    }
}
