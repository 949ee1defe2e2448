//! A run: what every suite needs, and the way from the plan to the report.

use crate::interrupt::Interrupt;
use crate::machine::Cores;
use crate::plan::Item;
use crate::progress::Progress;
use crate::report::Report;
use crate::suites::{self, Suite};
use crate::{machine, network, plan, raw, report};
use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{self, File};
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
    /// When there is no further round, wherever the run is.
    end: Instant,
}

/// How long all of it may take.
const TIME_MAX: Duration = Duration::from_secs(29 * 60);
const TIME_MAX_QUICK: Duration = Duration::from_secs(170);

/// What programs that plan their rounds themselves leave of that for the others.
fn time_for_rounds(items: &[Item], is_quick: bool) -> Duration {
    let time_max = if is_quick { TIME_MAX_QUICK } else { TIME_MAX };
    let fixed = items.iter().filter(|item| item.effort.is_none()).map(|item| item.estimate);
    time_max.saturating_sub(fixed.sum())
}

impl Bench {
    /// When a part that begins now has its last round.
    pub(crate) fn until(&self, item: &Item) -> Instant {
        (Instant::now() + item.limit()).min(self.end)
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
    let raw_file =
        match &json {
            Some(path) => Some(File::create(path).with_context(|| {
                format!("failed to create the file of --json {}", path.display())
            })?),
            None => None,
        };
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
        end: start + time_for_rounds(&items, is_quick),
    };
    let mut sections = Vec::new();
    let mut series = Vec::new();
    for suite in suites {
        let outcome = suite.run(&bench)?;
        bench.progress.clear();
        say(&report::markdown::section(&outcome.section, 2));
        series.extend(outcome.parts);
        sections.push(outcome.section);
    }
    let failures = suites::failures(&series);
    let report = Report { facts, versions, is_quick, sections, took: start.elapsed() };
    if let (Some(mut file), Some(path)) = (raw_file, &json) {
        raw::write(&mut file, &report, &series)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    for path in report::write(&bench.paths.out, &report)? {
        say(&format!("wrote {}", path.display()));
    }
    for failure in &failures {
        complain(failure);
    }
    Ok(failures.is_empty())
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
        let mut fixed = Item::of("wake", "", 1, Effort::ms(1, 60_000, 0));
        fixed.effort = None;
        let items = [Item::of("echo", "", 1, Effort::ms(1, 1, 0)), fixed];
        assert_eq!(time_for_rounds(&items, false), TIME_MAX - Duration::from_secs(60));
        assert_eq!(time_for_rounds(&[], true), TIME_MAX_QUICK);
    }

    #[test]
    fn a_log_has_a_plain_name() {
        let paths = Paths { out: "/out".into(), ..Paths::default() };
        assert_eq!(paths.log_of("one-shot, 2").to_str(), Some("/out/logs/one-shot--2.log"));
    }
}
