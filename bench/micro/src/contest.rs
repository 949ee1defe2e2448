//! Rounds of measurements, and their report.

use crate::Options;
use anyhow::{Context, ensure};
use fastrand::Rng;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

/// The seed of the random orders within rounds. It is fixed, so every run has the same orders.
const SEED: u64 = 1;

/// The unit of a case's values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// Nanoseconds for each.
    Nanoseconds,
    /// A number a second.
    PerSecond,
}

/// The place of a contestant in a comparison, under the names that the runner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The bare system calls.
    Floor,
    /// The same again: an A/A comparison.
    FloorAgain,
    Ours,
    /// Ours as the reference, measured again.
    OursAgain,
    Peer,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::FloorAgain => "floor-again",
            Self::Ours => "ours",
            Self::OursAgain => "ours-again",
            Self::Peer => "peer",
        }
    }
}

/// The time of one measurement, and the number of operations in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    pub(crate) elapsed: Duration,
    pub(crate) count: u64,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::PerSecond => "per_s",
        }
    }

    fn value(self, timed: Timed) -> f64 {
        match self {
            Self::Nanoseconds => timed.elapsed.as_secs_f64() * 1e9 / timed.count as f64,
            Self::PerSecond => timed.count as f64 / timed.elapsed.as_secs_f64(),
        }
    }
}

/// One line of a plot's points.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) suite: &'static str,
    pub(crate) name: String,
    /// The name with N in the place of the number, of cases that are points of a line.
    pub(crate) group: Option<String>,
    /// The number that grows from case to case.
    pub(crate) x: usize,
    pub(crate) unit: Unit,
}

/// Measures for about as many repetitions as it is given, and checks what came of them.
type Measure<'a> = dyn FnMut(u64) -> anyhow::Result<Timed> + 'a;

pub(crate) struct Contestant<'a> {
    name: &'static str,
    role: Role,
    /// The name of the comparison, where a case has several references.
    set: Option<&'static str>,
    measure: Box<Measure<'a>>,
    /// The number of repetitions that take about as long as a measurement shall take.
    count: u64,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(
        role: Role,
        name: &'static str,
        measure: impl FnMut(u64) -> anyhow::Result<Timed> + 'a,
    ) -> Self {
        Self { name, role, set: None, measure: Box::new(measure), count: 1 }
    }

    /// Compares it with those of this set only.
    pub(crate) fn in_set(self, set: &'static str) -> Self {
        Self { set: Some(set), ..self }
    }

    /// Finds `count`, by ever longer measurements.
    fn calibrate(&mut self, duration: Duration) -> anyhow::Result<()> {
        const COUNT_MAX: u64 = 1 << 32;
        const GROWTH: u64 = 8;
        loop {
            // More may have been done than was asked for.
            let Timed { elapsed, count } = (self.measure)(self.count)?;
            if elapsed * 8 >= duration || self.count >= COUNT_MAX {
                let factor = duration.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
                // Of positive numbers that are far from the ends of their types.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let count = (count as f64 * factor) as u64;
                self.count = count.clamp(1, COUNT_MAX);
                return Ok(());
            }
            self.count *= GROWTH;
        }
    }
}

impl Case {
    /// Measures all contestants in each round, and reports each measurement. Each round has an order of
    /// its own, so that nobody has a place in it, or comes after the same one every time. The
    /// report has them in the order in which they are given: a reference, the same again, and who is
    /// compared with it.
    pub(crate) fn compete(
        &self,
        options: &Options,
        report: &mut Report<'_>,
        mut contestants: Vec<Contestant<'_>>,
    ) -> anyhow::Result<()> {
        let named = |name| format!("{}: {}: {name}", self.suite, self.name);
        for contestant in &mut contestants {
            contestant.calibrate(options.duration).with_context(|| named(contestant.name))?;
        }
        let mut order: Vec<_> = (0..contestants.len()).collect();
        let mut values = vec![0.0; contestants.len()];
        let mut random = Rng::with_seed(SEED);
        for round in 0..options.rounds.get() {
            random.shuffle(&mut order);
            for &at in &order {
                let contestant = &mut contestants[at];
                let count = contestant.count;
                let timed = (contestant.measure)(count).with_context(|| named(contestant.name))?;
                ensure!(timed.count > 0, "{}: nothing was done", named(contestant.name));
                values[at] = self.unit.value(timed);
            }
            for (contestant, value) in contestants.iter().zip(&values) {
                report.write(self, contestant, round, *value)?;
            }
        }
        Ok(())
    }
}

/// The output of measurements, one JSON object a line.
pub struct Report<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Report<'a> {
    /// Creates a report that is written to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    fn write(
        &mut self,
        case: &Case,
        contestant: &Contestant<'_>,
        round: u32,
        value: f64,
    ) -> anyhow::Result<()> {
        let line = json!({
            "suite": case.suite,
            "case": case.name,
            "group": case.group,
            "x": case.x,
            "contestant": contestant.name,
            "role": contestant.role.name(),
            "set": contestant.set,
            "round": round,
            "unit": case.unit.name(),
            "value": value,
        });
        writeln!(self.out, "{line}").context("failed to report")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::num::NonZeroU32;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    #[test]
    fn every_round_has_everybody_once_in_an_order_of_its_own() {
        let all = RefCell::new(Vec::new());
        let turns = &all;
        let contestant = |name| {
            let measure = move |count| {
                turns.borrow_mut().push(name);
                Ok(Timed { elapsed: Duration::from_secs(1), count })
            };
            Contestant::new(Role::Peer, name, measure)
        };
        let rounds = NonZeroU32::new(60).unwrap();
        let options = Options { rounds, duration: Duration::from_millis(1), is_quick: true };
        let case =
            Case { suite: "s", name: "c".to_owned(), group: None, x: 1, unit: Unit::Nanoseconds };
        let mut out = Vec::new();
        case.compete(&options, &mut Report::new(&mut out), NAMES.map(contestant).into()).unwrap();

        let turns = turns.borrow();
        // The first three were to find out how long it takes.
        let rounds: Vec<_> = turns[3..].chunks(3).collect();
        assert_eq!(rounds.len(), 60);
        for round in &rounds {
            assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 3);
        }
        // Of three there are six orders, of which a rotation would have half.
        assert_eq!(rounds.iter().collect::<BTreeSet<_>>().len(), 6);
    }
}
