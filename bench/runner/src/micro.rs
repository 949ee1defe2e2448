//! Suites that are programs of their own, which measure in rounds and print a line for each measurement.

mod cases;
mod figures;

use crate::conditions::Conditions;
use crate::context::Context;
use crate::interrupt::Interrupted;
use crate::notes::about_rounds;
use crate::paths::Paths;
use crate::plan::PlanEntry;
use crate::process::Process;
use crate::report::{Case, Section, Table};
use crate::results::{Contestant, Part, Results, Role, Series};
use crate::suite::{Programs, Suite};
use anyhow::bail;
use cases::{groups, header_in, metric_of, parse};
use figures::{Look, figures};
use std::process::{Command, Stdio};
use std::time::Duration;

const ROUNDS: u32 = 15;
const ROUNDS_QUICK: u32 = 3;

/// A suite that is a program of the same name.
pub(crate) struct Micro {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    /// The label of the number that grows from case to case.
    pub(crate) x_label: &'static str,
    /// `true` if it has a second thread, which then has the other core.
    pub(crate) is_threaded: bool,
    pub(crate) full_s: u64,
    pub(crate) quick_s: u64,
    /// Titles of the plots that are published, with the names of their files.
    pub(crate) published: &'static [(&'static str, &'static str)],
}

impl Suite for Micro {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn programs(&self) -> Programs {
        Programs::Micro
    }

    fn plan(&self, _: &Paths, is_quick: bool) -> Vec<PlanEntry> {
        vec![self.entry(is_quick)]
    }

    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()> {
        match self.run(context, &mut results.parts) {
            Ok(remarks) => results.notes.extend(remarks),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => self.fail(results, &format!("{error:#}")),
        }
        Ok(())
    }

    fn report(&self, results: &Results, conditions: &Conditions, section: &mut Section) {
        section.intro = vec![self.intro.to_owned(), about_rounds(results.again_label().as_deref())];
        let look = Look { x_label: self.x_label, published: self.published };
        for group in groups(&results.parts) {
            section.figures.extend(figures(look, &group));
            let tables =
                by_set(&group.title, &group.parts).into_iter().map(|(title, cases)| Table {
                    note: note(&cases, rounds(conditions.is_quick)),
                    command: self.command_line(conditions.is_quick),
                    ..Table::grid(&title, &cases)
                });
            section.tables.extend(tables);
        }
    }
}

impl Micro {
    fn entry(&self, is_quick: bool) -> PlanEntry {
        PlanEntry {
            suite: self.name,
            title: format!("{} rounds of its own", rounds(is_quick)),
            contestants: 0,
            budget: None,
            estimate: Duration::from_secs(if is_quick { self.quick_s } else { self.full_s }),
        }
    }

    /// Adds what was measured to `parts`, whether or not the program comes to its end, and returns what
    /// it has to say about that.
    fn run(&self, context: &Context, parts: &mut Vec<Part>) -> anyhow::Result<Vec<String>> {
        let entry = self.entry(context.is_quick);
        context.progress.begin(&entry);
        let mut command = Command::new(context.paths.bench_programs.join(self.name));
        command.args(["--rounds", &rounds(context.is_quick).to_string()]);
        command.args(context.is_quick.then_some("--quick"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let core = if self.is_threaded { None } else { context.cores.server() };
        let process = Process::start(command, core)?;
        let deadline = context.deadline(entry.limit());
        let mut lines = Vec::new();
        let ended = process.collect(deadline, &context.interrupt, |stdout| {
            let end = stdout.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            lines.extend_from_slice(&stdout[lines.len()..end]);
            let count = lines.iter().filter(|byte| **byte == b'\n').count();
            context.progress.at(&entry, &format!("{count} measurements"));
        });
        let parsed = parse(&String::from_utf8_lossy(&lines), parts);
        let output = ended?;
        if !output.status.success() {
            bail!("{}", output.complaint());
        }
        parsed?;
        if parts.is_empty() {
            bail!("it printed no measurement: {}", output.stderr.trim());
        }
        Ok(output.stderr.lines().map(str::to_owned).collect())
    }

    /// Notes that the program itself failed.
    fn fail(&self, results: &mut Results, message: &str) {
        let extent =
            if results.parts.is_empty() { "Not measured" } else { "Not measured to the end" };
        results.notes.push(format!("{extent}: {message}."));
        let program = Contestant::new("the program", Role::Ours);
        let failed = Series { error: Some(message.to_owned()), ..Series::new(program) };
        results.parts.push(Part::new(self.name, vec![failed]));
    }

    /// Returns the command that measures it again, from the root of the repository.
    fn command_line(&self, is_quick: bool) -> String {
        let quick = if is_quick { " --quick" } else { "" };
        format!("bench/target/release/{} --rounds {}{quick}", self.name, rounds(is_quick))
    }
}

fn rounds(is_quick: bool) -> u32 {
    if is_quick { ROUNDS_QUICK } else { ROUNDS }
}

/// Returns a note with the smallest number of rounds that a contestant has in these cases.
fn note(cases: &[Case], rounds: u32) -> String {
    let series = cases.iter().flat_map(|case| &case.series);
    match series.map(|one| one.rounds.len()).min().unwrap_or(0) {
        fewest if fewest < rounds as usize => format!("{fewest} of {rounds} rounds."),
        _ => format!("{rounds} rounds."),
    }
}

/// Returns the columns of a group, apart for each set of contestants that has a reference of its own.
fn by_set(title: &str, parts: &[&Part]) -> Vec<(String, Vec<Case>)> {
    let mut sets: Vec<Option<&str>> = Vec::new();
    for one in parts.iter().flat_map(|part| &part.series) {
        let set = one.contestant.set.as_deref();
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    let cases = |set: Option<&str>| -> Vec<Case> {
        let case = |part: &&Part| {
            let of_set = part.series.iter().filter(|one| one.contestant.set.as_deref() == set);
            let series: Vec<_> = of_set.cloned().collect();
            let metric = metric_of(part)?;
            (!series.is_empty()).then(|| Case { header: header_in(part, title), metric, series })
        };
        parts.iter().filter_map(case).collect()
    };
    let name =
        |set: Option<&str>| set.map_or_else(|| title.to_owned(), |set| format!("{title}, {set}"));
    sets.into_iter().map(|set| (name(set), cases(set))).collect()
}

#[cfg(test)]
mod tests {
    use super::cases::{line, parsed};
    use super::*;

    #[test]
    fn each_trigger_is_compared_with_its_own_floor() {
        let names = ["floor", "epoll-kit", "floor, edge", "mio", "epoll-kit, edge"];
        let mut parts = parsed(&names.map(|name| line("10 pairs", 10, name, 1, 1.0)).concat());
        for (one, set) in parts[0].series.iter_mut().zip(["level", "level", "edge", "edge", "edge"])
        {
            one.contestant.set = Some(set.to_owned());
        }
        let tables = by_set("N pairs", &parts.iter().collect::<Vec<_>>());
        let of = |at: usize| {
            let (title, cases) = &tables[at];
            let names: Vec<_> =
                cases[0].series.iter().map(|one| &one.contestant.name[..]).collect();
            (title.as_str(), names)
        };
        assert_eq!(of(0), ("N pairs, level", vec!["floor", "epoll-kit"]));
        assert_eq!(of(1), ("N pairs, edge", vec!["floor, edge", "mio", "epoll-kit, edge"]));
    }
}
