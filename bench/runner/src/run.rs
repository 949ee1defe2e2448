//! A run: from the plan over the suites to the files of the report.

use crate::build::build;
use crate::conditions::Conditions;
use crate::context::{Context, Setup};
use crate::interrupt::{Interrupt, Interrupted};
use crate::machine::{self, Cores};
use crate::paths::Paths;
use crate::plan;
use crate::print::{print_line, warn};
use crate::raw::{self, JsonSink};
use crate::report::{self, Report, Section, section_text};
use crate::results::{Results, failures};
use crate::suite::{Suite, section};
use crate::{network, suites};
use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The choices of the command line.
pub(crate) struct Args {
    pub(crate) paths: Paths,
    pub(crate) suites: Vec<&'static dyn Suite>,
    pub(crate) is_quick: bool,
    /// The programs of the suites are built first.
    pub(crate) is_building: bool,
    /// A file that gets all rounds, beside the one in the folder of the report.
    pub(crate) json: Option<PathBuf>,
    /// A file of rounds that are reported again; nothing is measured then.
    pub(crate) from: Option<PathBuf>,
}

/// The file with all rounds of the last run of all suites, in the folder of the report.
const ROUNDS: &str = "rounds.json";
/// The same of the last run of a part, which does not take the place of what takes forty minutes.
const ROUNDS_OF_PART: &str = "rounds-part.json";

/// Measures and reports; returns whether every contestant did what it should.
pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    match &args.from {
        Some(file) => report_again(&args.paths, file),
        None => measure_and_report(args),
    }
}

/// Makes the files of the report from the rounds of an earlier run.
fn report_again(paths: &Paths, file: &Path) -> anyhow::Result<bool> {
    let (conditions, all) = raw::read(file)?;
    if all.is_empty() {
        bail!("there is nothing in {}", file.display());
    }
    fs::create_dir_all(&paths.out)
        .with_context(|| format!("failed to create {}", paths.out.display()))?;
    write_report(paths, conditions, &all)?;
    let failures = failures(&all);
    for failure in &failures {
        warn(failure);
    }
    Ok(failures.is_empty())
}

fn measure_and_report(args: Args) -> anyhow::Result<bool> {
    if args.is_building {
        // On the machine's network, from which Cargo may have to download.
        build(&args.paths, &args.suites)?;
    }
    // Before the first thread and the first process that measures.
    let network = network::enter();
    let interrupt = Interrupt::new().context("failed to take over the signals")?;
    let Args { paths, suites, is_quick, json, .. } = args;
    let logs = paths.out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("failed to create {}", logs.display()))?;
    let is_part = is_quick || suites.len() < suites::ALL.len();
    let rounds = paths.out.join(if is_part { ROUNDS_OF_PART } else { ROUNDS });
    let sinks = json.iter().chain([&rounds]).map(|path| JsonSink::create(path));
    let sinks: Vec<_> = sinks.collect::<Result<_, _>>()?;
    for suite in &suites {
        suite.check()?;
    }
    raise_descriptors().context("failed to raise the limit of descriptors")?;

    let plan: Vec<_> = suites.iter().flat_map(|suite| suite.plan(&paths, is_quick)).collect();
    print_line(&format!("The plan:\n{}", plan::describe(&plan)));
    let cores = Cores::choose();
    let start = Instant::now();
    let mut conditions = Conditions {
        facts: machine::facts(&paths.root, cores, &network.description),
        versions: machine::versions(&paths.root),
        is_quick,
        cores,
        congestion: network.congestion.map(str::to_owned),
        ..Conditions::default()
    };
    let (congestion, has_own_network) = (network.congestion, network.is_own);
    let setup = Setup {
        paths: paths.clone(),
        is_quick,
        cores,
        interrupt,
        congestion,
        has_own_network,
        plan,
    };
    let (all, Ended { errors, was_interrupted }) =
        measure(&Context::begin(setup), &suites, &conditions);
    conditions.took = start.elapsed();
    conditions.incomplete = match errors.first() {
        _ if was_interrupted => Some(Interrupted.to_string()),
        first => first.cloned(),
    };
    if !all.is_empty() {
        for sink in sinks {
            sink.write(&conditions, &all)?;
        }
        write_report(&paths, conditions, &all)?;
    }
    let errors = [errors, failures(&all)].concat();
    for error in &errors {
        warn(error);
    }
    if was_interrupted {
        return Err(Interrupted.into());
    }
    Ok(errors.is_empty())
}

/// The end of the measuring: by errors, by an interruption, or as planned.
#[derive(Default)]
struct Ended {
    /// The errors that ended suites early.
    errors: Vec<String>,
    was_interrupted: bool,
}

/// Returns the results that there are to report, whether or not they are all that was asked for.
fn measure(
    context: &Context,
    suites: &[&'static dyn Suite],
    conditions: &Conditions,
) -> (Vec<Results>, Ended) {
    let (mut all, mut how) = (Vec::new(), Ended::default());
    for suite in suites {
        let mut results = Results::new(suite.name());
        let ended = suite.measure(context, &mut results);
        context.progress.clear();
        if !results.parts.is_empty() {
            print_line(&section_text(&section(*suite, &results, conditions), 2));
            all.push(results);
        }
        match ended {
            Ok(()) => {}
            Err(error) if error.is::<Interrupted>() => {
                how.was_interrupted = true;
                break;
            }
            Err(error) => how.errors.push(format!("{}: {error:#}", suite.name())),
        }
    }
    (all, how)
}

/// Writes the report, and into the repository what a whole run is published as.
fn write_report(paths: &Paths, conditions: Conditions, all: &[Results]) -> anyhow::Result<()> {
    let is_whole = is_whole(&conditions, all);
    let sections = sections(&conditions, all)?;
    let report = Report { conditions, sections };
    let mut written = report::write(&paths.out, &report)?;
    if is_whole {
        written.extend(report::publish(&paths.root, &report)?);
    }
    for path in written {
        print_line(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn sections(conditions: &Conditions, all: &[Results]) -> anyhow::Result<Vec<Section>> {
    let of_results = |results: &Results| {
        let suite = suites::find(&results.suite);
        let suite = suite.with_context(|| format!("there is no suite {:?}", results.suite))?;
        Ok(section(suite, results, conditions))
    };
    all.iter().map(of_results).collect()
}

/// Returns whether these are the results of all suites, measured at full length and without a failure.
fn is_whole(conditions: &Conditions, all: &[Results]) -> bool {
    let has = |suite: &&dyn Suite| all.iter().any(|results| results.suite == suite.name());
    let is_complete = !conditions.is_quick && conditions.incomplete.is_none();
    is_complete && suites::ALL.iter().all(has) && failures(all).is_empty()
}

/// Servers inherit it; 10 000 connections are more than the usual soft limit.
fn raise_descriptors() -> rustix::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Part, Series};

    #[test]
    fn only_a_finished_run_of_all_suites_is_whole() {
        let mut all: Vec<_> = suites::ALL.map(|suite| Results::new(suite.name())).into();
        let conditions = Conditions::default();
        assert!(is_whole(&conditions, &all));
        assert!(!is_whole(&Conditions { is_quick: true, ..conditions.clone() }, &all));
        let incomplete = Some("interrupted".to_owned());
        assert!(!is_whole(&Conditions { incomplete, ..conditions.clone() }, &all));
        let failed = Series { error: Some("lost".to_owned()), ..Series::default() };
        all[0].parts.push(Part::new("64 B", vec![failed]));
        assert!(!is_whole(&conditions, &all));
        all.remove(0);
        assert!(!is_whole(&conditions, &all));
    }

    #[test]
    fn an_unknown_suite_in_a_file_is_named() {
        let error = sections(&Conditions::default(), &[Results::new("ecko")]).unwrap_err();
        assert_eq!(error.to_string(), "there is no suite \"ecko\"");
    }
}
