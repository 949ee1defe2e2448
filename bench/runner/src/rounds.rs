//! Rounds: every contestant is measured once before the first is measured again, so that noise that
//! lasts longer than a round hits all of them alike.

use crate::interrupt::Interrupted;
use crate::stats::{ByRound, Spread, median_curve, paired_ratios};
use std::collections::BTreeMap;
use std::time::Instant;

/// What one measurement has brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Figures by name; the name ends in the unit.
    pub(crate) values: BTreeMap<String, f64>,
    /// Latencies in microseconds by percentile.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// Why a contestant has no more rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is known not to be able to do this everywhere; nothing is wrong.
    Unable(String),
    /// It should have been able to.
    Failed(String),
}

impl Trouble {
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Unable(message) | Self::Failed(message) => message,
        }
    }
}

/// The rounds of one contestant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) contestant: String,
    pub(crate) rounds: BTreeMap<u32, Sample>,
    pub(crate) trouble: Option<Trouble>,
}

impl Series {
    pub(crate) fn new(contestant: impl Into<String>) -> Self {
        Self { contestant: contestant.into(), ..Self::default() }
    }

    pub(crate) fn by_round(&self, name: &str) -> ByRound {
        let values = self.rounds.iter();
        values.filter_map(|(round, sample)| Some((*round, *sample.values.get(name)?))).collect()
    }

    pub(crate) fn spread(&self, name: &str) -> Option<Spread> {
        Spread::of(self.by_round(name).into_values())
    }

    /// Of the ratios to `base` within the same round.
    pub(crate) fn ratio(&self, base: &Self, name: &str) -> Option<Spread> {
        Spread::of(paired_ratios(&self.by_round(name), &base.by_round(name)))
    }

    pub(crate) fn median_curve(&self) -> Vec<(f64, f64)> {
        let curves: Vec<_> = self.rounds.values().map(|sample| sample.curve.as_slice()).collect();
        median_curve(&curves)
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Failed(_)))
    }
}

/// Measures every contestant in each of `rounds` rounds, which end early at `until`; the first is
/// always complete. Each round begins with another contestant, so that none has a place of its own in
/// the order. One that has trouble is left out from then on.
///
/// # Errors
///
/// [`Interrupted`], which `measure` passes on; any other error is the contestant's.
pub(crate) fn interleave(
    contestants: &[String],
    rounds: u32,
    until: Instant,
    mut measure: impl FnMut(usize, u32) -> anyhow::Result<Sample>,
    trouble: impl Fn(usize, String) -> Trouble,
) -> Result<Vec<Series>, Interrupted> {
    let mut series: Vec<_> = contestants.iter().map(Series::new).collect();
    for round in 1..=rounds {
        if round > 1 && Instant::now() >= until {
            break;
        }
        for place in 0..series.len() {
            let at = (place + round as usize) % series.len();
            if series[at].trouble.is_some() {
                continue;
            }
            match measure(at, round) {
                Ok(sample) => {
                    series[at].rounds.insert(round, sample);
                }
                Err(error) if error.is::<Interrupted>() => return Err(Interrupted),
                Err(error) => series[at].trouble = Some(trouble(at, format!("{error:#}"))),
            }
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(1000)
    }

    fn sample(value: f64) -> Sample {
        Sample { values: BTreeMap::from([("x".to_owned(), value)]), curve: Vec::new() }
    }

    fn run(
        rounds: u32,
        until: Instant,
        measure: impl FnMut(usize, u32) -> anyhow::Result<Sample>,
    ) -> Result<Vec<Series>, Interrupted> {
        interleave(&names(&["a", "b", "c"]), rounds, until, measure, |_, what| {
            Trouble::Failed(what)
        })
    }

    #[test]
    fn every_round_has_everybody_once_and_begins_with_another() {
        let mut order = Vec::new();
        run(3, later(), |at, round| {
            order.push((round, at));
            Ok(sample(0.0))
        })
        .unwrap();
        let expected = [(1, 1), (1, 2), (1, 0), (2, 2), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)];
        assert_eq!(order, expected);
    }

    #[test]
    fn one_with_trouble_is_left_out_and_the_others_go_on() {
        let series = run(4, later(), |at, round| {
            anyhow::ensure!(at != 1 || round < 3, "connection lost");
            Ok(sample(1.0))
        })
        .unwrap();
        assert_eq!(series.iter().map(|s| s.rounds.len()).collect::<Vec<_>>(), [4, 2, 4]);
        assert_eq!(series[1].trouble, Some(Trouble::Failed("connection lost".to_owned())));
    }

    #[test]
    fn a_spent_budget_leaves_the_first_round_whole() {
        let series = run(9, Instant::now(), |_, _| Ok(sample(1.0))).unwrap();
        assert!(series.iter().all(|s| s.rounds.len() == 1));
    }

    #[test]
    fn an_interrupt_ends_everything() {
        let mut count = 0;
        let ended = run(9, later(), |_, _| {
            count += 1;
            Err(Interrupted.into())
        });
        assert!(ended.is_err());
        assert_eq!(count, 1);
    }

    #[test]
    fn ratios_are_within_rounds() {
        let series = run(3, later(), |at, round| {
            Ok(sample(f64::from(round) * if at == 0 { 10.0 } else { 20.0 }))
        })
        .unwrap();
        assert_eq!(series[1].ratio(&series[0], "x").unwrap().median, 2.0);
        assert_eq!(series[1].ratio(&series[0], "y"), None);
    }
}
