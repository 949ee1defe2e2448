//! `select-poll-epoll`, `dispatch`, `wake` and `timers`: programs of their own, which measure in rounds
//! and print a line for each measurement.

mod cases;
mod figures;

use super::{Outcome, Part, about_rounds};
use crate::bench::Bench;
use crate::interrupt::Interrupted;
use crate::plan::Item;
use crate::process::Process;
use crate::report::{Case, Table};
use crate::rounds::Series;
use anyhow::bail;
use cases::{MicroCase, groups, parse};
use figures::figures;
use std::process::{Command, Stdio};
use std::time::Duration;

const DISPATCH: &str = "dispatch";

const ROUNDS: u32 = 15;
const ROUNDS_QUICK: u32 = 3;

/// What a suite is about.
struct About {
    title: &'static str,
    intro: &'static str,
    /// The reference's second measurement.
    again: &'static str,
    /// What the number that grows counts.
    x_label: &'static str,
    /// Whether it has a second thread, which then has the other core.
    is_threaded: bool,
    full_s: u64,
    quick_s: u64,
}

fn about(suite: &str) -> About {
    match suite {
        "select-poll-epoll" => About {
            title: "select, poll, epoll",
            intro: "Eventfds, of which some are ready. Timed is one round: the wait, finding those that \
                    are ready, and reading each of them. select and poll look at all of them every \
                    time, epoll at those that are ready. select has no more than 1 024. The floor is epoll \
                    with a level trigger.",
            again: "floor again",
            x_label: "descriptors",
            is_threaded: false,
            full_s: 55,
            quick_s: 7,
        },
        DISPATCH => About {
            title: "Handing on",
            intro: "A ring of socket pairs: when a byte arrives it is read and written to the next pair. \
                    Timed is one such step: its share of a wait, what the loop does to find whom to \
                    tell, one read and one write. No more can be active than there are pairs. What an edge \
                    trigger saves is the kernel's work, so each is compared with the floor that has the \
                    same trigger.",
            again: "floor again",
            x_label: "socket pairs",
            is_threaded: false,
            full_s: 55,
            quick_s: 10,
        },
        "timers" => About {
            title: "Timers",
            intro: "So many live timers with random deadlines within a minute, and one operation on many \
                    of them. Cancelled timers and those that have fired are put back outside the measured \
                    time. “put off” is to a later deadline, “reschedule” to any. The reference is the \
                    wheel of epoll-timers itself.",
            again: "epoll-timers again",
            x_label: "live timers",
            is_threaded: false,
            full_s: 80,
            quick_s: 4,
        },
        _ => About {
            title: "Waking",
            intro: "What it takes to wake a loop from another thread, and to be woken. The floor is a \
                    bare eventfd, edge-triggered and never read. “Pending” is a wake while one is on its \
                    way, “not pending” a wake of a loop that does not sleep and has seen the one before. \
                    “Wakes a \
                    second”: one thread wakes as fast as it can while another waits; how many of the \
                    wakes are one wake-up is left to the contestant. “Round trip”: two threads wake one \
                    another in turn, and wait; polling's has two readings of the clock in it, without which its \
                    waits do not tell whether they were woken.",
            again: "floor again",
            x_label: "",
            is_threaded: true,
            full_s: 15,
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
    section.intro.push(about_rounds(about.again));
    let mut cases = Vec::new();
    let ended = measure(bench, suite, &item, &mut cases);
    for group in groups(cases) {
        section.figures.extend(figures(about.x_label, &group));
        let columns: Vec<_> = group.cases.iter().map(|case| case.as_column(&group.title)).collect();
        let grids = match suite {
            DISPATCH => by_trigger(&group.title, &columns),
            _ => vec![(group.title.clone(), columns)],
        };
        section.tables.extend(grids.into_iter().map(|(title, cases)| Table {
            note: note(&cases, rounds(bench.is_quick)),
            command: command_line(suite, bench.is_quick),
            ..Table::grid(&title, &cases)
        }));
        parts.extend(group.cases.into_iter().map(|case| Part {
            unit: Some(case.unit),
            x: Some(case.x),
            ..Part::new(suite, &case.name, case.series)
        }));
    }
    match ended {
        Ok(remarks) => section.intro.extend(remarks),
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => failed(suite, outcome, &format!("{error:#}")),
    }
    Ok(())
}

/// How many rounds each contestant had in each of these cases, at least.
fn note(cases: &[Case], rounds: u32) -> String {
    let series = cases.iter().flat_map(|case| &case.series);
    match series.map(|one| one.rounds.len()).min().unwrap_or(0) {
        fewest if fewest < rounds as usize => format!("{fewest} of {rounds} rounds."),
        _ => format!("{rounds} rounds."),
    }
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
            Case { series: series.cloned().collect(), ..case.clone() }
        });
        cases.filter(|case| !case.series.is_empty()).collect()
    };
    let tables = [("level trigger", apart(false)), ("edge trigger", apart(true))];
    let tables = tables.into_iter().filter(|(_, cases)| !cases.is_empty());
    tables.map(|(trigger, cases)| (format!("{title}, {trigger}"), cases)).collect()
}

/// The program itself is what failed.
fn failed(suite: &'static str, outcome: &mut Outcome, message: &str) {
    let extent = if outcome.parts.is_empty() { "Not measured" } else { "Not measured to the end" };
    outcome.section.intro.push(format!("{extent}: {message}."));
    let mut series = Series::new("the program");
    series.trouble = Some(message.to_owned());
    outcome.parts.push(Part::new(suite, suite, vec![series]));
}

/// Adds what was measured to `cases`, whether or not the program comes to its end, and gives what it has
/// to say about that.
fn measure(
    bench: &Bench,
    suite: &str,
    item: &Item,
    cases: &mut Vec<MicroCase>,
) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new(bench.paths.bench_programs.join(suite));
    command.args(["--rounds", &rounds(bench.is_quick).to_string()]);
    command.args(bench.is_quick.then_some("--quick"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let core = if about(suite).is_threaded { None } else { bench.cores.server() };
    let process = Process::start(command, core)?;
    let deadline = bench.deadline(item.limit());
    let mut lines = Vec::new();
    let ended = process.collect(deadline, &bench.interrupt, |stdout| {
        let end = stdout.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        lines.extend_from_slice(&stdout[lines.len()..end]);
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        bench.progress.at(item, &format!("{count} measurements"));
    });
    let parsed = parse(&String::from_utf8_lossy(&lines), cases);
    let output = ended?;
    if !output.status.success() {
        bail!("{}", output.complaint());
    }
    parsed?;
    if cases.is_empty() {
        bail!("it printed no measurement: {}", output.stderr.trim());
    }
    Ok(output.stderr.lines().map(str::to_owned).collect())
}

/// A line as the programs print it.
#[cfg(test)]
fn line(case: &str, x: u32, contestant: &str, round: u32, value: f64) -> String {
    serde_json::json!({
        "suite": "s", "case": case, "x": x, "contestant": contestant, "round": round,
        "unit": "ns", "value": value,
    })
    .to_string()
        + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trigger_is_compared_with_its_own_floor() {
        let names = ["floor", "epoll-kit", "floor, edge", "mio", "epoll-kit, edge"];
        let text = names.map(|name| line("10 pairs", 10, name, 1, 1.0)).concat();
        let case = cases::parsed(&text)[0].as_column("N pairs");
        let tables = by_trigger("N pairs", &[case]);
        let of = |at: usize| {
            let (title, cases) = &tables[at];
            let names: Vec<_> = cases[0].series.iter().map(|one| &one.contestant[..]).collect();
            (title.as_str(), names)
        };
        assert_eq!(of(0), ("N pairs, level trigger", vec!["floor", "epoll-kit"]));
        assert_eq!(of(1), ("N pairs, edge trigger", vec!["floor, edge", "mio", "epoll-kit, edge"]));
    }
}
