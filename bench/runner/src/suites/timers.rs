//! `timers`: the benchmark of the timer wheel, which criterion measures; its samples are read from
//! the files that it leaves.

use super::{Outcome, Part};
use crate::bench::Bench;
use crate::interrupt::Interrupted;
use crate::plan::Item;
use crate::process::Process;
use crate::report::plot::{Bar, Bars, Line, Lines, Scale};
use crate::report::{Case, Figure, Ratios, Table, VALUE, number, whole};
use crate::rounds::{Sample, Series, Trouble};
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PACKAGE: &str = "epoll-kit-bench-timers";

/// The reference, and the name of its second measurement.
const OURS: &str = "epoll-timers";
const OURS_AGAIN: &str = "epoll-timers again";

/// The order of the tables.
const OPERATIONS: [&str; 5] = ["insert", "cancel", "reschedule", "put off", "expire"];

pub(crate) fn plan(is_quick: bool) -> Item {
    let (title, seconds) =
        if is_quick { ("1 000 timers", 25) } else { ("up to 1 000 000 timers", 220) };
    Item {
        suite: "timers",
        title: title.to_owned(),
        contestants: 0,
        effort: None,
        estimate: Duration::from_secs(seconds),
    }
}

pub(crate) fn run(bench: &Bench, outcome: &mut Outcome) -> anyhow::Result<()> {
    let item = plan(bench.is_quick);
    bench.progress.begin(&item);
    let Outcome { section, parts } = outcome;
    section.title = "Timers".to_owned();
    section.intro = vec![format!(
        "Nanoseconds for an operation with so many live timers. Criterion measures one contestant after \
         the other, so a ratio is one of medians, and the quartiles are those of its samples. The row \
         “{OURS_AGAIN}” is a run of its own: how far its ratios are from 1 is noise."
    )];
    let cells = match measure(bench, &item) {
        Ok(cells) => cells,
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => {
            failed(outcome, &format!("{error:#}"));
            return Ok(());
        }
    };
    for operation in OPERATIONS {
        let cases = cases(operation, &cells);
        section.figures.extend(figure(operation, &cases));
        section.tables.push(Table {
            command: command_line(operation, bench.is_quick),
            ..Table::grid(operation, &cases, Ratios::OfMedians)
        });
        parts.extend(cases.into_iter().map(|case| Part {
            suite: "timers",
            title: format!("{operation}, {}", case.header),
            series: case.series,
        }));
    }
    Ok(())
}

fn failed(outcome: &mut Outcome, message: &str) {
    outcome.section.intro.push(format!("Not measured: {message}."));
    let mut series = Series::new("the benchmark");
    series.trouble = Some(Trouble::Failed(message.to_owned()));
    let part = Part { suite: "timers", title: "timers".to_owned(), series: vec![series] };
    outcome.parts.push(part);
}

/// What measures it again, from the root of the repository.
fn command_line(operation: &str, is_quick: bool) -> String {
    let (size, quick) = if is_quick { ("1000/", " --quick") } else { ("", "") };
    let bench = format!("cargo bench --manifest-path bench/Cargo.toml -p {PACKAGE}");
    format!("{bench} -- '{operation}/{size}'{quick}")
}

/// What criterion has about one contestant in one case.
#[derive(Clone, Debug, PartialEq)]
struct Cell {
    operation: String,
    size: u32,
    contestant: String,
    /// Nanoseconds for an operation, by sample.
    samples: Vec<f64>,
}

/// Ours is measured a second time, before the others: the second run writes over the first.
fn measure(bench: &Bench, item: &Item) -> anyhow::Result<Vec<Cell>> {
    let folder = bench.paths.out.join("criterion");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to empty criterion's folder")?;
    }
    let sizes = if bench.is_quick { "/1000/" } else { "/" };
    let deadline = bench.deadline(item.limit());
    let mut cells = Vec::new();
    for filter in [format!("{sizes}.*{OURS}").replace("//", "/"), sizes.to_owned()] {
        run_criterion(bench, item, &filter, &folder, deadline)?;
        let mut measured = read(&folder)?;
        if cells.is_empty() {
            for cell in &mut measured {
                OURS_AGAIN.clone_into(&mut cell.contestant);
            }
        }
        cells.extend(measured);
    }
    if cells.is_empty() {
        bail!("criterion left no samples");
    }
    Ok(cells)
}

fn run_criterion(
    bench: &Bench,
    item: &Item,
    filter: &str,
    folder: &Path,
    deadline: Instant,
) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["bench", "--offline", "--package", PACKAGE, "--manifest-path"]);
    cargo.arg(bench.paths.root.join("bench/Cargo.toml")).args(["--", filter]);
    cargo.args(bench.is_quick.then_some("--quick")).env("CRITERION_HOME", folder);
    cargo.stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = Process::start(cargo, bench.cores.server())?;
    let output = process.collect(deadline, &bench.interrupt, |stdout| {
        let done = String::from_utf8_lossy(stdout).matches("time:").count();
        bench.progress.at(item, &format!("{done} measurements"));
    })?;
    if !output.status.success() {
        bail!("{}", output.complaint());
    }
    Ok(())
}

/// All samples below this folder.
fn read(folder: &Path) -> anyhow::Result<Vec<Cell>> {
    let mut cells = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).context("failed to read criterion's folder")?;
        let paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        if folder.ends_with("new") && paths.iter().any(|path| path.ends_with("sample.json")) {
            cells.push(cell(&json(&folder, "benchmark.json")?, &json(&folder, "sample.json")?)?);
        }
        folders.extend(paths.into_iter().filter(|path| path.is_dir()));
    }
    Ok(cells)
}

fn json(folder: &Path, name: &str) -> anyhow::Result<Value> {
    let path = folder.join(name);
    let text = fs::read_to_string(&path);
    let json = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    json.with_context(|| format!("{} is no JSON", path.display()))
}

fn cell(benchmark: &Value, sample: &Value) -> anyhow::Result<Cell> {
    let text = |key: &str| {
        let text = benchmark[key].as_str();
        text.map(str::to_owned).with_context(|| format!("criterion's file has no {key:?}"))
    };
    let numbers = |key: &str| {
        let list = sample[key].as_array().into_iter().flatten();
        list.filter_map(Value::as_f64).collect::<Vec<_>>()
    };
    let samples = numbers("times").into_iter().zip(numbers("iters"));
    Ok(Cell {
        operation: text("group_id")?,
        size: text("function_id")?.parse().context("criterion's file has no size")?,
        contestant: text("value_str")?,
        samples: samples.map(|(time, count)| time / count).collect(),
    })
}

/// One operation at every size, ours first and its second measurement next.
fn cases(operation: &str, cells: &[Cell]) -> Vec<Case> {
    let mut by_size: BTreeMap<u32, Vec<Series>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.operation == operation) {
        let samples = cell.samples.iter().map(|ns| Sample {
            values: BTreeMap::from([(VALUE.to_owned(), *ns)]),
            curve: Vec::new(),
        });
        let mut series = Series::new(&cell.contestant);
        series.rounds = (1..).zip(samples).collect();
        by_size.entry(cell.size).or_default().push(series);
    }
    let order = |name: &str| (name != OURS, name != OURS_AGAIN, name.to_owned());
    let cases = by_size.into_iter().map(|(size, mut series)| {
        series.sort_by_key(|one| order(&one.contestant));
        Case { header: whole(f64::from(size)), unit: "ns".to_owned(), series }
    });
    cases.collect()
}

fn figure(operation: &str, cases: &[Case]) -> Option<Figure> {
    match cases {
        [] => None,
        [case] => Some(bars(operation, case)),
        cases => Some(growth(operation, cases)),
    }
}

fn bars(operation: &str, case: &Case) -> Figure {
    let bars: Vec<_> = case
        .series
        .iter()
        .map(|one| Bar {
            label: one.contestant.clone(),
            value: one.spread(VALUE),
            remark: String::new(),
        })
        .collect();
    let plot = Bars {
        title: operation,
        bars: &bars,
        reference: None,
        noise: None,
        show: number,
        tint: None,
    };
    let note = format!("ns with {} live timers, less is better", case.header);
    Figure { title: operation.to_owned(), note, svg: plot.svg() }
}

fn growth(operation: &str, cases: &[Case]) -> Figure {
    let mut lines: Vec<Line> = Vec::new();
    for case in cases {
        let size: f64 = case.header.replace(' ', "").parse().unwrap_or(f64::NAN);
        for one in case.series.iter().filter(|one| one.contestant != OURS_AGAIN) {
            let Some(spread) = one.spread(VALUE) else { continue };
            let point = (size, spread.median);
            match lines.iter_mut().find(|line| line.label == one.contestant) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { label: one.contestant.clone(), points: vec![point] }),
            }
        }
    }
    let plot = Lines {
        title: operation,
        lines: &lines,
        x: Scale::Logarithmic,
        x_label: "live timers",
        y_label: "ns",
    };
    let note = "less is better; both axes are logarithmic".to_owned();
    Figure { title: operation.to_owned(), note, svg: plot.svg() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn any_cell(contestant: &str, size: &str) -> Cell {
        cell(
            &json!({ "group_id": "insert", "function_id": size, "value_str": contestant }),
            &json!({ "iters": [10.0, 20.0], "times": [100.0, 400.0] }),
        )
        .unwrap()
    }

    #[test]
    fn samples_are_times_for_one_operation() {
        let cell = any_cell("heap", "1000");
        assert_eq!((cell.size, cell.samples), (1000, vec![10.0, 20.0]));
    }

    #[test]
    fn ours_comes_first_in_every_case() {
        let cells = [
            any_cell("heap", "100"),
            any_cell(OURS_AGAIN, "100"),
            any_cell(OURS, "100"),
            any_cell(OURS, "1000"),
        ];
        let cases = cases("insert", &cells);
        let names: Vec<_> = cases[0].series.iter().map(|one| &one.contestant[..]).collect();
        assert_eq!(names, [OURS, OURS_AGAIN, "heap"]);
        assert_eq!(cases[1].header, "1 000");
        assert!(figure("insert", &cases).is_some());
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let error = cell(&json!({}), &json!({})).unwrap_err().to_string();
        assert!(error.contains("group_id"), "{error}");
    }
}
