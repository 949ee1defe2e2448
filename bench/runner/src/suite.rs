//! The trait of a suite, which measures, and explains its results. Results read from a file can be
//! explained too, so that a report can be made again.

use crate::conditions::Conditions;
use crate::context::Context;
use crate::paths::Paths;
use crate::plan::PlanEntry;
use crate::report::Section;
use crate::results::Results;

/// The programs that a suite starts; each kind includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Programs {
    /// The micro-benchmarks, which are built in a fraction of the time.
    Micro,
    /// Servers, the peers among them, and clients.
    Servers,
    /// The examples of epoll-service as well.
    Examples,
}

/// A suite: one file in `suites`, and one entry of the list there.
pub(crate) trait Suite: Sync {
    /// Returns the name on the command line, which is also that of its file.
    fn name(&self) -> &'static str;

    /// Returns the title in the report.
    fn title(&self) -> &'static str;

    /// Returns the programs that have to be built for it.
    fn programs(&self) -> Programs {
        Programs::Servers
    }

    /// Checks that the requirements of the suite are met.
    ///
    /// # Errors
    ///
    /// Something that it needs is missing on this machine.
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Returns the planned measurements and their durations.
    fn plan(&self, paths: &Paths, is_quick: bool) -> Vec<PlanEntry>;

    /// Measures, and adds what was measured to `results` part by part.
    ///
    /// # Errors
    ///
    /// [`crate::interrupt::Interrupted`], or the machine failed; a contestant's failure is in the
    /// results. What was finished before is in there too.
    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()>;

    /// Adds intro, figures and tables to the section of this suite. Pure: results in, text out.
    fn report(&self, results: &Results, conditions: &Conditions, section: &mut Section);
}

/// Returns the section of a suite in the report.
pub(crate) fn section(suite: &dyn Suite, results: &Results, conditions: &Conditions) -> Section {
    let quick = if conditions.is_quick { " --quick" } else { "" };
    let mut section = Section {
        id: suite.name().to_owned(),
        title: suite.title().to_owned(),
        command: format!("cargo xtask bench {}{quick}", suite.name()),
        ..Section::default()
    };
    suite.report(results, conditions, &mut section);
    section.intro.extend(results.notes.iter().cloned());
    section
}
