//! Tables, and how the rounds of contestants become one.

use crate::format::{number, ratio};
use crate::metric::Metric;
use crate::results::{Contestant, Role, Series};
use crate::stats::Spread;

/// Rows under a header, without a word about how they are drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// The measurement in a sentence, and what to know about it.
    pub(crate) note: String,
    /// The first is that of the rows' labels.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// The command that measures it again.
    pub(crate) command: String,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) role: Role,
    pub(crate) cells: Vec<Cell>,
    /// The reason for empty cells.
    pub(crate) remark: String,
}

/// A figure and what stands behind it in smaller print.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) main: String,
    pub(crate) aside: String,
}

impl Cell {
    pub(crate) fn text(main: impl Into<String>) -> Self {
        Self { main: main.into(), aside: String::new() }
    }

    pub(crate) fn spread(spread: Option<Spread>, show: fn(f64) -> String) -> Self {
        let Some(Spread { low, median, high }) = spread else { return Self::text("–") };
        let (low, median, high) = (show(low), show(median), show(high));
        let aside = if low == high { String::new() } else { format!("({low}–{high})") };
        Self { main: median, aside }
    }
}

/// A column of a table of rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Median and quartiles of a figure.
    Value { header: &'static str, metric: Metric },
    /// Median only, where the quartiles would say nothing more.
    Median { header: &'static str, metric: Metric },
    /// The value of round 1, where later rounds find what it has left.
    First { header: &'static str, metric: Metric },
    /// Median and quartiles of the ratios to the reference within the same round.
    Ratio { header: &'static str, metric: Metric },
}

impl Column {
    fn header(&self) -> &'static str {
        match self {
            Self::Value { header, .. }
            | Self::Median { header, .. }
            | Self::First { header, .. }
            | Self::Ratio { header, .. } => header,
        }
    }

    fn cell(&self, series: &Series, base: &Series) -> Cell {
        match self {
            Self::Value { metric, .. } => Cell::spread(series.spread(*metric), number),
            Self::Median { metric, .. } => {
                Cell::text(series.spread(*metric).map_or("–".to_owned(), |s| number(s.median)))
            }
            Self::First { metric, .. } => {
                let first = series.by_round(*metric).get(&1).copied();
                Cell::text(first.map_or("–".to_owned(), number))
            }
            // Of the reference it would always be 1.
            Self::Ratio { .. } if series.contestant == base.contestant => {
                Cell::text(if base.rounds.is_empty() { "–" } else { "1" })
            }
            Self::Ratio { metric, .. } => Cell::spread(series.ratio(base, *metric), ratio),
        }
    }
}

/// One column pair of a grid: everybody in one case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The quantity that was measured, with its unit.
    pub(crate) header: String,
    pub(crate) metric: Metric,
    /// The measurements, that of the reference first.
    pub(crate) series: Vec<Series>,
}

impl Case {
    fn cells(&self, contestant: &Contestant) -> [Cell; 2] {
        let Some(one) = self.series.iter().find(|one| one.contestant == *contestant) else {
            return [Cell::text("–"), Cell::text("–")];
        };
        let base = &self.series[0];
        let ratio = if one.contestant == base.contestant {
            Cell::text("1")
        } else {
            Cell::spread(one.ratio(base, self.metric), ratio)
        };
        [Cell::spread(one.spread(self.metric), number), ratio]
    }
}

impl Table {
    /// Makes a table with a row for each contestant and two columns for each case.
    pub(crate) fn grid(title: &str, cases: &[Case]) -> Self {
        let mut columns = vec![String::new()];
        let mut contestants: Vec<&Contestant> = Vec::new();
        for case in cases {
            let base = case.series.first().map_or_else(String::new, |one| one.contestant.label());
            columns.extend([case.header.clone(), format!("x {base}")]);
            for one in &case.series {
                if !contestants.contains(&&one.contestant) {
                    contestants.push(&one.contestant);
                }
            }
        }
        let rows = contestants.into_iter().map(|contestant| Row {
            label: contestant.label(),
            role: contestant.role,
            cells: cases.iter().flat_map(|case| case.cells(contestant)).collect(),
            remark: String::new(),
        });
        Self { title: title.to_owned(), rows: rows.collect(), columns, ..Self::default() }
    }

    /// Makes a table with a row for each contestant. The first one is the reference.
    pub(crate) fn of_rounds(title: &str, series: &[Series], columns: &[Column]) -> Self {
        let headers = columns.iter().map(|column| column.header().to_owned());
        let rows = series.iter().map(|one| Row {
            label: one.contestant.label(),
            role: one.contestant.role,
            cells: columns.iter().map(|column| column.cell(one, &series[0])).collect(),
            remark: remark(one),
        });
        Self {
            title: title.to_owned(),
            columns: std::iter::once(String::new()).chain(headers).collect(),
            rows: rows.collect(),
            ..Self::default()
        }
    }

    /// Returns whether any row has something to explain.
    pub(crate) fn has_remarks(&self) -> bool {
        self.rows.iter().any(|row| !row.remark.is_empty())
    }
}

/// Returns the fate of a contestant that is not in every round.
pub(crate) fn remark(series: &Series) -> String {
    let Some(message) = &series.error else { return String::new() };
    let after = match series.rounds.len() {
        0 => String::new(),
        1 => " (after 1 round)".to_owned(),
        rounds => format!(" (after {rounds} rounds)"),
    };
    format!("failed: {message}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Sample;

    fn series(name: &str, role: Role, values: &[f64]) -> Series {
        let samples = values.iter().map(|value| Sample::of([(Metric::P50, *value)]));
        Series { rounds: (1..).zip(samples).collect(), ..Series::new(Contestant::new(name, role)) }
    }

    const COLUMNS: [Column; 2] = [
        Column::Value { header: "x", metric: Metric::P50 },
        Column::Ratio { header: "times", metric: Metric::P50 },
    ];

    #[test]
    fn a_row_has_the_median_the_quartiles_and_the_ratio() {
        let all = [
            series("floor", Role::Floor, &[10.0, 20.0, 30.0]),
            series("edge", Role::Ours, &[20.0, 20.0, 60.0]),
        ];
        let table = Table::of_rounds("t", &all, &COLUMNS);
        assert_eq!(table.columns, ["", "x", "times"]);
        assert_eq!(table.rows[0].cells[1].main, "1");
        assert_eq!(table.rows[1].role, Role::Ours);
        let cell = &table.rows[1].cells[0];
        assert_eq!((cell.main.as_str(), cell.aside.as_str()), ("20.0", "(20.0–40.0)"));
        let cell = &table.rows[1].cells[1];
        assert_eq!((cell.main.as_str(), cell.aside.as_str()), ("2.00", "(1.50–2.00)"));
        assert!(!table.has_remarks());
    }

    #[test]
    fn a_grid_has_two_columns_for_each_case() {
        let case =
            |header: &str, series| Case { header: header.to_owned(), metric: Metric::P50, series };
        let floor = |value| series("floor", Role::Floor, &[value]);
        let cases = [
            case("10, µs", vec![floor(2.0), series("poll", Role::Peer, &[6.0])]),
            case("wakes a second", vec![floor(5.0)]),
        ];
        let table = Table::grid("t", &cases);
        assert_eq!(table.columns, ["", "10, µs", "x floor", "wakes a second", "x floor"]);
        let shown: Vec<_> = table.rows[1].cells.iter().map(|c| c.main.as_str()).collect();
        assert_eq!(shown, ["6.00", "3.00", "–", "–"]);
    }

    #[test]
    fn the_first_round_is_round_1_or_none() {
        let column = Column::First { header: "x", metric: Metric::P50 };
        let mut one = series("floor", Role::Floor, &[10.0, 20.0]);
        assert_eq!(column.cell(&one, &one).main, "10.0");
        one.rounds.remove(&1);
        assert_eq!(column.cell(&one, &one).main, "–");
    }

    #[test]
    fn a_row_without_rounds_says_why() {
        let mut lost = series("mio", Role::Peer, &[]);
        lost.error = Some("connection lost".to_owned());
        let table = Table::of_rounds("t", &[series("floor", Role::Floor, &[1.0]), lost], &COLUMNS);
        assert_eq!(table.rows[1].cells[0].main, "–");
        assert_eq!(table.rows[1].remark, "failed: connection lost");
        assert!(table.has_remarks());
    }
}
