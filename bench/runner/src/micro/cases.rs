//! The lines that a program prints, one for each measurement, as parts and as groups of parts that
//! differ in one number.

use crate::format::whole;
use crate::metric::Metric;
use crate::results::{Contestant, Part, Role, Sample, Series};
use anyhow::Context;
use serde_json::Value;

/// Parts with fewer different numbers than this are bars instead of lines.
const LINE_MIN: usize = 2;

/// Adds the lines that a program has printed, case by case.
///
/// # Errors
///
/// The first line that is no measurement; those before it are added.
pub(super) fn parse(stdout: &str, parts: &mut Vec<Part>) -> anyhow::Result<()> {
    for line in stdout.lines().filter(|line| !line.trim().is_empty()) {
        add(line, parts)?;
    }
    Ok(())
}

fn add(line: &str, parts: &mut Vec<Part>) -> anyhow::Result<()> {
    let json: Value =
        serde_json::from_str(line).with_context(|| format!("not a measurement: {line:?}"))?;
    let text =
        |key: &str| json[key].as_str().with_context(|| format!("no text {key:?} in {line:?}"));
    let value =
        |key: &str| json[key].as_f64().with_context(|| format!("no number {key:?} in {line:?}"));
    let optional = |key: &str| json[key].as_str().map(str::to_owned);
    let title = text("case")?;
    let contestant = Contestant {
        set: optional("set"),
        ..Contestant::new(
            text("contestant")?,
            Role::of_key(text("role")?).with_context(|| format!("no such role in {line:?}"))?,
        )
    };
    let metric = Metric::of_key(text("unit")?);
    let metric = metric.with_context(|| format!("no such unit in {line:?}"))?;
    let (x, value) = (value("x")?, value("value")?);
    let round = json["round"].as_u64().and_then(|round| u32::try_from(round).ok());
    let round = round.with_context(|| format!("no round in {line:?}"))?;

    let at = parts.iter().position(|part| part.title == title).unwrap_or(parts.len());
    if at == parts.len() {
        parts.push(Part { group: optional("group"), x: Some(x), ..Part::new(title, Vec::new()) });
    }
    let series = &mut parts[at].series;
    let place = series.iter().position(|one| one.contestant == contestant);
    let place = place.unwrap_or(series.len());
    if place == series.len() {
        series.push(Series::new(contestant));
    }
    series[place].rounds.insert(round, Sample::of([(metric, value)]));
    Ok(())
}

/// Returns the metric of a part; `None` if it has no round.
pub(super) fn metric_of(part: &Part) -> Option<Metric> {
    let sample = part.series.iter().find_map(|one| one.rounds.values().next())?;
    sample.values.keys().next().copied()
}

/// Returns the header of the part's column, with its unit, in the table of this group.
pub(super) fn header_in(part: &Part, group: &str) -> String {
    let is_member = part.group.as_deref() == Some(group);
    let number = part.x.filter(|_| is_member).map(|x| format!("N = {}", whole(x)));
    let header = number.unwrap_or_else(|| part.title.clone());
    match metric_of(part) {
        Some(Metric::Nanoseconds) => format!("{header}, {}", Metric::Nanoseconds.unit()),
        // The title says what is counted, and that it is a second.
        _ => header,
    }
}

/// Parts that differ in one number, or that belong to no group.
pub(super) struct Group<'a> {
    pub(super) title: String,
    pub(super) parts: Vec<&'a Part>,
    /// `true` if its parts are points of lines.
    pub(super) is_growth: bool,
}

/// Returns the groups that form a line, in the order in which they came; then all other parts together.
/// Parts without a measurement are left out.
pub(super) fn groups(parts: &[Part]) -> Vec<Group<'_>> {
    let mut lines: Vec<Group<'_>> = Vec::new();
    let mut others = Vec::new();
    let size =
        |group: &str| parts.iter().filter(|part| part.group.as_deref() == Some(group)).count();
    for part in parts.iter().filter(|part| metric_of(part).is_some()) {
        match &part.group {
            Some(group) if size(group) >= LINE_MIN => {
                match lines.iter_mut().find(|line| line.title == *group) {
                    Some(line) => line.parts.push(part),
                    None => {
                        let title = group.clone();
                        lines.push(Group { title, parts: vec![part], is_growth: true });
                    }
                }
            }
            _ => others.push(part),
        }
    }
    for line in &mut lines {
        line.parts.sort_by(|a, b| a.x.unwrap_or(0.0).total_cmp(&b.x.unwrap_or(0.0)));
    }
    if !others.is_empty() {
        let title = if lines.is_empty() { "All cases" } else { "Other cases" }.to_owned();
        lines.push(Group { title, parts: others, is_growth: false });
    }
    lines
}

/// Returns a line as the programs print it.
#[cfg(test)]
pub(super) fn line(case: &str, x: u32, contestant: &str, round: u32, value: f64) -> String {
    let group = case.contains(&x.to_string()).then(|| case.replace(&x.to_string(), "N"));
    let line = serde_json::json!({
        "suite": "s", "case": case, "group": group, "x": x, "contestant": contestant,
        "role": "peer", "set": null, "round": round, "unit": "ns", "value": value,
    });
    format!("{line}\n")
}

/// Returns the parts in these lines.
#[cfg(test)]
pub(super) fn parsed(stdout: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    parse(stdout, &mut parts).unwrap();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_parts_in_the_order_in_which_they_come() {
        let text = line("a", 1, "floor", 1, 4.0)
            + &line("a", 1, "any", 1, 5.0)
            + &line("a", 1, "any", 2, 7.0);
        let parts = parsed(&text);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].series[0].contestant.name, "floor");
        assert_eq!(parts[0].series[1].spread(Metric::Nanoseconds).unwrap().median, 6.0);
    }

    #[test]
    fn what_is_no_measurement_is_named() {
        let error = |text: &str| parse(text, &mut Vec::new()).unwrap_err().to_string();
        assert!(error("hello").contains("hello"));
        assert!(error("{\"case\":\"a\"}").contains("contestant"));
        let role = line("a", 1, "floor", 1, 4.0).replace("peer", "judge");
        assert!(error(&role).contains("no such role"));
    }

    #[test]
    fn what_comes_before_it_is_kept() {
        let mut parts = Vec::new();
        parse(&(line("a", 1, "floor", 1, 4.0) + "oops\n"), &mut parts).unwrap_err();
        assert_eq!(parts.len(), 1);
    }

    #[test]
    fn cases_that_differ_in_their_number_are_one_group() {
        let text: String = [1000, 10, 100]
            .map(|n| line(&format!("{n} pairs, some active"), n, "floor", 1, 1.0))
            .concat()
            + &line("one wake", 1, "floor", 1, 1.0);
        let parts = parsed(&text);
        let groups = groups(&parts);
        let found: Vec<_> = groups.iter().map(|g| (g.title.as_str(), g.parts.len())).collect();
        assert_eq!(found, [("N pairs, some active", 3), ("Other cases", 1)]);
        let headers: Vec<_> =
            groups[0].parts.iter().map(|part| header_in(part, &groups[0].title)).collect();
        assert_eq!(headers, ["N = 10, ns", "N = 100, ns", "N = 1 000, ns"]);
        assert_eq!(header_in(groups[1].parts[0], "Other cases"), "one wake, ns");
    }
}
