//! All rounds as they were measured, for other programs.

use crate::report::Report;
use crate::rounds::Series;
use crate::suites::Part;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::Write;

/// Writes them as one JSON object.
///
/// # Errors
///
/// What writing to the file fails with.
pub(crate) fn write(file: &mut File, report: &Report, parts: &[Part]) -> std::io::Result<()> {
    let named = |pairs: &mut dyn Iterator<Item = (String, String)>| -> Value {
        pairs.map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>().into()
    };
    let facts = &mut report.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let json = json!({
        "machine": named(facts),
        "versions": named(&mut report.versions.iter().cloned()),
        "quick": report.is_quick,
        "parts": parts.iter().map(part).collect::<Vec<_>>(),
    });
    writeln!(file, "{json:#}")
}

fn part(part: &Part) -> Value {
    json!({
        "suite": part.suite,
        "title": part.title,
        "contestants": part.series.iter().map(series).collect::<Vec<_>>(),
    })
}

fn series(series: &Series) -> Value {
    let rounds = series.rounds.iter().map(|(round, sample)| {
        json!({ "round": round, "values": sample.values, "latency_curve": sample.curve })
    });
    json!({
        "name": series.contestant,
        "trouble": series.trouble.as_ref().map(crate::rounds::Trouble::message),
        "rounds": rounds.collect::<Vec<_>>(),
    })
}
