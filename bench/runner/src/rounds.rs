//! Rounds: every contestant is measured once before the first is measured again, so that noise that
//! lasts longer than a round hits all of them alike.

use crate::interrupt::Interrupted;
use crate::results::{Contestant, Sample, Series};
use fastrand::Rng;
use std::time::Instant;

/// The seed of the random orders within rounds. It is fixed, so every run has the same orders.
const SEED: u64 = 1;

/// Measures every contestant in each of `rounds` rounds, which end early at `until`, but for the first.
/// Each round has an order of its own, so that none has a place in it, or comes after the same one every
/// time. One that fails is left out from then on.
///
/// # Errors
///
/// [`Interrupted`], which `measure` passes on; any other error is the contestant's.
pub(crate) fn interleave(
    contestants: &[Contestant],
    rounds: u32,
    until: Instant,
    mut measure: impl FnMut(usize, u32) -> anyhow::Result<Sample>,
) -> Result<Vec<Series>, Interrupted> {
    let mut series: Vec<_> = contestants.iter().cloned().map(Series::new).collect();
    let mut order: Vec<_> = (0..series.len()).collect();
    let mut random = Rng::with_seed(SEED);
    for round in 1..=rounds {
        random.shuffle(&mut order);
        for &at in &order {
            if round > 1 && Instant::now() >= until {
                return Ok(series);
            }
            if series[at].error.is_some() {
                continue;
            }
            match measure(at, round) {
                Ok(sample) => {
                    series[at].rounds.insert(round, sample);
                }
                Err(error) if error.is::<Interrupted>() => return Err(Interrupted),
                Err(error) => series[at].error = Some(format!("{error:#}")),
            }
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::results::Role;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(1000)
    }

    fn sample(value: f64) -> Sample {
        Sample::of([(Metric::P50, value)])
    }

    fn run(
        rounds: u32,
        until: Instant,
        measure: impl FnMut(usize, u32) -> anyhow::Result<Sample>,
    ) -> Result<Vec<Series>, Interrupted> {
        let names = ["a", "b", "c"].map(|name| Contestant::new(name, Role::Peer));
        interleave(&names, rounds, until, measure)
    }

    /// Returns the order in which contestants were measured in each of 60 rounds.
    fn orders() -> Vec<Vec<usize>> {
        let mut orders = vec![Vec::new(); 60];
        run(60, later(), |at, round| {
            orders[round as usize - 1].push(at);
            Ok(sample(0.0))
        })
        .unwrap();
        orders
    }

    #[test]
    fn every_round_has_everybody_once_in_an_order_of_its_own() {
        let orders = orders();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
        }
        // Of three there are six orders, of which a rotation would have half.
        assert_eq!(orders.iter().collect::<BTreeSet<_>>().len(), 6);
        assert_eq!(orders, self::orders());
    }

    #[test]
    fn one_with_trouble_is_left_out_and_the_others_go_on() {
        let series = run(4, later(), |at, round| {
            anyhow::ensure!(at != 1 || round < 3, "connection lost");
            Ok(sample(1.0))
        })
        .unwrap();
        assert_eq!(series.iter().map(|s| s.rounds.len()).collect::<Vec<_>>(), [4, 2, 4]);
        assert_eq!(series[1].error, Some("connection lost".to_owned()));
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
        assert_eq!(series[1].ratio(&series[0], Metric::P50).unwrap().median, 2.0);
        assert_eq!(series[1].ratio(&series[0], Metric::P99), None);
    }
}
