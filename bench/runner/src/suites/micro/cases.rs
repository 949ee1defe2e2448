//! What a program prints, a line for each measurement, as cases and as groups of cases that differ in
//! one number.

use crate::report::{Case, VALUE, whole};
use crate::rounds::{Sample, Series};
use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeMap;

/// Cases with fewer different numbers than this are bars instead of lines.
const LINE_MIN: usize = 2;

/// All rounds of one case.
#[derive(Debug)]
pub(super) struct MicroCase {
    pub(super) name: String,
    pub(super) x: f64,
    pub(super) unit: String,
    /// In the order in which the program prints them: the reference first.
    pub(super) series: Vec<Series>,
}

impl MicroCase {
    /// Its name without what the title of the group says already.
    pub(super) fn as_column(&self, group: &str) -> Case {
        let is_member = generic(&self.name, self.x).is_some_and(|name| name == group);
        let header = if is_member { format!("N = {}", whole(self.x)) } else { self.name.clone() };
        Case { header, unit: self.unit.clone(), series: self.series.clone() }
    }
}

/// Adds the lines that a program has printed, case by case.
///
/// # Errors
///
/// The first line that is no measurement; those before it are added.
pub(super) fn parse(stdout: &str, cases: &mut Vec<MicroCase>) -> anyhow::Result<()> {
    for line in stdout.lines().filter(|line| !line.trim().is_empty()) {
        let json: Value =
            serde_json::from_str(line).with_context(|| format!("not a measurement: {line:?}"))?;
        let text =
            |key: &str| json[key].as_str().with_context(|| format!("no text {key:?} in {line:?}"));
        let value = |key: &str| {
            json[key].as_f64().with_context(|| format!("no number {key:?} in {line:?}"))
        };
        let (name, contestant) = (text("case")?, text("contestant")?);
        let at = cases.iter().position(|case| case.name == name).unwrap_or(cases.len());
        if at == cases.len() {
            let (name, unit) = (name.to_owned(), unit(text("unit")?));
            cases.push(MicroCase { name, x: value("x")?, unit, series: Vec::new() });
        }
        let series = &mut cases[at].series;
        let place = series.iter().position(|one| one.contestant == contestant);
        let place = place.unwrap_or(series.len());
        if place == series.len() {
            series.push(Series::new(contestant));
        }
        let round = json["round"].as_u64().and_then(|round| u32::try_from(round).ok());
        let round = round.with_context(|| format!("no round in {line:?}"))?;
        let values = BTreeMap::from([(VALUE.to_owned(), value("value")?)]);
        series[place].rounds.insert(round, Sample { values, curve: Vec::new() });
    }
    Ok(())
}

/// The cases in these lines.
#[cfg(test)]
pub(super) fn parsed(stdout: &str) -> Vec<MicroCase> {
    let mut cases = Vec::new();
    parse(stdout, &mut cases).unwrap();
    cases
}

/// As people write it.
fn unit(name: &str) -> String {
    if name == "per_s" { "a second" } else { name }.to_owned()
}

/// Cases that differ in one number.
pub(super) struct Group {
    pub(super) title: String,
    pub(super) cases: Vec<MicroCase>,
}

impl Group {
    /// Whether its cases are points of lines.
    pub(super) fn is_growth(&self) -> bool {
        self.cases.len() >= LINE_MIN && self.title.contains('N')
    }
}

/// Those that form a line first, in the order in which they came; all others together.
pub(super) fn groups(cases: Vec<MicroCase>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for case in cases {
        let title = generic(&case.name, case.x).unwrap_or_else(|| case.name.clone());
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => group.cases.push(case),
            None => groups.push(Group { title, cases: vec![case] }),
        }
    }
    let (mut lines, others): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|group| group.cases.len() >= LINE_MIN);
    for group in &mut lines {
        group.cases.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    if !others.is_empty() {
        let title = if lines.is_empty() { "All cases" } else { "Other cases" }.to_owned();
        lines.push(Group {
            title,
            cases: others.into_iter().flat_map(|group| group.cases).collect(),
        });
    }
    lines
}

/// The name of a case with N in the place of its number.
fn generic(name: &str, x: f64) -> Option<String> {
    let grouped = whole(x);
    let plain = grouped.replace(' ', "");
    [grouped, plain].into_iter().find_map(|shown| {
        let (at, _) = name.match_indices(&shown).find(|(at, shown)| {
            let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            let (before, after) = (&name[..*at], &name[at + shown.len()..]);
            !is_digit(before.chars().next_back()) && !is_digit(after.chars().next())
        })?;
        Some(format!("{}N{}", &name[..at], &name[at + shown.len()..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::micro::line;

    #[test]
    fn lines_become_cases_in_the_order_in_which_they_come() {
        let text = line("a", 1, "floor", 1, 4.0)
            + &line("a", 1, "any", 1, 5.0)
            + &line("a", 1, "any", 2, 7.0);
        let cases = parsed(&text);
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].series[0].contestant, "floor");
        assert_eq!(cases[0].series[1].spread(VALUE).unwrap().median, 6.0);
    }

    #[test]
    fn what_is_no_measurement_is_named() {
        let error = |text: &str| parse(text, &mut Vec::new()).unwrap_err().to_string();
        assert!(error("hello").contains("hello"));
        assert!(error("{\"case\":\"a\"}").contains("contestant"));
    }

    #[test]
    fn what_comes_before_it_is_kept() {
        let mut cases = Vec::new();
        parse(&(line("a", 1, "floor", 1, 4.0) + "oops\n"), &mut cases).unwrap_err();
        assert_eq!(cases.len(), 1);
    }

    #[test]
    fn cases_that_differ_in_their_number_are_one_group() {
        let text: String = [10, 100, 1000]
            .map(|n| line(&format!("{n} pairs, 10 active"), n, "floor", 1, 1.0))
            .concat()
            + &line("one wake", 1, "floor", 1, 1.0);
        let groups = groups(parsed(&text));
        let found: Vec<_> = groups.iter().map(|g| (g.title.as_str(), g.cases.len())).collect();
        assert_eq!(found, [("N pairs, 10 active", 3), ("Other cases", 1)]);
    }

    #[test]
    fn a_number_is_found_as_a_whole() {
        assert_eq!(generic("100 of 1000", 1000.0).as_deref(), Some("100 of N"));
        assert_eq!(generic("10 000 descriptors", 10_000.0).as_deref(), Some("N descriptors"));
        assert_eq!(generic("wake", 1.0), None);
    }
}
