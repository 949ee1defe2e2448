//! `memory`: what an idle connection takes, and the longest pause while connections come, measured up to
//! 19 500 and by a model up to a million.

use crate::conditions::Conditions;
use crate::contestants::{EchoServer, ours};
use crate::context::Context;
use crate::format::{number, whole};
use crate::interrupt::Interrupted;
use crate::metric::Metric;
use crate::paths::Paths;
use crate::plan::{Budget, PlanEntry};
use crate::process::on_core;
use crate::report::{Cell, Row, Section, Table};
use crate::results::{Contestant, Part, Results, Role, Sample, Series};
use crate::rounds::interleave;
use crate::server::Server;
use crate::stats::{Line, Spread};
use crate::suite::Suite;
use anyhow::{Context as _, bail};
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// The suite.
pub(crate) struct Memory;

const SUITE: &str = "memory";
const TITLE: &str = "idle connections, step by step";
const GROWTH: &str = "growing a table";

/// The numbers of connections that the model is fitted on.
const FITTED: [u32; 10] =
    [1_000, 3_000, 5_000, 7_000, 9_000, 11_000, 13_000, 15_000, 17_000, 19_000];
/// The number that it is checked against.
const CHECKED: u32 = 19_500;
/// The number that it is for.
const MODELLED: u32 = 1_000_000;

/// Connections that come and go before the first count: what is loaded once is there then, and the pages
/// that small tables leave in the heap.
const WARM_UP: u32 = 600;

/// The number of bytes that a growing table has for each connection, registration and timer together.
const TABLE_BYTES: usize = 128;
/// The numbers of connections at which a table of that many bytes each grows to twice its length.
const DOUBLED: [u32; 4] = [8_192, 65_536, 262_144, 524_288];
/// A shared table grows by chunks of at least a sixteenth of its length.
const CHUNK_PART: usize = 16;

const FULL: Budget = Budget::ms(5, 3_000, 500);
const QUICK: Budget = Budget::ms(1, 3_000, 500);
/// The longest wait until the server has accepted or closed everything.
const SETTLE_MAX: Duration = Duration::from_secs(20);

impl Suite for Memory {
    fn name(&self) -> &'static str {
        SUITE
    }

    fn title(&self) -> &'static str {
        "Memory and pauses"
    }

    fn plan(&self, paths: &Paths, is_quick: bool) -> Vec<PlanEntry> {
        vec![entry(paths, is_quick)]
    }

    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()> {
        let entry = entry(&context.paths, context.is_quick);
        context.progress.begin(&entry);
        let servers = servers(&context.paths);
        let contestants: Vec<_> = servers.iter().map(|one| one.contestant.clone()).collect();
        let mut steps: Vec<Part> = counts().map(|count| part(count, &contestants)).collect();
        let rounds = budget(context.is_quick).rounds;
        let series = interleave(&contestants, rounds, context.until(&entry), |at, round| {
            let label = contestants[at].label();
            context.progress.at(&entry, &format!("round {round} of {rounds}, {label}"));
            let grown = on_core(context.cores.client(), || grow(context, &servers[at]))?;
            for (step, sample) in steps.iter_mut().zip(grown) {
                step.series[at].rounds.insert(round, sample);
            }
            Ok(Sample::default())
        })?;
        for step in &mut steps {
            for (one, run) in step.series.iter_mut().zip(&series) {
                one.error.clone_from(&run.error);
            }
        }
        results.parts = steps;
        results.parts.extend(DOUBLED.map(growth));
        Ok(())
    }

    fn report(&self, results: &Results, _: &Conditions, section: &mut Section) {
        section.intro = vec![
            format!(
                "Connections are opened one after the other and stay idle, each with the timer of its idle \
                 timeout; the limit of descriptors has to allow {}. After each one another connection gets an echo, so a pause of the server is seen: \
                 the longest of each step is in the table. The model is the line through the medians from \
                 {} to {} connections, which {} then check.",
                whole(CHECKED.into()),
                whole(FITTED[0].into()),
                whole(FITTED[FITTED.len() - 1].into()),
                whole(CHECKED.into()),
            ),
            "Nothing that a turn does grows with the number of connections but the growing of a table: passes, \
             timers and accepted connections are bounded in each turn. The second table has what that takes. The \
             tables of a thread are vectors, which the GNU C library moves by mremap(2) without a copy; an \
             allocator that copies takes the time in the column beside it. A table that threads share grows by \
             chunks and moves nothing, with any allocator."
                .to_owned(),
        ];
        section.tables = vec![memory_table(&results.parts), growth_table(&results.parts)];
    }
}

fn counts() -> impl Iterator<Item = u32> {
    FITTED.into_iter().chain([CHECKED])
}

fn servers(paths: &Paths) -> [EchoServer; 2] {
    ["level", "oneshot"].map(|mode| ours(paths, mode, 1))
}

fn budget(is_quick: bool) -> Budget {
    if is_quick { QUICK } else { FULL }
}

fn entry(paths: &Paths, is_quick: bool) -> PlanEntry {
    PlanEntry::of(SUITE, TITLE, servers(paths).len(), budget(is_quick))
}

fn part(count: u32, contestants: &[Contestant]) -> Part {
    let series = contestants.iter().cloned().map(Series::new).collect();
    Part {
        group: Some(TITLE.to_owned()),
        x: Some(count.into()),
        ..Part::new(&format!("{} connections", whole(count.into())), series)
    }
}

/// Opens connections up to the largest count, and returns what each step has brought.
fn grow(context: &Context, server: &EchoServer) -> anyhow::Result<Vec<Sample>> {
    let running = Server::start(context, server)?;
    let idle = Idle { context, running: &running };
    let mut probe = TcpStream::connect(&running.address).context("no connection")?;
    probe.set_nodelay(true).context("no option for the probe")?;
    probe.set_read_timeout(Some(SETTLE_MAX)).context("no timeout for the probe")?;
    echo(&mut probe)?;
    let descriptors = idle.descriptors()?;
    let warm_up: Result<Vec<_>, _> =
        (0..WARM_UP).map(|_| TcpStream::connect(&running.address)).collect();
    let warm_up = warm_up.context("no connection")?;
    idle.settle(descriptors + warm_up.len())?;
    drop(warm_up);
    idle.settle(descriptors)?;
    let before = idle.anonymous_bytes()?;
    let mut open = Vec::new();
    let mut samples = Vec::new();
    for count in counts() {
        let mut longest = Duration::ZERO;
        while open.len() < count as usize {
            if context.interrupt.is_set() {
                return Err(Interrupted.into());
            }
            let connected = TcpStream::connect(&running.address);
            open.push(connected.with_context(|| format!("no more than {}", open.len()))?);
            longest = longest.max(echo(&mut probe)?);
        }
        idle.settle(descriptors + open.len())?;
        let bytes = idle.anonymous_bytes()?.saturating_sub(before);
        samples.push(Sample::of([
            (Metric::Memory, to_f64(bytes)),
            (Metric::LongestPause, longest.as_secs_f64() * 1e6),
        ]));
    }
    Ok(samples)
}

/// Returns the time that one byte takes to come back.
fn echo(probe: &mut TcpStream) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    probe.write_all(b"e").context("the probe cannot send")?;
    probe.read_exact(&mut [0]).context("the probe has no answer")?;
    Ok(begun.elapsed())
}

/// A server whose connections are idle, seen from outside.
struct Idle<'a> {
    context: &'a Context,
    running: &'a Server,
}

impl Idle<'_> {
    fn descriptors(&self) -> anyhow::Result<usize> {
        let folder = format!("/proc/{}/fd", self.running.process.id());
        Ok(fs::read_dir(folder).context("the server died")?.count())
    }

    /// Waits until it has so many descriptors.
    fn settle(&self, descriptors: usize) -> anyhow::Result<()> {
        let deadline = self.context.deadline(SETTLE_MAX);
        while self.descriptors()? != descriptors {
            if Instant::now() >= deadline {
                bail!("it has {} descriptors, not {descriptors}", self.descriptors()?);
            }
            if self.context.interrupt.is_set() {
                return Err(Interrupted.into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Returns the memory that it has written to and that is no file's.
    fn anonymous_bytes(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.running.process.id());
        let text = fs::read_to_string(path).context("the kernel does not tell its memory")?;
        anonymous_bytes(&text).context("smaps_rollup has no Anonymous")
    }
}

fn anonymous_bytes(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Measures how long a table takes to grow at this number of connections.
fn growth(count: u32) -> Part {
    let bytes = count as usize * TABLE_BYTES;
    let of = |name: &str, time: fn(usize) -> Duration| {
        let rounds =
            (1..)
                .zip((0..FULL.rounds).map(|_| {
                    Sample::of([(Metric::LongestPause, time(bytes).as_secs_f64() * 1e6)])
                }));
        Series { rounds: rounds.collect(), ..Series::new(Contestant::new(name, Role::Ours)) }
    };
    let series = vec![
        of("moved by mremap", moved),
        of("copied", copied),
        of("another chunk", |bytes| filled(bytes / CHUNK_PART)),
    ];
    Part {
        group: Some(GROWTH.to_owned()),
        x: Some(count.into()),
        ..Part::new(&format!("{} connections, {GROWTH}", whole(count.into())), series)
    }
}

/// Measures the growth of a vector in place, or by a move of the allocator.
fn moved(bytes: usize) -> Duration {
    let mut table: Vec<u8> = Vec::with_capacity(bytes);
    table.resize(bytes, 1);
    let begun = Instant::now();
    table.reserve_exact(bytes);
    black_box(&table);
    begun.elapsed()
}

/// Measures the growth of a vector by a copy.
fn copied(bytes: usize) -> Duration {
    let table = black_box(vec![1_u8; bytes]);
    let begun = Instant::now();
    let mut other: Vec<u8> = Vec::with_capacity(2 * bytes);
    other.extend_from_slice(&table);
    drop(table);
    black_box(&other);
    begun.elapsed()
}

/// Measures the writing of a new piece of memory.
fn filled(bytes: usize) -> Duration {
    let begun = Instant::now();
    black_box(vec![1_u8; bytes]);
    begun.elapsed()
}

/// Returns the parts of one group.
fn of_group<'a>(parts: &'a [Part], group: &'static str) -> impl Iterator<Item = &'a Part> {
    parts.iter().filter(move |part| part.group.as_deref() == Some(group))
}

fn median(part: &Part, at: usize, metric: Metric) -> Option<f64> {
    Some(part.series.get(at)?.spread(metric)?.median)
}

/// Returns the line through the medians of the counts that the model is fitted on.
fn model(parts: &[Part], at: usize) -> Option<Line> {
    let fitted = of_group(parts, TITLE).filter(|part| part.x != Some(CHECKED.into()));
    Line::through(fitted.filter_map(|part| Some((part.x?, median(part, at, Metric::Memory)?))))
}

fn memory_table(parts: &[Part]) -> Table {
    let Some(first) = of_group(parts, TITLE).next() else { return Table::default() };
    let labels: Vec<_> = first.series.iter().map(|one| one.contestant.label()).collect();
    let header = |label: &String| {
        ["MiB", "bytes a connection", "longest pause µs"].map(|what| format!("{label}: {what}"))
    };
    let measured = of_group(parts, TITLE).map(|part| Row {
        label: part.title.clone(),
        role: Role::Ours,
        cells: (0..labels.len()).flat_map(|at| measured_cells(part, at)).collect(),
        remark: String::new(),
    });
    let modelled = [CHECKED, MODELLED].map(|count| Row {
        label: format!("{} by the model", whole(count.into())),
        role: Role::Ours,
        cells: (0..labels.len()).flat_map(|at| modelled_cells(parts, at, count)).collect(),
        remark: String::new(),
    });
    Table {
        title: TITLE.to_owned(),
        note: models(parts, &labels),
        columns: std::iter::once(String::new()).chain(labels.iter().flat_map(header)).collect(),
        rows: measured.chain(modelled).collect(),
        command: "cargo xtask bench memory".to_owned(),
    }
}

fn measured_cells(part: &Part, at: usize) -> [Cell; 3] {
    let Some(series) = part.series.get(at) else { return [(); 3].map(|()| Cell::text("–")) };
    let scaled = |factor: f64| {
        let values = series.by_round(Metric::Memory).into_values().map(|value| value * factor);
        Spread::of(values)
    };
    let count = part.x.unwrap_or(1.0);
    [
        Cell::spread(scaled(1.0 / MIB), number),
        Cell::spread(scaled(1.0 / count), number),
        Cell::spread(series.spread(Metric::LongestPause), number),
    ]
}

fn modelled_cells(parts: &[Part], at: usize, count: u32) -> [Cell; 3] {
    let Some(line) = model(parts, at) else { return [(); 3].map(|()| Cell::text("–")) };
    let bytes = line.at(count.into());
    let each = bytes / f64::from(count);
    [Cell::text(number(bytes / MIB)), Cell::text(number(each)), Cell::text("–")]
}

const MIB: f64 = 1024.0 * 1024.0;

/// Returns a sentence about each model.
fn models(parts: &[Part], labels: &[String]) -> String {
    let sentences = labels.iter().enumerate().filter_map(|(at, label)| {
        let line = model(parts, at)?;
        let checked = of_group(parts, TITLE).find(|part| part.x == Some(CHECKED.into()))?;
        let off = line.at(CHECKED.into()) / median(checked, at, Metric::Memory)? - 1.0;
        Some(format!(
            "{label}: {} KiB and {:.1} bytes a connection; at {} connections it is {:+.1} % off.",
            whole(line.start / 1024.0),
            line.slope,
            whole(CHECKED.into()),
            100.0 * off
        ))
    });
    sentences.collect::<Vec<_>>().join(" ")
}

fn growth_table(parts: &[Part]) -> Table {
    let Some(first) = of_group(parts, GROWTH).next() else { return Table::default() };
    let labels = first.series.iter().map(|one| format!("{}, µs", one.contestant.label()));
    let rows = of_group(parts, GROWTH).map(|part| Row {
        label: format!("to {} connections", whole(2.0 * part.x.unwrap_or(0.0))),
        role: Role::Ours,
        cells: part
            .series
            .iter()
            .map(|one| Cell::spread(one.spread(Metric::LongestPause), number))
            .collect(),
        remark: String::new(),
    });
    Table {
        title: GROWTH.to_owned(),
        note: format!(
            "A table of {TABLE_BYTES} bytes a connection grows to twice its length, or by a chunk of a \
             sixteenth, in a process that does nothing else."
        ),
        columns: std::iter::once(String::new()).chain(labels).collect(),
        rows: rows.collect(),
        command: "cargo xtask bench memory".to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory of a process is far below 2^53 bytes")]
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_read_in_bytes() {
        let text = "00400000-7fff [rollup]\nRss:  100 kB\nAnonymous:           12 kB\n";
        assert_eq!(anonymous_bytes(text), Some(12 * 1024));
        assert_eq!(anonymous_bytes("Rss: 100 kB\n"), None);
    }

    #[test]
    fn the_model_is_checked_against_a_count_that_it_was_not_fitted_on() {
        let contestants = [Contestant::new("level", Role::Ours)];
        let step = |count: u32| {
            let mut part = part(count, &contestants);
            let bytes = 4096.0 + 120.0 * f64::from(count);
            // The last one is twice of what the line says.
            let bytes = if count == CHECKED { 2.0 * bytes } else { bytes };
            part.series[0].rounds.insert(1, Sample::of([(Metric::Memory, bytes)]));
            part
        };
        let parts: Vec<_> = counts().map(step).collect();
        let said = models(&parts, &["level".to_owned()]);
        assert!(said.starts_with("level: 4 KiB and 120.0 bytes a connection"), "{said}");
        assert!(said.ends_with("-50.0 % off."), "{said}");
        let million = &modelled_cells(&parts, 0, MODELLED)[1];
        assert_eq!(million.main, "120");
    }
}
