//! A run: what every suite needs, and the way from the plan to the report.

use crate::interrupt::{Interrupt, Interrupted};
use crate::machine::Cores;
use crate::plan::Item;
use crate::progress::Progress;
use crate::report::{Report, Section};
use crate::suites::{self, Outcome, Part, Suite};
use crate::{machine, network, plan, raw, report};
use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where everything is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    /// The repository.
    pub(crate) root: PathBuf,
    /// The folder with epoll-server and epoll-load.
    pub(crate) programs: PathBuf,
    /// The folder with the peers and the micro-benchmarks.
    pub(crate) bench_programs: PathBuf,
    /// The folder that the report goes to.
    pub(crate) out: PathBuf,
}

impl Paths {
    /// Where a contestant's stderr goes.
    pub(crate) fn log_of(&self, label: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        self.out.join("logs").join(label.chars().map(plain).collect::<String>() + ".log")
    }
}

/// What to do.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) paths: Paths,
    pub(crate) suites: Vec<Suite>,
    pub(crate) is_quick: bool,
    pub(crate) json: Option<PathBuf>,
}

/// What the suites share.
pub(crate) struct Bench {
    pub(crate) paths: Paths,
    pub(crate) is_quick: bool,
    pub(crate) cores: Cores,
    pub(crate) interrupt: Interrupt,
    /// What the client has to ask for on its sockets.
    pub(crate) congestion: Option<&'static str>,
    pub(crate) progress: Progress,
    /// The whole plan.
    items: Vec<Item>,
    /// When everything is over, whoever has not finished by then.
    end: Instant,
}

/// How long all of it may take; what is still running then is ended.
const TIME_MAX: Duration = Duration::from_secs(29 * 60);
const TIME_MAX_QUICK: Duration = Duration::from_secs(170);

fn time_max(is_quick: bool) -> Duration {
    if is_quick { TIME_MAX_QUICK } else { TIME_MAX }
}

/// What parts that come after this one and have no rounds to leave out need.
fn fixed_after(item: &Item, plan: &[Item]) -> Duration {
    let place = |one: &Item| (one.suite, one.title.clone());
    let after = plan.iter().skip_while(|one| place(one) != place(item)).skip(1);
    let is_fixed = |item: &&Item| item.effort.is_none_or(|effort| effort.rounds == 1);
    after.filter(is_fixed).map(|item| item.estimate).sum()
}

impl Bench {
    /// When a part that begins now has its last round.
    pub(crate) fn until(&self, item: &Item) -> Instant {
        (Instant::now() + item.limit()).min(self.end - fixed_after(item, &self.items))
    }

    /// When something has to be over that begins now and may take this long.
    pub(crate) fn deadline(&self, limit: Duration) -> Instant {
        (Instant::now() + limit).min(self.end)
    }
}

/// Measures and reports; whether every contestant did what it should.
pub(crate) fn run(options: Options) -> anyhow::Result<bool> {
    // Before the first thread and the first process.
    let network = network::enter();
    let interrupt = Interrupt::new().context("failed to take over the signals")?;
    let Options { paths, suites, is_quick, json } = options;
    let logs = paths.out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("failed to create {}", logs.display()))?;
    let raw_file = json.as_deref().map(raw::File::beside).transpose()?;
    for suite in &suites {
        suite.check()?;
    }
    raise_descriptors().context("failed to raise the limit of descriptors")?;

    let items: Vec<_> = suites.iter().flat_map(|suite| suite.plan(&paths, is_quick)).collect();
    say(&format!("The plan:\n{}", plan::describe(&items)));
    let cores = Cores::choose();
    let start = Instant::now();
    let facts = machine::facts(&paths, cores, &network.description);
    let versions = machine::versions(&paths);
    let bench = Bench {
        paths,
        is_quick,
        cores,
        interrupt,
        congestion: network.congestion,
        progress: Progress::new(&items),
        items,
        end: start + time_max(is_quick),
    };
    let Finished { sections, parts, mut troubles, was_interrupted } = measure(&bench, &suites);
    troubles.extend(suites::failures(&parts));
    if !sections.is_empty() {
        let mut facts = facts;
        facts.extend(was_interrupted.then(|| ("Incomplete", Interrupted.to_string())));
        let report = Report { facts, versions, is_quick, sections, took: start.elapsed() };
        for path in report::write(&bench.paths.out, &report)? {
            say(&format!("wrote {}", path.display()));
        }
        if let Some(file) = raw_file {
            file.write(&report, &parts)?;
        }
    }
    for trouble in &troubles {
        complain(trouble);
    }
    if was_interrupted {
        return Err(Interrupted.into());
    }
    Ok(troubles.is_empty())
}

/// What there is to report, whether or not it is all that was asked for.
#[derive(Default)]
struct Finished {
    sections: Vec<Section>,
    parts: Vec<Part>,
    /// What kept suites from their ends.
    troubles: Vec<String>,
    was_interrupted: bool,
}

fn measure(bench: &Bench, suites: &[Suite]) -> Finished {
    let mut finished = Finished::default();
    for suite in suites {
        let mut outcome = Outcome::default();
        let ended = suite.run(bench, &mut outcome);
        bench.progress.clear();
        if !outcome.parts.is_empty() {
            say(&report::markdown::section(&outcome.section, 2));
            finished.parts.extend(outcome.parts);
            finished.sections.push(outcome.section);
        }
        match ended {
            Ok(()) => {}
            Err(error) if error.is::<Interrupted>() => {
                finished.was_interrupted = true;
                break;
            }
            Err(error) => finished.troubles.push(format!("{}: {error:#}", suite.name())),
        }
    }
    finished
}

/// A line or more on stdout, if anybody reads it; the report is written all the same.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// A line on stderr, if anybody reads it.
pub(crate) fn complain(what: &str) {
    let _ = writeln!(stderr(), "bench: {what}");
}

/// Servers inherit it; 10 000 connections are more than the usual soft limit.
fn raise_descriptors() -> rustix::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Effort;

    #[test]
    fn rounds_leave_time_for_programs_that_plan_their_own() {
        let fixed = |suite| {
            let item = Item::of(suite, "", 1, Effort::ms(2, 30_000, 0));
            Item { effort: None, ..item }
        };
        let rounds = |title| Item::of("echo", title, 1, Effort::ms(2, 1, 0));
        let plan = [fixed("timers"), rounds("64 B"), rounds("16 KiB"), fixed("wake")];
        let after = plan.each_ref().map(|item| fixed_after(item, &plan).as_secs());
        assert_eq!(after, [60, 60, 60, 0]);
    }

    #[test]
    fn a_log_has_a_plain_name() {
        let paths = Paths { out: "/out".into(), ..Paths::default() };
        assert_eq!(paths.log_of("one-shot, 2").to_str(), Some("/out/logs/one-shot--2.log"));
    }
}
