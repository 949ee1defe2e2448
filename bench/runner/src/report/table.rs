//! Tables, and how the rounds of contestants become one.

use super::format::{number, ratio};
use crate::rounds::Series;
use crate::stats::Spread;

/// Rows under a header, without a word about how they are drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// What was measured, and what is to be known about it.
    pub(crate) note: String,
    /// The first is that of the rows' labels.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// What measures it again.
    pub(crate) command: String,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) cells: Vec<Cell>,
    /// Why cells are empty.
    pub(crate) remark: String,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What the others are compared with.
    Reference,
    Ours,
    Other,
}

impl Kind {
    /// By the names that contestants have in every suite.
    pub(crate) fn of(label: &str) -> Self {
        let name = label.split(',').next().unwrap_or_default().trim_end_matches(" again");
        match name {
            "floor" | "redis-server" | "nginx" | "HAProxy" => Self::Reference,
            "level" | "edge" | "one-shot" | "edge-shared" | "epoll-kit" | "epoll-timers" => {
                Self::Ours
            }
            _ => Self::Other,
        }
    }
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

    fn spread(spread: Option<Spread>, show: fn(f64) -> String) -> Self {
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
    Value { header: &'static str, name: &'static str },
    /// Median only, where the quartiles would say nothing more.
    Median { header: &'static str, name: &'static str },
    /// What round 1 found, where the later ones find what it has left.
    First { header: &'static str, name: &'static str },
    /// Median and quartiles of the ratios to the reference within the same round.
    Ratio { header: &'static str, name: &'static str },
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
            Self::Value { name, .. } => Cell::spread(series.spread(name), number),
            Self::Median { name, .. } => {
                Cell::text(series.spread(name).map_or("–".to_owned(), |s| number(s.median)))
            }
            Self::First { name, .. } => {
                let first = series.by_round(name).get(&1).copied();
                Cell::text(first.map_or("–".to_owned(), number))
            }
            // Of the reference it would always be 1.
            Self::Ratio { .. } if series.contestant == base.contestant => {
                Cell::text(if base.rounds.is_empty() { "–" } else { "1" })
            }
            Self::Ratio { name, .. } => Cell::spread(series.ratio(base, name), ratio),
        }
    }
}

/// One column pair of a grid: everybody in one case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) header: String,
    pub(crate) unit: String,
    /// The first is the reference; the figure is named [`VALUE`].
    pub(crate) series: Vec<Series>,
}

/// The name of a figure that stands alone.
pub(crate) const VALUE: &str = "value";

impl Case {
    fn cells(&self, contestant: &str) -> [Cell; 2] {
        let Some(one) = self.series.iter().find(|one| one.contestant == contestant) else {
            return [Cell::text("–"), Cell::text("–")];
        };
        let base = &self.series[0];
        let ratio = if one.contestant == base.contestant {
            Cell::text("1")
        } else {
            Cell::spread(one.ratio(base, VALUE), ratio)
        };
        [Cell::spread(one.spread(VALUE), number), ratio]
    }
}

impl Table {
    /// A row for each contestant, two columns for each case.
    pub(crate) fn grid(title: &str, cases: &[Case]) -> Self {
        let mut columns = vec![String::new()];
        let mut contestants: Vec<&str> = Vec::new();
        for case in cases {
            let base = case.series.first().map_or("", |one| one.contestant.as_str());
            let header = if case.header.ends_with(&case.unit) {
                case.header.clone()
            } else {
                format!("{}, {}", case.header, case.unit)
            };
            columns.extend([header, format!("x {base}")]);
            for one in &case.series {
                if !contestants.contains(&one.contestant.as_str()) {
                    contestants.push(&one.contestant);
                }
            }
        }
        let rows = contestants.into_iter().map(|contestant| Row {
            label: contestant.to_owned(),
            kind: Kind::of(contestant),
            cells: cases.iter().flat_map(|case| case.cells(contestant)).collect(),
            remark: String::new(),
        });
        Self { title: title.to_owned(), rows: rows.collect(), columns, ..Self::default() }
    }

    /// A row for each contestant, of which the first is the reference.
    pub(crate) fn of_rounds(title: &str, series: &[Series], columns: &[Column]) -> Self {
        let headers = columns.iter().map(|column| column.header().to_owned());
        let rows = series.iter().map(|one| Row {
            label: one.contestant.clone(),
            kind: Kind::of(&one.contestant),
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

    /// Whether any row has something to explain.
    pub(crate) fn has_remarks(&self) -> bool {
        self.rows.iter().any(|row| !row.remark.is_empty())
    }
}

/// What became of a contestant, if it is not in every round.
pub(crate) fn remark(series: &Series) -> String {
    let Some(message) = &series.trouble else { return String::new() };
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
    use crate::rounds::Sample;
    use std::collections::BTreeMap;

    fn series(contestant: &str, values: &[f64]) -> Series {
        let sample = |value: &f64| Sample {
            values: BTreeMap::from([("x".to_owned(), *value)]),
            curve: Vec::new(),
        };
        let rounds = (1..).zip(values.iter().map(sample)).collect();
        Series { contestant: contestant.to_owned(), rounds, trouble: None }
    }

    const COLUMNS: [Column; 2] =
        [Column::Value { header: "x", name: "x" }, Column::Ratio { header: "times", name: "x" }];

    #[test]
    fn a_row_has_the_median_the_quartiles_and_the_ratio() {
        let all = [series("floor", &[10.0, 20.0, 30.0]), series("edge", &[20.0, 20.0, 60.0])];
        let table = Table::of_rounds("t", &all, &COLUMNS);
        assert_eq!(table.columns, ["", "x", "times"]);
        assert_eq!(table.rows[0].cells[1].main, "1");
        assert_eq!(table.rows[1].kind, Kind::Ours);
        let cell = &table.rows[1].cells[0];
        assert_eq!((cell.main.as_str(), cell.aside.as_str()), ("20.0", "(20.0–40.0)"));
        let cell = &table.rows[1].cells[1];
        assert_eq!((cell.main.as_str(), cell.aside.as_str()), ("2.00", "(1.50–2.00)"));
        assert!(!table.has_remarks());
    }

    #[test]
    fn a_grid_has_two_columns_for_each_case() {
        let case = |header: &str, unit: &str, series| Case {
            header: header.to_owned(),
            unit: unit.to_owned(),
            series,
        };
        let named = |contestant, value: f64| {
            let mut series = series(contestant, &[]);
            let values = BTreeMap::from([(VALUE.to_owned(), value)]);
            series.rounds.insert(1, Sample { values, curve: Vec::new() });
            series
        };
        let cases = [
            case("10", "ns", vec![named("floor", 2.0), named("poll", 6.0)]),
            case("wakes a second", "a second", vec![named("floor", 5.0)]),
        ];
        let table = Table::grid("t", &cases);
        assert_eq!(table.columns, ["", "10, ns", "x floor", "wakes a second", "x floor"]);
        let shown: Vec<_> = table.rows[1].cells.iter().map(|c| c.main.as_str()).collect();
        assert_eq!(shown, ["6.00", "3.00", "–", "–"]);
    }

    #[test]
    fn the_first_round_is_round_1_or_none() {
        let column = Column::First { header: "x", name: "x" };
        let mut one = series("floor", &[10.0, 20.0]);
        assert_eq!(column.cell(&one, &one).main, "10.0");
        one.rounds.remove(&1);
        assert_eq!(column.cell(&one, &one).main, "–");
    }

    #[test]
    fn a_row_without_rounds_says_why() {
        let mut lost = series("mio", &[]);
        lost.trouble = Some("connection lost".to_owned());
        let table = Table::of_rounds("t", &[series("floor", &[1.0]), lost], &COLUMNS);
        assert_eq!(table.rows[1].cells[0].main, "–");
        assert_eq!(table.rows[1].remark, "failed: connection lost");
        assert!(table.has_remarks());
    }

    #[test]
    fn names_tell_what_a_row_stands_for() {
        assert_eq!(Kind::of("floor again"), Kind::Reference);
        assert_eq!(Kind::of("one-shot, 2 threads"), Kind::Ours);
        assert_eq!(Kind::of("edge-shared"), Kind::Ours);
        assert_eq!(Kind::of("nginx again"), Kind::Reference);
        assert_eq!(Kind::of("tokio"), Kind::Other);
    }
}
