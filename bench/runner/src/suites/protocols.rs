//! `protocols`: the examples that speak a protocol of others, beside the programs that people pick for
//! it. Cases of programs that are missing are left out by name.

mod cases;
mod clients;
mod configuration;
mod direct;
mod greeting;
mod load;
mod programs;
mod tls;
mod usage;

use crate::conditions::Conditions;
use crate::context::Context;
use crate::format::ratio;
use crate::metric::Metric;
use crate::notes::{BY_HAND, about_rounds, pinned};
use crate::paths::Paths;
use crate::plan::PlanEntry;
use crate::print::warn;
use crate::report::plot::{Bar, Bars, Hue};
use crate::report::{Column, Figure, Section, Table};
use crate::results::{Contestant, Part, Results, Role, Sample, Series};
use crate::rounds::interleave;
use crate::suite::{Programs, Suite};
use anyhow::{Context as _, ensure};
use cases::{CASES, Case, Client};
use load::{IDLE, flags, load, prepare};
use programs::{Program, Running, find, start, version_of};
use std::collections::BTreeSet;
use tls::Agreement;

/// The suite.
pub(crate) struct Protocols;

const SUITE: &str = "protocols";

impl Suite for Protocols {
    fn name(&self) -> &'static str {
        SUITE
    }

    fn title(&self) -> &'static str {
        "Protocols"
    }

    fn programs(&self) -> Programs {
        Programs::Examples
    }

    fn plan(&self, _: &Paths, is_quick: bool) -> Vec<PlanEntry> {
        CASES.iter().map(|case| entry(case, is_quick)).collect()
    }

    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()> {
        results.notes.push(versions());
        let mut left_out = BTreeSet::new();
        for case in &CASES {
            if let Err(reason) = check(context, case) {
                left_out.insert(reason);
                continue;
            }
            let (series, agreement) = measure(context, case)?;
            let note = agreement.map(|agreed| agreed.to_string());
            results.parts.push(Part { note, ..Part::new(case.title, series) });
        }
        if !left_out.is_empty() {
            let reasons: Vec<_> = left_out.into_iter().collect();
            let line = format!("left out: {}", reasons.join("; "));
            warn(&format!("{SUITE}: {line}"));
            results.notes.push(format!("Some cases are {line}."));
        }
        Ok(())
    }

    fn report(&self, results: &Results, conditions: &Conditions, section: &mut Section) {
        section.intro = intro();
        let case_of = |part: &Part| CASES.iter().find(|case| case.title == part.title);
        let measured = results.parts.iter().filter_map(|part| Some((case_of(part)?, part)));
        section.tables = measured.map(|(case, part)| table(case, part, conditions)).collect();
        section.figures = figures(&results.parts);
    }
}

fn entry(case: &Case, is_quick: bool) -> PlanEntry {
    PlanEntry::of(SUITE, case.title, contestants(case).len(), case.budget(is_quick))
}

/// Returns the reference, the reference in a process of its own, and ours.
fn contestants(case: &Case) -> [(Contestant, Program); 3] {
    let (reference, ours) = (case.reference, case.ours);
    [
        (Contestant::new(reference.label(), Role::Floor), reference),
        (Contestant::new(reference.label(), Role::FloorAgain), reference),
        (Contestant::new(ours.label(), Role::Ours), ours),
    ]
}

/// Returns whether a case can be measured here, or why it is left out.
fn check(context: &Context, case: &Case) -> Result<(), String> {
    case.ours.locate(&context.paths)?;
    case.reference.locate(&context.paths)?;
    match case.client.program() {
        Some(name) if find(name).is_none() => Err(format!("{name} is not installed")),
        _ => Ok(()),
    }
}

fn intro() -> Vec<String> {
    vec![
        "Examples of epoll-service beside the programs that people pick for these protocols. Each has one \
         thread on one core: redis-server keeps nothing on disk, nginx is one process that answers from its \
         configuration and logs nothing, HAProxy forwards bytes (mode tcp). The programs do more than \
         the examples; what is compared is the same request."
            .to_owned(),
        "HTTPS is the example http with epoll-tls around it, whose cryptography is that of ring; nginx has OpenSSL. \
         Both have a certificate of P-256, agree on one version, cipher suite and group only, and send two \
         tickets. That is looked at before a server is measured: one that agrees on anything else than the \
         reference is not. A full handshake is that of a new connection, with one request; what it takes \
         the server is its CPU time, while handshakes a second are those of one client that makes one after \
         another. nginx cannot echo, and TLS in front of an echo server is other work, so epoll-server's \
         TLS echo is measured beside one made with tokio-rustls: the same rustls and ring, below another loop \
         and with other buffers."
            .to_owned(),
        "CPU time is that of the server, in user mode and in the kernel, over the whole run, connecting \
         included, for each request that was answered, each MiB, or each connection. Requests over HTTPS are \
         counted without the handshakes: what as many took just before the run is taken off. TLS echoes are \
         measured on connections that are there already. Memory is what 1 000 connections that were used once and are idle add to the server's pages in memory \
         (Rss), for each of them; buffers in the kernel are not part of it."
            .to_owned(),
        about_rounds(Some("nginx again”, and so for each program, “redis-server again")),
    ]
}

/// Returns a sentence with the versions of the programs that are compared with.
fn versions() -> String {
    let names = ["redis-server", "redis-benchmark", "nginx", "openssl", "wrk", "haproxy"];
    let versions: Vec<_> = names.into_iter().filter_map(version_of).collect();
    format!("Versions: {}.", versions.join(", "))
}

/// Measures one case, and returns the agreement of servers over TLS too. Servers are started for the case, and
/// stay for all rounds unless it measures memory.
fn measure(context: &Context, case: &Case) -> anyhow::Result<(Vec<Series>, Option<Agreement>)> {
    let entrants = contestants(case);
    let contestants = entrants.each_ref().map(|(contestant, _)| contestant.clone());
    let entry = entry(case, context.is_quick);
    let rounds = case.budget(context.is_quick).rounds;
    let mut servers = entrants.each_ref().map(|_| None);
    let mut agreement = None;
    context.progress.begin(&entry);
    let until = context.until(&entry);
    let measure = |at: usize, round: u32| {
        let (program, label) = (entrants[at].1, contestants[at].label());
        context.progress.at(&entry, &format!("round {round} of {rounds}, {label}"));
        measure_one(context, case, program, &label, &mut servers[at], &mut agreement)
    };
    let series = interleave(&contestants, rounds, until, measure)?;
    Ok((series, agreement))
}

fn measure_one(
    context: &Context,
    case: &Case,
    program: Program,
    label: &str,
    server: &mut Option<Running>,
    agreement: &mut Option<Agreement>,
) -> anyhow::Result<Sample> {
    if server.is_none() || case.client.is_idle() {
        let started = start(context, program, label)?;
        prepare(context, case, &started)?;
        if let Some(agreed) = started.dial().agree(case.client.greeting())? {
            hold_to(agreement, agreed)?;
        }
        *server = Some(started);
    }
    let running = server.as_mut().context("it was just started")?;
    let sample = load(context, case, running);
    let sample = sample.map_err(|error| running.server.explain(error, &context.interrupt));
    if sample.is_err() {
        // Dropping it ends it.
        *server = None;
    }
    sample
}

/// Notes what the first server of a case has agreed on, and holds the others to it.
fn hold_to(agreement: &mut Option<Agreement>, agreed: Agreement) -> anyhow::Result<()> {
    match agreement {
        None => *agreement = Some(agreed),
        Some(expected) => {
            ensure!(*expected == agreed, "it agrees on {agreed}, and another server on {expected}");
        }
    }
    Ok(())
}

fn columns(client: &Client) -> Vec<Column> {
    if client.is_idle() {
        let metric = Metric::MemoryPerConnection;
        return vec![
            Column::Value { header: "bytes a connection", metric },
            Column::Ratio { header: "x reference", metric },
        ];
    }
    let (throughput, cpu) = client.headers();
    let mut columns = vec![
        Column::Value { header: throughput, metric: Metric::Throughput },
        Column::Ratio { header: "x reference", metric: Metric::Throughput },
        Column::Value { header: cpu, metric: Metric::CpuPerRequest },
        Column::Ratio { header: "CPU x reference", metric: Metric::CpuPerRequest },
    ];
    if client.program().is_some() {
        columns.push(Column::Value { header: "p50 µs", metric: Metric::P50 });
        columns.push(Column::Value { header: "p99 µs", metric: Metric::P99 });
    }
    columns
}

fn table(case: &Case, part: &Part, conditions: &Conditions) -> Table {
    let planned = case.budget(conditions.is_quick).rounds;
    let better = if case.client.is_idle() {
        format!("{IDLE} connections; less is better.")
    } else {
        "More is better; of CPU time, less.".to_owned()
    };
    let agreed = part.note.as_ref().map(|agreed| format!(" {agreed}.")).unwrap_or_default();
    Table {
        note: format!("{} of {planned} rounds. {better}{agreed}", part.rounds()),
        command: command(case, conditions),
        ..Table::of_rounds(case.title, &part.series, &columns(&case.client))
    }
}

/// Returns the command that measures a case by hand; clients within this program have none.
fn command(case: &Case, conditions: &Conditions) -> String {
    let Some(client) = case.client.program() else { return String::new() };
    let port = BY_HAND.rsplit(':').next().unwrap_or_default();
    let place = match case.client {
        Client::RedisBenchmark { .. } => format!(" -p {port} --csv"),
        _ => " -d 1s".to_owned(),
    };
    let certify = if case.ours.has_tls() { tls::BY_HAND } else { "" };
    format!(
        "{certify}{}{} & sleep 1; {}{client}{place} {}; kill $!",
        pinned(conditions.cores.server()),
        case.ours.by_hand(BY_HAND),
        pinned(conditions.cores.client()),
        flags(&case.client, BY_HAND, conditions.is_quick).join(" ")
    )
}

/// Returns a plot of ours in all cases for each figure that is compared.
fn figures(parts: &[Part]) -> Vec<Figure> {
    let figures = [
        ("Server CPU of a request", Metric::CpuPerRequest, "protocols-cpu"),
        ("Throughput", Metric::Throughput, "protocols-throughput"),
        ("Memory of an idle connection", Metric::MemoryPerConnection, "protocols-memory"),
    ];
    figures
        .into_iter()
        .filter_map(|(title, metric, file)| figure(parts, title, metric, file))
        .collect()
}

fn figure(parts: &[Part], title: &str, metric: Metric, file: &'static str) -> Option<Figure> {
    let bar = |part: &Part| {
        let (base, ours) = (part.series.first()?, part.series.last()?);
        let is_shown = ours.error.is_some() || ours.spread(metric).is_some();
        is_shown.then(|| Bar::named(&part.title, Hue::OURS, ours.ratio(base, metric)))
    };
    let bars: Vec<_> = parts.iter().filter_map(bar).collect();
    let plot = Bars { title, bars: &bars, reference: Some(1.0), noise: None, show: ratio };
    (!bars.is_empty()).then(|| Figure {
        title: title.to_owned(),
        note: format!("epoll-kit, x reference, {}", metric.better().words()),
        svg: plot.svg(),
        file: Some(file),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_plan_is_short_enough() {
        for (is_quick, seconds) in [(false, 90), (true, 31)] {
            let total: Duration = CASES.iter().map(|case| entry(case, is_quick).estimate).sum();
            assert!(total <= Duration::from_secs(seconds), "{is_quick}: {total:?}");
        }
    }

    #[test]
    fn every_case_has_a_title_of_its_own_and_a_reference() {
        let titles: BTreeSet<_> = CASES.iter().map(|case| case.title).collect();
        assert_eq!(titles.len(), CASES.len());
        for case in &CASES {
            let labels = contestants(case).map(|(contestant, _)| contestant.label());
            assert_eq!(labels[1], format!("{} again", labels[0]));
            assert_eq!(labels[2], "epoll-kit");
        }
    }

    #[test]
    fn a_server_that_agrees_on_something_else_is_not_measured() {
        let agreed = |tickets| Agreement { agreed: "TLSv1_3".to_owned(), tickets };
        let mut agreement = None;
        hold_to(&mut agreement, agreed(2)).unwrap();
        hold_to(&mut agreement, agreed(2)).unwrap();
        let error = hold_to(&mut agreement, agreed(4)).unwrap_err().to_string();
        assert!(error.starts_with("it agrees on TLSv1_3, 4 tickets"), "{error}");
        assert_eq!(agreement, Some(agreed(2)));
    }

    #[test]
    fn a_figure_has_a_bar_for_each_case_that_has_the_value() {
        let series = |cpu: f64| {
            let mut series = Series::default();
            series.rounds.insert(1, Sample::of([(Metric::CpuPerRequest, cpu)]));
            series
        };
        let part = Part::new(CASES[0].title, vec![series(2.0), series(2.0), series(1.0)]);
        let figures = figures(&[part]);
        assert_eq!(figures.len(), 1);
        assert!(figures[0].svg.contains("RESP, GET") && figures[0].svg.contains("0.50"));
    }
}
