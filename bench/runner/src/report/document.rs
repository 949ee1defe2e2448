//! The parts of a report.

use super::table::Table;
use crate::conditions::Conditions;

/// Everything that is known after a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    pub(crate) sections: Vec<Section>,
}

/// One suite.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    /// The suite's name, which links point to.
    pub(crate) id: String,
    pub(crate) title: String,
    /// A paragraph each.
    pub(crate) intro: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) tables: Vec<Table>,
    /// The command that measures all of it again.
    pub(crate) command: String,
}

/// A plot.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) svg: String,
    /// The name of its file among the published plots, if it is one of them.
    pub(crate) file: Option<&'static str>,
}

/// The remark that readers need for every table.
pub(crate) const HOW_TO_READ: &str = "Where something was measured several times, the value is the \
median, and quartiles are in brackets. How often, and what ratios are of, is said with each suite.";

impl Report {
    /// Returns the remark beside the time that the run took.
    pub(crate) fn extent(&self) -> &'static str {
        if self.conditions.is_quick { ", with --quick: few and short rounds" } else { "" }
    }

    /// Returns the facts about the machine, and that something is missing if it is.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (&str, &str)> {
        let facts =
            self.conditions.facts.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        facts.chain(self.conditions.incomplete.iter().map(|reason| ("Incomplete", reason.as_str())))
    }
}
