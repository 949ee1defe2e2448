//! `select-poll-epoll`, `dispatch` and `wake`: programs of their own, which measure in rounds and
//! print a line for each measurement.

use super::{Outcome, Part, about_rounds};
use crate::bench::Bench;
use crate::plan::Item;
use crate::process::{Output, Process};
use crate::report::plot::{Bar, Bars, Line, Lines, Scale};
use crate::report::{Case, Figure, Ratios, Table, VALUE, number, whole};
use crate::rounds::{Sample, Series, Trouble};
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

const DISPATCH: &str = "dispatch";

const ROUNDS: u32 = 15;
const ROUNDS_QUICK: u32 = 3;
/// Cases with fewer different numbers than this are bars instead of lines.
const LINE_MIN: usize = 2;

/// What a suite is about.
struct About {
    title: &'static str,
    intro: &'static str,
    /// What the number that grows counts.
    x_label: &'static str,
    full_s: u64,
    quick_s: u64,
}

fn about(suite: &str) -> About {
    match suite {
        "select-poll-epoll" => About {
            title: "select, poll, epoll",
            intro: "Eventfds, of which some are ready. Timed is one round: the wait, finding those that \
                    are ready, and reading each of them. select and poll look at all of them every \
                    time, epoll at those that are ready. select has no more than 1 024.",
            x_label: "descriptors",
            full_s: 70,
            quick_s: 7,
        },
        DISPATCH => About {
            title: "Handing on",
            intro: "A ring of socket pairs: when a byte arrives it is read and written to the next pair. \
                    Timed is one such step: its share of a wait, what the loop does to find whom to \
                    tell, one read and one write. What an edge trigger saves is the kernel's work, so each \
                    is compared with the floor that has the same trigger.",
            x_label: "socket pairs",
            full_s: 80,
            quick_s: 10,
        },
        _ => About {
            title: "Waking",
            intro: "What it takes to wake a loop from another thread, and to be woken. The floor is a \
                    bare eventfd, edge-triggered and never read. “Pending” is a wake while one is on its \
                    way, “not pending” a wake of a loop that does not sleep and has seen the one before. \
                    “Wakes a \
                    second”: one thread wakes as fast as it can while another waits; how many of the \
                    wakes are one wake-up is left to the contestant. “Round trip”: two threads wake one \
                    another in turn, and wait.",
            x_label: "",
            full_s: 25,
            quick_s: 2,
        },
    }
}

fn rounds(is_quick: bool) -> u32 {
    if is_quick { ROUNDS_QUICK } else { ROUNDS }
}

pub(crate) fn plan(suite: &'static str, is_quick: bool) -> Item {
    let about = about(suite);
    Item {
        suite,
        title: format!("{} rounds of its own", rounds(is_quick)),
        contestants: 0,
        effort: None,
        estimate: Duration::from_secs(if is_quick { about.quick_s } else { about.full_s }),
    }
}

pub(crate) fn run(bench: &Bench, suite: &'static str, outcome: &mut Outcome) -> anyhow::Result<()> {
    let item = plan(suite, bench.is_quick);
    bench.progress.begin(&item);
    let about = about(suite);
    let Outcome { section, parts } = outcome;
    section.title = about.title.to_owned();
    section.intro.push(about.intro.to_owned());
    section.intro.push(about_rounds("floor again"));
    let cases = match measure(bench, suite, &item) {
        Ok(cases) => cases,
        Err(error) if error.is::<crate::interrupt::Interrupted>() => return Err(error),
        Err(error) => {
            failed(suite, outcome, &format!("{error:#}"));
            return Ok(());
        }
    };
    for group in groups(cases) {
        section.figures.extend(figures(&about, &group));
        let columns: Vec<_> = group.cases.iter().map(|case| case.as_column(&group.title)).collect();
        let grids = match suite {
            DISPATCH => by_trigger(&group.title, &columns),
            _ => vec![(group.title.clone(), columns)],
        };
        section.tables.extend(grids.into_iter().map(|(title, cases)| Table {
            note: format!("{} rounds.", rounds(bench.is_quick)),
            command: command_line(suite, bench.is_quick),
            ..Table::grid(&title, &cases, Ratios::Paired)
        }));
        let named = group.cases.into_iter().map(|case| (case.name, case.series));
        parts.extend(named.map(|(title, series)| Part { suite, title, series }));
    }
    Ok(())
}

/// What measures it again, from the root of the repository.
fn command_line(suite: &str, is_quick: bool) -> String {
    let quick = if is_quick { " --quick" } else { "" };
    format!("bench/target/release/{suite} --rounds {}{quick}", rounds(is_quick))
}

/// The same cases apart by trigger, each with the floor that has it. mio has edges alone.
fn by_trigger(title: &str, cases: &[Case]) -> Vec<(String, Vec<Case>)> {
    let is_edge = |one: &&Series| {
        let label = one.contestant.trim_end_matches(" again");
        label == "mio" || label.ends_with(", edge")
    };
    let apart = |edge: bool| -> Vec<Case> {
        let cases = cases.iter().map(|case| {
            let series = case.series.iter().filter(|one| is_edge(one) == edge);
            let mut series: Vec<_> = series.cloned().collect();
            series.sort_by_key(|one| place(&one.contestant));
            Case { series, ..case.clone() }
        });
        cases.filter(|case| !case.series.is_empty()).collect()
    };
    let tables = [("level trigger", apart(false)), ("edge trigger", apart(true))];
    let tables = tables.into_iter().filter(|(_, cases)| !cases.is_empty());
    tables.map(|(trigger, cases)| (format!("{title}, {trigger}"), cases)).collect()
}

/// References come first.
fn place(contestant: &str) -> usize {
    let references = ["floor", "floor again", "floor, edge", "floor, edge again"];
    references.iter().position(|name| *name == contestant).unwrap_or(references.len())
}

/// The program itself is what failed.
fn failed(suite: &'static str, outcome: &mut Outcome, message: &str) {
    outcome.section.intro.push(format!("Not measured: {message}."));
    let mut series = Series::new("the program");
    series.trouble = Some(Trouble::Failed(message.to_owned()));
    outcome.parts.push(Part { suite, title: suite.to_owned(), series: vec![series] });
}

fn measure(bench: &Bench, suite: &str, item: &Item) -> anyhow::Result<Vec<MicroCase>> {
    let mut command = Command::new(bench.paths.bench_programs.join(suite));
    command.args(["--rounds", &rounds(bench.is_quick).to_string()]);
    command.args(bench.is_quick.then_some("--quick"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // Programs with a second thread have the other core for it.
    let process = Process::start(command, None)?;
    let deadline = bench.deadline(item.limit());
    let Output { status, stdout, stderr } =
        process.collect(deadline, &bench.interrupt, |stdout| {
            let lines = stdout.iter().filter(|byte| **byte == b'\n').count();
            bench.progress.at(item, &format!("{lines} measurements"));
        })?;
    if !status.success() {
        bail!("{}", Output { status, stdout, stderr }.complaint());
    }
    let cases = parse(&stdout)?;
    if cases.is_empty() {
        bail!("it printed no measurement");
    }
    Ok(cases)
}

/// All rounds of one case.
#[derive(Debug)]
struct MicroCase {
    name: String,
    x: f64,
    unit: String,
    /// The floor first, if there is one.
    series: Vec<Series>,
}

impl MicroCase {
    /// Its name without what the title of the group says already.
    fn as_column(&self, group: &str) -> Case {
        let is_member = generic(&self.name, self.x).is_some_and(|name| name == group);
        let header = if is_member { whole(self.x) } else { self.name.clone() };
        Case { header, unit: self.unit.clone(), series: self.series.clone() }
    }
}

fn parse(stdout: &str) -> anyhow::Result<Vec<MicroCase>> {
    let mut cases: Vec<MicroCase> = Vec::new();
    for line in stdout.lines().filter(|line| !line.trim().is_empty()) {
        let json: Value =
            serde_json::from_str(line).with_context(|| format!("not a measurement: {line:?}"))?;
        let text =
            |key: &str| json[key].as_str().with_context(|| format!("no text {key:?} in {line:?}"));
        let value = |key: &str| {
            json[key].as_f64().with_context(|| format!("no number {key:?} in {line:?}"))
        };
        let (name, contestant) = (text("case")?, text("contestant")?);
        let at = cases.iter().position(|case| case.name == name).unwrap_or(cases.len());
        if at == cases.len() {
            let (name, unit) = (name.to_owned(), unit(text("unit")?));
            cases.push(MicroCase { name, x: value("x")?, unit, series: Vec::new() });
        }
        let series = &mut cases[at].series;
        let place = series.iter().position(|one| one.contestant == contestant);
        let place = place.unwrap_or(series.len());
        if place == series.len() {
            series.push(Series::new(contestant));
        }
        let round = json["round"].as_u64().and_then(|round| u32::try_from(round).ok());
        let round = round.with_context(|| format!("no round in {line:?}"))?;
        let values = BTreeMap::from([(VALUE.to_owned(), value("value")?)]);
        series[place].rounds.insert(round, Sample { values, curve: Vec::new() });
    }
    for case in &mut cases {
        case.series.sort_by_key(|one| match one.contestant.as_str() {
            "floor" => 0,
            "floor again" => 1,
            _ => 2,
        });
    }
    Ok(cases)
}

/// As people write it.
fn unit(name: &str) -> String {
    if name == "per_s" { "a second" } else { name }.to_owned()
}

/// Cases that differ in one number.
struct Group {
    title: String,
    cases: Vec<MicroCase>,
}

/// Those that form a line first, in the order in which they came; all others together.
fn groups(cases: Vec<MicroCase>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for case in cases {
        let title = generic(&case.name, case.x).unwrap_or_else(|| case.name.clone());
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => group.cases.push(case),
            None => groups.push(Group { title, cases: vec![case] }),
        }
    }
    let (mut lines, others): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|group| group.cases.len() >= LINE_MIN);
    for group in &mut lines {
        group.cases.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    if !others.is_empty() {
        let title = if lines.is_empty() { "All cases" } else { "Other cases" }.to_owned();
        lines.push(Group {
            title,
            cases: others.into_iter().flat_map(|group| group.cases).collect(),
        });
    }
    lines
}

/// The name of a case with N in the place of its number.
fn generic(name: &str, x: f64) -> Option<String> {
    let grouped = whole(x);
    let plain = grouped.replace(' ', "");
    [grouped, plain].into_iter().find_map(|shown| {
        let (at, _) = name.match_indices(&shown).find(|(at, shown)| {
            let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            let (before, after) = (&name[..*at], &name[at + shown.len()..]);
            !is_digit(before.chars().next_back()) && !is_digit(after.chars().next())
        })?;
        Some(format!("{}N{}", &name[..at], &name[at + shown.len()..]))
    })
}

fn figures(about: &About, group: &Group) -> Vec<Figure> {
    if group.cases.len() >= LINE_MIN && group.title.contains('N') {
        return vec![growth(about, group)];
    }
    group.cases.iter().map(bars).collect()
}

fn growth(about: &About, group: &Group) -> Figure {
    let mut lines: Vec<Line> = Vec::new();
    let unit = &group.cases[0].unit;
    for case in &group.cases {
        for one in case.series.iter().filter(|one| !one.contestant.ends_with(" again")) {
            let Some(spread) = one.spread(VALUE) else { continue };
            let point = (case.x, spread.median);
            match lines.iter_mut().find(|line| line.label == one.contestant) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { label: one.contestant.clone(), points: vec![point] }),
            }
        }
    }
    let plot = Lines {
        title: &group.title,
        lines: &lines,
        x: Scale::Logarithmic,
        x_label: about.x_label,
        y_label: unit,
    };
    Figure {
        title: group.title.clone(),
        note: "both axes are logarithmic".to_owned(),
        svg: plot.svg(),
    }
}

fn bars(case: &MicroCase) -> Figure {
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
        title: &case.name,
        bars: &bars,
        reference: None,
        noise: None,
        show: number,
        tint: None,
    };
    let better = if case.unit == "a second" { "more" } else { "less" };
    let note = format!("{}, {better} is better", case.unit);
    Figure { title: case.name.clone(), note, svg: plot.svg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(case: &str, x: u32, contestant: &str, round: u32, value: f64) -> String {
        serde_json::json!({
            "suite": "s", "case": case, "x": x, "contestant": contestant, "round": round,
            "unit": "ns", "value": value,
        })
        .to_string()
            + "\n"
    }

    #[test]
    fn lines_become_cases_with_the_floor_first() {
        let text = line("a", 1, "mio", 1, 5.0)
            + &line("a", 1, "floor", 1, 4.0)
            + &line("a", 1, "mio", 2, 7.0);
        let cases = parse(&text).unwrap();
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].series[0].contestant, "floor");
        assert_eq!(cases[0].series[1].spread(VALUE).unwrap().median, 6.0);
    }

    #[test]
    fn what_is_no_measurement_is_named() {
        assert!(parse("hello").unwrap_err().to_string().contains("hello"));
        assert!(parse("{\"case\":\"a\"}").unwrap_err().to_string().contains("contestant"));
    }

    #[test]
    fn cases_that_differ_in_their_number_are_one_group() {
        let text: String = [10, 100, 1000]
            .map(|n| line(&format!("{n} pairs, 10 active"), n, "floor", 1, 1.0))
            .concat()
            + &line("one wake", 1, "floor", 1, 1.0);
        let groups = groups(parse(&text).unwrap());
        let found: Vec<_> = groups.iter().map(|g| (g.title.as_str(), g.cases.len())).collect();
        assert_eq!(found, [("N pairs, 10 active", 3), ("Other cases", 1)]);
    }

    #[test]
    fn each_trigger_is_compared_with_its_own_floor() {
        let names = ["floor", "mio", "epoll-kit, edge", "epoll-kit", "floor, edge"];
        let text = names.map(|name| line("10 pairs", 10, name, 1, 1.0)).concat();
        let case = parse(&text).unwrap()[0].as_column("N pairs");
        let tables = by_trigger("N pairs", &[case]);
        let of = |at: usize| {
            let (title, cases) = &tables[at];
            let names: Vec<_> = cases[0].series.iter().map(|one| &one.contestant[..]).collect();
            (title.as_str(), names)
        };
        assert_eq!(of(0), ("N pairs, level trigger", vec!["floor", "epoll-kit"]));
        assert_eq!(of(1), ("N pairs, edge trigger", vec!["floor, edge", "mio", "epoll-kit, edge"]));
    }

    #[test]
    fn a_number_is_found_as_a_whole() {
        assert_eq!(generic("100 of 1000", 1000.0).as_deref(), Some("100 of N"));
        assert_eq!(generic("10 000 descriptors", 10_000.0).as_deref(), Some("N descriptors"));
        assert_eq!(generic("wake", 1.0), None);
    }
}
