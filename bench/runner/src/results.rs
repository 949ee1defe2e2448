//! The results of a run: contestants with their roles, rounds, and the parts of a suite.

use crate::metric::Metric;
use crate::stats::{ByRound, Spread, median_curve, paired_ratios};
use std::collections::BTreeMap;

/// The place of a contestant in a comparison. The first contestant of a part is its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Another program that the rest is compared with.
    Floor,
    /// The same in a process of its own: an A/A comparison, whose ratio shows the noise.
    FloorAgain,
    /// A program of this project.
    Ours,
    /// Ours as its own reference, measured again.
    OursAgain,
    /// A program of others, or one built on others' crates.
    #[default]
    Peer,
}

impl Role {
    const ALL: [Self; 5] = [Self::Floor, Self::FloorAgain, Self::Ours, Self::OursAgain, Self::Peer];

    /// Returns the name in the raw rounds and in the lines of the micro-benchmarks.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::FloorAgain => "floor-again",
            Self::Ours => "ours",
            Self::OursAgain => "ours-again",
            Self::Peer => "peer",
        }
    }

    pub(crate) fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.key() == key)
    }

    /// Returns whether it is a program of this project.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursAgain)
    }

    /// Returns whether it is the second measurement of the reference.
    pub(crate) fn is_again(self) -> bool {
        matches!(self, Self::FloorAgain | Self::OursAgain)
    }
}

/// A program that was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contestant {
    /// The name without the number of threads; it also chooses the colour in plots.
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The number of threads. If it is more than one, it is part of the label.
    pub(crate) threads: u32,
    /// The comparison that it takes part in, where one case has several references.
    pub(crate) set: Option<String>,
}

impl Contestant {
    /// Returns a contestant with one thread.
    pub(crate) fn new(name: impl Into<String>, role: Role) -> Self {
        Self { name: name.into(), role, threads: 1, set: None }
    }

    /// Returns the name in tables and plots.
    pub(crate) fn label(&self) -> String {
        let again = if self.role.is_again() { " again" } else { "" };
        match self.threads {
            0 | 1 => format!("{}{again}", self.name),
            threads => format!("{}{again}, {threads} threads", self.name),
        }
    }
}

/// The figures of one measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) values: BTreeMap<Metric, f64>,
    /// Latencies in microseconds by percentile.
    pub(crate) curve: Vec<(f64, f64)>,
    /// System calls by their names.
    pub(crate) calls: BTreeMap<String, f64>,
}

impl Sample {
    /// Returns a sample with these values only.
    pub(crate) fn of(values: impl IntoIterator<Item = (Metric, f64)>) -> Self {
        Self { values: values.into_iter().collect(), ..Self::default() }
    }
}

/// The rounds of one contestant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) contestant: Contestant,
    pub(crate) rounds: BTreeMap<u32, Sample>,
    /// The reason why there are no more rounds.
    pub(crate) error: Option<String>,
}

impl Series {
    pub(crate) fn new(contestant: Contestant) -> Self {
        Self { contestant, ..Self::default() }
    }

    pub(crate) fn by_round(&self, metric: Metric) -> ByRound {
        let values = self.rounds.iter();
        values.filter_map(|(round, sample)| Some((*round, *sample.values.get(&metric)?))).collect()
    }

    pub(crate) fn spread(&self, metric: Metric) -> Option<Spread> {
        Spread::of(self.by_round(metric).into_values())
    }

    /// Returns the spread of the ratios to `base` within the same round.
    pub(crate) fn ratio(&self, base: &Self, metric: Metric) -> Option<Spread> {
        Spread::of(paired_ratios(&self.by_round(metric), &base.by_round(metric)))
    }

    pub(crate) fn median_curve(&self) -> Vec<(f64, f64)> {
        let curves: Vec<_> = self.rounds.values().map(|sample| sample.curve.as_slice()).collect();
        median_curve(&curves)
    }
}

/// Everything that was measured of one workload or case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    pub(crate) title: String,
    /// Cases of the same group differ in `x` alone; its title has N in the place of the number.
    pub(crate) group: Option<String>,
    /// The number that grows from one part to the next, if there is one.
    pub(crate) x: Option<f64>,
    /// A sentence about this part.
    pub(crate) note: Option<String>,
    /// The first is the reference.
    pub(crate) series: Vec<Series>,
}

impl Part {
    pub(crate) fn new(title: &str, series: Vec<Series>) -> Self {
        Self { title: title.to_owned(), series, ..Self::default() }
    }

    /// Returns the largest number of rounds that a contestant has.
    pub(crate) fn rounds(&self) -> usize {
        self.series.iter().map(|one| one.rounds.len()).max().unwrap_or(0)
    }
}

/// The results of one suite.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results {
    pub(crate) suite: String,
    pub(crate) parts: Vec<Part>,
    /// Remarks about this run for the reader: versions, and parts that were left out with the reasons.
    pub(crate) notes: Vec<String>,
}

impl Results {
    pub(crate) fn new(suite: &str) -> Self {
        Self { suite: suite.to_owned(), ..Self::default() }
    }

    /// Returns the label of the reference's second measurement.
    pub(crate) fn again_label(&self) -> Option<String> {
        let series = self.parts.iter().flat_map(|part| &part.series);
        let mut contestants = series.map(|one| &one.contestant);
        Some(contestants.find(|one| one.role.is_again())?.label())
    }
}

/// Returns a line for each contestant that failed; the same failure is reported once.
pub(crate) fn failures(results: &[Results]) -> Vec<String> {
    let mut places: Vec<(String, Vec<&str>)> = Vec::new();
    for of_suite in results {
        for part in &of_suite.parts {
            for series in &part.series {
                let Some(message) = &series.error else { continue };
                let label = series.contestant.label();
                let failure = format!("{}: {label}: {message}", of_suite.suite);
                match places.iter_mut().find(|(known, _)| *known == failure) {
                    Some((_, titles)) => titles.push(&part.title),
                    None => places.push((failure, vec![&part.title])),
                }
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

    #[test]
    fn a_label_is_made_of_name_role_and_threads() {
        let floor = Contestant::new("floor", Role::Floor);
        assert_eq!(floor.label(), "floor");
        assert_eq!(Contestant { role: Role::FloorAgain, ..floor.clone() }.label(), "floor again");
        assert_eq!(Contestant { threads: 2, ..floor }.label(), "floor, 2 threads");
    }

    #[test]
    fn every_role_is_found_by_its_own_name() {
        assert!(Role::ALL.into_iter().all(|role| Role::of_key(role.key()) == Some(role)));
        assert_eq!(Role::of_key("judge"), None);
    }

    #[test]
    fn the_second_measurement_of_the_reference_is_found_by_its_role() {
        let series = |role| Series::new(Contestant::new("floor", role));
        let part = Part::new("64 B", vec![series(Role::Floor), series(Role::FloorAgain)]);
        let results = Results { parts: vec![part], ..Results::new("echo") };
        assert_eq!(results.again_label().as_deref(), Some("floor again"));
        assert_eq!(Results::new("echo").again_label(), None);
    }

    #[test]
    fn a_failure_names_who_and_where() {
        let series = |name: &str| Series::new(Contestant::new(name, Role::Peer));
        let failed =
            |name: &str| Series { error: Some("3 wrong-bytes".to_owned()), ..series(name) };
        let parts = vec![
            Part::new("64 B x 50", vec![series("floor"), failed("mio"), failed("tokio")]),
            Part::new("16 KiB x 50", vec![series("floor"), failed("tokio")]),
        ];
        assert_eq!(
            failures(&[Results { parts, ..Results::new("echo") }]),
            ["echo: mio: 3 wrong-bytes (64 B x 50)", "echo: tokio: 3 wrong-bytes (2 times)"]
        );
    }
}
