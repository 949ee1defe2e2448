//! Medians, quartiles and ratios of rounds. Pure: numbers in, numbers out, in whatever order.

use std::collections::BTreeMap;

/// The middle of some numbers, and the quarters on either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Returns the spread of these numbers, or `None` if there is none. Numbers that are not finite are left
    /// out.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            low: quantile(&sorted, 1)?,
            median: quantile(&sorted, 2)?,
            high: quantile(&sorted, 3)?,
        })
    }
}

/// Returns a quartile of sorted numbers. Between two numbers it interpolates linearly, as R and NumPy do by
/// default.
fn quantile(sorted: &[f64], quarters: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let (below, part) = (last * quarters / 4, last * quarters % 4);
    let (a, b) = (sorted[below], sorted[(below + 1).min(last)]);
    let part = [0.0, 0.25, 0.5, 0.75][part];
    Some(if part == 0.0 { a } else { a + (b - a) * part })
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    /// Its value at zero.
    pub(crate) start: f64,
    pub(crate) slope: f64,
}

impl Line {
    /// Returns the line with the least squares through these points; `None` with fewer than two different
    /// abscissas.
    pub(crate) fn through(points: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let (mut count, mut x_sum, mut y_sum, mut xx_sum, mut xy_sum) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, y) in points {
            count += 1.0;
            x_sum += x;
            y_sum += y;
            xx_sum += x * x;
            xy_sum += x * y;
        }
        let slope = (count * xy_sum - x_sum * y_sum) / (count * xx_sum - x_sum * x_sum);
        slope.is_finite().then(|| Self { start: (y_sum - slope * x_sum) / count, slope })
    }

    pub(crate) fn at(&self, x: f64) -> f64 {
        self.start + self.slope * x
    }
}

/// A number for each round that was measured.
pub(crate) type ByRound = BTreeMap<u32, f64>;

/// Returns the ratio of one to the other in every round that both have. Noise that lasts longer than a
/// round affects both of them, and cancels out.
pub(crate) fn paired_ratios(of: &ByRound, to: &ByRound) -> Vec<f64> {
    let pairs = of.iter().filter_map(|(round, value)| Some((value, to.get(round)?)));
    pairs.map(|(value, base)| value / base).filter(|ratio| ratio.is_finite()).collect()
}

/// Returns the median of several curves, point by point. A point that fewer than half of them have is left
/// out.
pub(crate) fn median_curve(curves: &[&[(f64, f64)]]) -> Vec<(f64, f64)> {
    // The bits of positive numbers are in the order of the numbers.
    let mut by_x: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (x, y) in curves.iter().copied().flatten().filter(|(x, _)| *x >= 0.0) {
        by_x.entry(x.to_bits()).or_default().push(*y);
    }
    let common = by_x.into_iter().filter(|(_, ys)| ys.len() * 2 >= curves.len());
    common.filter_map(|(x, ys)| Some((f64::from_bits(x), Spread::of(ys)?.median))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spread(values: &[f64]) -> (f64, f64, f64) {
        let spread = Spread::of(values.iter().copied()).unwrap();
        (spread.low, spread.median, spread.high)
    }

    #[test]
    fn a_line_goes_through_its_points_and_between_others() {
        let line = Line::through([(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]).unwrap();
        assert_eq!((line.start, line.slope, line.at(10.0)), (3.0, 2.0, 23.0));
        let line = Line::through([(0.0, 0.0), (0.0, 2.0), (1.0, 1.0)]).unwrap();
        assert_eq!((line.start, line.slope), (1.0, 0.0));
        assert_eq!(Line::through([(1.0, 5.0)]), None);
        assert_eq!(Line::through([(1.0, 5.0), (1.0, 6.0)]), None);
    }

    #[test]
    fn small_sets_are_exact() {
        assert_eq!(spread(&[7.0]), (7.0, 7.0, 7.0));
        assert_eq!(spread(&[1.0, 2.0]), (1.25, 1.5, 1.75));
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.5, 2.0, 2.5));
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), (1.75, 2.5, 3.25));
        assert_eq!(spread(&[5.0, 1.0, 4.0, 2.0, 3.0]), (2.0, 3.0, 4.0));
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn ratios_are_of_rounds_that_both_have() {
        let of = ByRound::from([(1, 6.0), (2, 9.0), (4, 1.0)]);
        let to = ByRound::from([(1, 2.0), (2, 3.0), (3, 1.0), (4, 0.0)]);
        assert_eq!(paired_ratios(&of, &to), [3.0, 3.0]);
    }

    #[test]
    fn noise_that_lasts_longer_than_a_round_cancels_out() {
        let quiet = [10.0, 20.0, 40.0];
        let by_round = |factor: f64| (0..).zip(quiet.map(|value| value * factor)).collect();
        assert_eq!(paired_ratios(&by_round(1.5), &by_round(1.0)), [1.5; 3]);
    }

    #[test]
    fn a_curve_keeps_what_half_of_the_rounds_have() {
        let curves: [&[(f64, f64)]; 3] =
            [&[(50.0, 1.0), (90.0, 5.0)], &[(50.0, 3.0), (90.0, 7.0)], &[(50.0, 2.0), (99.0, 9.0)]];
        assert_eq!(median_curve(&curves), [(50.0, 2.0), (90.0, 6.0)]);
        assert_eq!(median_curve(&[]), []);
    }

    proptest! {
        #[test]
        fn order_makes_no_difference(
            (values, shuffled) in proptest::collection::vec(-1e9..1e9, 1..40)
                .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle()))
        ) {
            prop_assert_eq!(Spread::of(values), Spread::of(shuffled));
        }

        #[test]
        fn quartiles_part_the_numbers(values in proptest::collection::vec(-1e9..1e9, 1..40)) {
            let Spread { low, median, high } = Spread::of(values.clone()).unwrap();
            prop_assert!(low <= median && median <= high);
            let count = |is: &dyn Fn(f64) -> bool| values.iter().filter(|v| is(**v)).count();
            prop_assert!(count(&|v| v <= median) * 2 >= values.len());
            prop_assert!(count(&|v| v >= median) * 2 >= values.len());
            prop_assert!(count(&|v| v <= low) * 4 >= values.len());
            prop_assert!(count(&|v| v >= high) * 4 >= values.len());
        }

        #[test]
        fn ratios_to_itself_are_one(values in proptest::collection::vec(1e-3..1e9, 1..20)) {
            let rounds: ByRound = (0..).zip(values).collect();
            prop_assert!(paired_ratios(&rounds, &rounds).iter().all(|ratio| *ratio == 1.0));
        }
    }
}
