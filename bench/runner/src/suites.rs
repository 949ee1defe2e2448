//! The suites: what each measures, and what it makes of it.

mod echo;
mod lesson;
mod micro;
mod protocols;
mod syscalls;
mod workloads;

use crate::bench::{Bench, Paths};
use crate::plan::Item;
use crate::report::Section;
use crate::rounds::Series;

/// A suite, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Echo,
    Lesson,
    SelectPollEpoll,
    Dispatch,
    Wake,
    Timers,
    Syscalls,
    Protocols,
}

/// Everything that was measured of one workload or case.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) suite: &'static str,
    pub(crate) title: String,
    /// Of figures that do not have it in their names.
    pub(crate) unit: Option<String>,
    /// The number that grows from one part to the next, if there is one.
    pub(crate) x: Option<f64>,
    pub(crate) series: Vec<Series>,
}

impl Part {
    pub(crate) fn new(suite: &'static str, title: &str, series: Vec<Series>) -> Self {
        Self { suite, title: title.to_owned(), unit: None, x: None, series }
    }
}

/// What a suite has brought up to now.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) section: Section,
    pub(crate) parts: Vec<Part>,
}

impl Suite {
    pub(crate) const ALL: [Self; 8] = [
        Self::Echo,
        Self::Lesson,
        Self::SelectPollEpoll,
        Self::Dispatch,
        Self::Wake,
        Self::Timers,
        Self::Syscalls,
        Self::Protocols,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Lesson => "lesson",
            Self::SelectPollEpoll => "select-poll-epoll",
            Self::Dispatch => "dispatch",
            Self::Wake => "wake",
            Self::Timers => "timers",
            Self::Syscalls => "syscalls",
            Self::Protocols => "protocols",
        }
    }

    /// # Errors
    ///
    /// Something that it needs is missing on this machine.
    pub(crate) fn check(self) -> anyhow::Result<()> {
        match self {
            Self::Syscalls => syscalls::check(),
            _ => Ok(()),
        }
    }

    pub(crate) fn plan(self, paths: &Paths, is_quick: bool) -> Vec<Item> {
        match self {
            Self::Echo => echo::plan(paths, is_quick),
            Self::Lesson => lesson::plan(is_quick),
            Self::SelectPollEpoll | Self::Dispatch | Self::Wake | Self::Timers => {
                vec![micro::plan(self.name(), is_quick)]
            }
            Self::Syscalls => vec![syscalls::plan(paths, is_quick)],
            Self::Protocols => protocols::plan(is_quick),
        }
    }

    /// # Errors
    ///
    /// [`crate::interrupt::Interrupted`], or the machine failed; what a contestant does wrong is in
    /// the outcome. What was finished before is in there too.
    pub(crate) fn run(self, bench: &Bench, outcome: &mut Outcome) -> anyhow::Result<()> {
        outcome.section.id = self.name();
        let quick = if bench.is_quick { " --quick" } else { "" };
        outcome.section.command = format!("cargo xtask bench {}{quick}", self.name());
        match self {
            Self::Echo => echo::run(bench, outcome),
            Self::Lesson => lesson::run(bench, outcome),
            Self::SelectPollEpoll | Self::Dispatch | Self::Wake | Self::Timers => {
                micro::run(bench, self.name(), outcome)
            }
            Self::Syscalls => syscalls::run(bench, outcome),
            Self::Protocols => protocols::run(bench, outcome),
        }
    }
}

/// What is to be known where contestants are measured in rounds; `again` is the reference's second row.
fn about_rounds(again: &str) -> String {
    format!(
        "In a round every contestant is measured once, in an order of its own, and a ratio is of two \
         values of the same round: what disturbs the machine for longer than a round hits both and \
         cancels out. The row “{again}” is the reference measured against itself: how far its ratios \
         are from 1 is noise, and so is any smaller difference."
    )
}

/// What the commands under the tables of servers are, and what they are not.
fn about_commands() -> String {
    "The command under a table is for one round of our server with a level trigger, from the root of the \
     repository, when everything is built. Other modes have another word after --mode, other servers \
     are bench/target/release/peer-floor, peer-mio and so on, and servers with two threads have \
     --threads 2 and no taskset. By hand it is the machine's network, whose congestion control may not \
     be the one above."
        .to_owned()
}

/// The server at work and the load on it, for a shell.
fn by_hand(server: &str, load: &str) -> String {
    // What is started needs a moment to listen.
    format!("{server} --listen {BY_HAND} & sleep 1; {load}; kill $!")
}

/// Where a server listens that is started by hand.
const BY_HAND: &str = "127.0.0.1:8080";

/// A line for each contestant that did not do what it should, in the same way once.
pub(crate) fn failures(parts: &[Part]) -> Vec<String> {
    let mut places: Vec<(String, Vec<&str>)> = Vec::new();
    for part in parts {
        for series in &part.series {
            let Some(message) = &series.trouble else { continue };
            let failure = format!("{}: {}: {message}", part.suite, series.contestant);
            match places.iter_mut().find(|(known, _)| *known == failure) {
                Some((_, titles)) => titles.push(&part.title),
                None => places.push((failure, vec![&part.title])),
            }
        }
    }
    let lines = places.into_iter().map(|(failure, titles)| match titles[..] {
        [title] => format!("{failure} ({title})"),
        _ => format!("{failure} ({} times)", titles.len()),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_suite_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Suite::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), Suite::ALL.len());
    }

    #[test]
    fn everything_is_planned_for_28_minutes_and_quick_for_150_seconds() {
        for (is_quick, seconds) in [(false, 28 * 60), (true, 150)] {
            let items = Suite::ALL.iter().flat_map(|s| s.plan(&Paths::default(), is_quick));
            let total: Duration = items.map(|item| item.estimate).sum();
            assert!(total <= Duration::from_secs(seconds), "{is_quick}: {total:?}");
        }
    }

    #[test]
    fn a_failure_names_who_and_where() {
        let failed =
            |name: &str| Series { trouble: Some("3 wrong-bytes".to_owned()), ..Series::new(name) };
        let part = |title, series| Part::new("echo", title, series);
        let parts = [
            part("64 B x 50", vec![Series::new("floor"), failed("mio"), failed("tokio")]),
            part("16 KiB x 50", vec![Series::new("floor"), failed("tokio")]),
        ];
        assert_eq!(
            failures(&parts),
            ["echo: mio: 3 wrong-bytes (64 B x 50)", "echo: tokio: 3 wrong-bytes (2 times)"]
        );
    }
}
