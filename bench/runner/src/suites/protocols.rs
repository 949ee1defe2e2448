//! `protocols`: the examples that speak a protocol of others, beside the programs that people pick for
//! it. Cases of programs that are missing are left out by name.

mod cases;
mod clients;
mod direct;
mod programs;
mod usage;

use super::{BY_HAND, Outcome, Part, about_rounds};
use crate::bench::{Bench, complain};
use crate::machine;
use crate::plan::Item;
use crate::process::on_core;
use crate::report::plot::{Bar, Bars};
use crate::report::{Column, Figure, Table, ratio};
use crate::rounds::{Sample, Series, interleave};
use anyhow::{Context, bail, ensure};
use cases::{CASES, Case, Client};
use clients::{redis_benchmark, redis_sample, wrk, wrk_sample};
use programs::{Program, Running, find, start, version_of};
use std::collections::BTreeSet;
use usage::usage;

const SUITE: &str = "protocols";

/// Connections that are held where memory is measured.
const IDLE: u32 = 1_000;

/// The requests of redis-benchmark are made on so many connections.
const REDIS_CONNECTIONS: &str = "50";

pub(crate) fn plan(is_quick: bool) -> Vec<Item> {
    CASES.iter().map(|case| item(case, is_quick)).collect()
}

fn item(case: &Case, is_quick: bool) -> Item {
    Item::of(SUITE, case.title, contestants(case).len(), case.effort(is_quick))
}

/// The reference, the reference in a process of its own, and ours.
fn contestants(case: &Case) -> [(String, Program); 3] {
    let label = case.reference.label();
    [
        (label.to_owned(), case.reference),
        (format!("{label} again"), case.reference),
        (case.ours.label().to_owned(), case.ours),
    ]
}

pub(crate) fn run(bench: &Bench, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Outcome { section, parts } = outcome;
    section.title = "Protocols".to_owned();
    section.intro = intro();
    let mut left_out = BTreeSet::new();
    let mut measured: Vec<(&Case, Vec<Series>)> = Vec::new();
    for case in &CASES {
        if let Err(reason) = check(bench, case) {
            left_out.insert(reason);
            continue;
        }
        let series = measure(bench, case)?;
        section.tables.push(table(bench, case, &series));
        parts.push(Part::new(SUITE, case.title, series.clone()));
        measured.push((case, series));
        section.figures = figures(&measured);
    }
    if !left_out.is_empty() {
        let reasons: Vec<_> = left_out.into_iter().collect();
        let line = format!("left out: {}", reasons.join("; "));
        complain(&format!("{SUITE}: {line}"));
        section.intro.push(format!("Some cases are {line}."));
    }
    Ok(())
}

/// Returns whether a case can be measured here, or why it is left out.
fn check(bench: &Bench, case: &Case) -> Result<(), String> {
    case.ours.locate(&bench.paths)?;
    case.reference.locate(&bench.paths)?;
    match case.client.program() {
        Some(name) if find(name).is_none() => Err(format!("{name} is not installed")),
        _ => Ok(()),
    }
}

fn intro() -> Vec<String> {
    let names = ["redis-server", "redis-benchmark", "nginx", "wrk", "haproxy"];
    let versions: Vec<_> = names.into_iter().filter_map(version_of).collect();
    vec![
        "Examples of epoll-service beside the programs that people pick for these protocols. Each has one \
         thread on one core: redis-server keeps nothing on disk, nginx is one process that answers from its \
         configuration and logs nothing, HAProxy forwards bytes (mode tcp). The programs do more than \
         the examples; what is compared is the same request."
            .to_owned(),
        format!("Versions: {}.", versions.join(", ")),
        "CPU time is that of the server, in user mode and in the kernel, over the whole run, connecting \
         included, for each request that was answered, each MiB, or each connection. Memory is what \
         1 000 connections that were used once and are idle add to the server's pages in memory \
         (Rss), for each of them; buffers in the kernel are not part of it."
            .to_owned(),
        about_rounds("nginx again”, and so for each program, “redis-server again"),
    ]
}

/// One case. Servers are started for it, and where it is not about memory they stay for all rounds.
fn measure(bench: &Bench, case: &Case) -> anyhow::Result<Vec<Series>> {
    let contestants = contestants(case);
    let labels = contestants.each_ref().map(|(label, _)| label.clone());
    let item = item(case, bench.is_quick);
    let rounds = case.effort(bench.is_quick).rounds;
    let mut servers = contestants.each_ref().map(|_| None);
    bench.progress.begin(&item);
    let until = bench.until(&item);
    let measure = |at: usize, round: u32| {
        bench.progress.at(&item, &format!("round {round} of {rounds}, {}", labels[at]));
        let server = &mut servers[at];
        let (label, program) = &contestants[at];
        measure_one(bench, case, *program, label, server)
    };
    Ok(interleave(&labels, rounds, until, measure)?)
}

fn measure_one(
    bench: &Bench,
    case: &Case,
    program: Program,
    label: &str,
    server: &mut Option<Running>,
) -> anyhow::Result<Sample> {
    if server.is_none() || case.client.is_idle() {
        let started = start(bench, program, label)?;
        prepare(bench, case, &started)?;
        *server = Some(started);
    }
    let running = server.as_mut().context("it was just started")?;
    let sample = load(bench, case, running);
    let sample = sample.map_err(|error| running.server.explain(error, &bench.interrupt));
    if sample.is_err() {
        // Dropping it ends it.
        *server = None;
    }
    sample
}

/// Gives a new server what the load asks for.
fn prepare(bench: &Bench, case: &Case, running: &Running) -> anyhow::Result<()> {
    if let Client::RedisBenchmark { .. } = case.client {
        let flags = ["-c", "1", "-n", "1", "-t", "set"].map(str::to_owned);
        let output = redis_benchmark(bench, running.address, &flags)?;
        ensure!(output.status.success(), "redis-benchmark: {}", output.complaint());
    }
    Ok(())
}

fn load(bench: &Bench, case: &Case, running: &Running) -> anyhow::Result<Sample> {
    let (pid, address, backend) = (running.server.process.id(), running.address, &running.backend);
    let measured = case.effort(bench.is_quick).measured;
    let flags = flags(&case.client, &address.to_string(), bench.is_quick);
    let before = usage(pid)?;
    let here = bench.cores.client();
    let (mut sample, count) = match case.client {
        Client::RedisBenchmark { .. } => {
            let output = redis_benchmark(bench, address, &flags)?;
            ensure!(output.status.success(), "redis-benchmark: {}", output.complaint());
            (redis_sample(&output.stdout)?, f64::from(requests(&case.client, bench.is_quick)))
        }
        Client::Wrk { .. } => {
            let output = wrk(bench, &flags, measured)?;
            ensure!(output.status.success(), "wrk: {}", output.complaint());
            let sample = wrk_sample(&output.stdout)?;
            let count = sample.values["requests"];
            (sample, count)
        }
        Client::Bulk => {
            let (count, s) = timed(|| on_core(here, || direct::bulk(address, backend, measured)))?;
            rate(float(count) / f64::from(1 << 20), s)
        }
        Client::Connections => {
            let work = || direct::connections(address, backend, measured);
            let (count, s) = timed(|| on_core(here, work))?;
            rate(float(count), s)
        }
        Client::Idle(greeting) => {
            // Once before: what the first connection loads is no part of the others.
            let first = direct::hold(address, greeting, 1, || usage(pid))?;
            let all = direct::hold(address, greeting, IDLE as usize, || usage(pid))?;
            return Ok(memory(first.memory_bytes, all.memory_bytes));
        }
        Client::IdleProxied => {
            let first = direct::hold_proxied(address, backend, 1, || usage(pid))?;
            let all = direct::hold_proxied(address, backend, IDLE as usize, || usage(pid))?;
            return Ok(memory(first.memory_bytes, all.memory_bytes));
        }
    };
    let cpu_us = usage(pid)?.cpu_us - before.cpu_us;
    if cpu_us <= 0.0 {
        bail!("the server did nothing");
    }
    sample.values.insert("cpu_us_per_request".to_owned(), cpu_us / count);
    Ok(sample)
}

fn memory(before: f64, after: f64) -> Sample {
    let mut sample = Sample::default();
    sample.values.insert(MEMORY.to_owned(), (after - before) / f64::from(IDLE));
    sample
}

const MEMORY: &str = "memory_bytes_per_connection";

#[allow(clippy::cast_precision_loss, reason = "bytes and connections of less than a second")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Does it, and returns the seconds that it took.
fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let start = std::time::Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64()))
}

/// A sample of so many in so many seconds, and the number.
fn rate(count: f64, seconds: f64) -> (Sample, f64) {
    let mut sample = Sample::default();
    sample.values.insert("throughput_per_s".to_owned(), count / seconds);
    (sample, count)
}

fn requests(client: &Client, is_quick: bool) -> u32 {
    match client {
        Client::RedisBenchmark { requests_quick, .. } if is_quick => *requests_quick,
        Client::RedisBenchmark { requests, .. } => *requests,
        _ => 0,
    }
}

/// What a load client of others is told, but for where the server is if it has flags for that.
fn flags(client: &Client, address: &str, is_quick: bool) -> Vec<String> {
    let text = match client {
        Client::RedisBenchmark { command, pipeline, .. } => format!(
            "-c {REDIS_CONNECTIONS} -n {} -P {pipeline} -t {command}",
            requests(client, is_quick)
        ),
        Client::Wrk { connections, scheme, path } => {
            format!("-t1 -c {connections} --latency {scheme}://{address}{path}")
        }
        _ => return Vec::new(),
    };
    text.split(' ').map(str::to_owned).collect()
}

fn columns(client: &Client) -> Vec<Column> {
    if client.is_idle() {
        return vec![
            Column::Value { header: "bytes a connection", name: MEMORY },
            Column::Ratio { header: "x reference", name: MEMORY },
        ];
    }
    let (throughput, cpu) = match client.unit() {
        "MiB" => ("MiB/s", "server CPU µs/MiB"),
        "connection" => ("connections/s", "server CPU µs/connection"),
        _ => ("requests/s", "server CPU µs/request"),
    };
    let mut columns = vec![
        Column::Value { header: throughput, name: "throughput_per_s" },
        Column::Ratio { header: "x reference", name: "throughput_per_s" },
        Column::Value { header: cpu, name: "cpu_us_per_request" },
        Column::Ratio { header: "CPU x reference", name: "cpu_us_per_request" },
    ];
    if client.program().is_some() {
        columns.push(Column::Value { header: "p50 µs", name: "p50_us" });
        columns.push(Column::Value { header: "p99 µs", name: "p99_us" });
    }
    columns
}

fn table(bench: &Bench, case: &Case, series: &[Series]) -> Table {
    let effort = case.effort(bench.is_quick);
    let rounds = series.iter().map(|one| one.rounds.len()).max().unwrap_or(0);
    let better = if case.client.is_idle() {
        format!("{IDLE} connections; less is better.")
    } else {
        "More is better; of CPU time, less.".to_owned()
    };
    Table {
        note: format!("{rounds} of {} rounds. {better}", effort.rounds),
        command: command(bench, case),
        ..Table::of_rounds(case.title, series, &columns(&case.client))
    }
}

/// What measures a case of ours by hand; of the clients within this program there is none.
fn command(bench: &Bench, case: &Case) -> String {
    let Some(client) = case.client.program() else { return String::new() };
    let port = BY_HAND.rsplit(':').next().unwrap_or_default();
    let place = match case.client {
        Client::RedisBenchmark { .. } => format!(" -p {port} --csv"),
        _ => " -d 1s".to_owned(),
    };
    format!(
        "{}{} & sleep 1; {}{client}{place} {}; kill $!",
        machine::pinned(bench.cores.server()),
        case.ours.by_hand(BY_HAND),
        machine::pinned(bench.cores.client()),
        flags(&case.client, BY_HAND, bench.is_quick).join(" ")
    )
}

/// Ours in all cases, for each figure that is compared.
fn figures(measured: &[(&Case, Vec<Series>)]) -> Vec<Figure> {
    let figure = |title: &'static str, name: &str, note: &str| {
        let bar = |(case, series): &(&Case, Vec<Series>)| {
            let ours = series.last()?;
            let has = ours.rounds.values().any(|sample| sample.values.contains_key(name));
            let remark = if ours.trouble.is_some() { "see the table" } else { "" };
            (has || ours.trouble.is_some()).then(|| Bar {
                label: case.title.to_owned(),
                value: ours.ratio(&series[0], name),
                remark: remark.to_owned(),
            })
        };
        let bars: Vec<_> = measured.iter().filter_map(bar).collect();
        (!bars.is_empty()).then(|| Figure {
            title: title.to_owned(),
            note: format!("epoll-kit, x reference, {note}"),
            svg: Bars {
                title,
                bars: &bars,
                reference: Some(1.0),
                noise: None,
                show: ratio,
                tint: None,
            }
            .svg(),
        })
    };
    let figures = [
        figure("Server CPU of a request", "cpu_us_per_request", "less is better"),
        figure("Throughput", "throughput_per_s", "more is better"),
        figure("Memory of an idle connection", MEMORY, "less is better"),
    ];
    figures.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_plan_is_short_enough() {
        for (is_quick, seconds) in [(false, 60), (true, 22)] {
            let total: Duration = plan(is_quick).iter().map(|item| item.estimate).sum();
            assert!(total <= Duration::from_secs(seconds), "{is_quick}: {total:?}");
        }
    }

    #[test]
    fn every_case_has_a_title_of_its_own_and_a_reference() {
        let titles: BTreeSet<_> = CASES.iter().map(|case| case.title).collect();
        assert_eq!(titles.len(), CASES.len());
        for case in &CASES {
            let labels = contestants(case).map(|(label, _)| label);
            assert_eq!(labels[1], format!("{} again", labels[0]));
            assert_eq!(labels[2], "epoll-kit");
        }
    }

    #[test]
    fn flags_say_what_is_asked() {
        let redis = flags(&CASES[2].client, BY_HAND, false).join(" ");
        assert_eq!(redis, "-c 50 -n 120000 -P 16 -t get");
        let wrk = flags(&CASES[7].client, BY_HAND, true).join(" ");
        assert_eq!(wrk, "-t1 -c 1000 --latency http://127.0.0.1:8080/");
        assert!(flags(&Client::Bulk, BY_HAND, true).is_empty());
    }

    #[test]
    fn a_figure_has_a_bar_for_each_case_that_has_the_value() {
        let series = |cpu: f64| {
            let mut series = Series::new("x");
            let values = [("cpu_us_per_request".to_owned(), cpu)].into();
            series.rounds.insert(1, Sample { values, curve: Vec::new() });
            series
        };
        let measured = [(&CASES[0], vec![series(2.0), series(2.0), series(1.0)])];
        let figures = figures(&measured);
        assert_eq!(figures.len(), 1);
        assert!(figures[0].svg.contains("RESP, GET") && figures[0].svg.contains("0.50"));
    }
}
