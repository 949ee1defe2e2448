//! Reads the rounds of a run again.

use crate::conditions::Conditions;
use crate::machine::{Cores, Facts, in_order};
use crate::metric::Metric;
use crate::results::{Contestant, Part, Results, Role, Sample, Series};
use anyhow::Context;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Reads a file of raw rounds.
///
/// # Errors
///
/// The file cannot be read, or something in it is missing or unknown; the message says what.
pub(crate) fn read(path: &Path) -> anyhow::Result<(Conditions, Vec<Results>)> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("failed to read the file of --from {}", path.display()))?;
    let json = serde_json::from_str(&text).map_err(anyhow::Error::from);
    let read = json.and_then(|json: Value| Ok((conditions(&json)?, all_results(&json)?)));
    read.with_context(|| format!("{} is no file of raw rounds", path.display()))
}

fn conditions(json: &Value) -> anyhow::Result<Conditions> {
    let named = |key: &str| -> anyhow::Result<Facts> {
        let pairs = json[key].as_object().with_context(|| format!("no object {key:?}"))?;
        let pair =
            |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        Ok(in_order(pairs.iter().filter_map(pair).collect()))
    };
    let core = |at: usize| json["cores"][at].as_u64().and_then(|core| usize::try_from(core).ok());
    let took =
        Duration::try_from_secs_f64(number(json, "took_s")?).context("a wrong \"took_s\"")?;
    Ok(Conditions {
        facts: named("machine")?,
        versions: named("versions")?,
        is_quick: json["quick"].as_bool().context("no truth value \"quick\"")?,
        cores: Cores(core(0).zip(core(1))),
        congestion: optional(json, "congestion"),
        took,
        incomplete: optional(json, "incomplete"),
    })
}

/// Returns the results suite by suite, in the order of the parts.
fn all_results(json: &Value) -> anyhow::Result<Vec<Results>> {
    let mut all: Vec<Results> = Vec::new();
    for part in array(json, "parts")? {
        let suite = text(part, "suite")?;
        if all.last().is_none_or(|last| last.suite != suite) {
            let notes = json["notes"][&suite].as_array().into_iter().flatten();
            let notes = notes.filter_map(|note| Some(note.as_str()?.to_owned())).collect();
            all.push(Results { notes, ..Results::new(&suite) });
        }
        if let Some(of_suite) = all.last_mut() {
            of_suite.parts.push(read_part(part)?);
        }
    }
    Ok(all)
}

fn read_part(json: &Value) -> anyhow::Result<Part> {
    Ok(Part {
        title: text(json, "title")?,
        group: optional(json, "group"),
        x: json["x"].as_f64(),
        note: optional(json, "note"),
        series: array(json, "contestants")?.iter().map(read_series).collect::<Result<_, _>>()?,
    })
}

fn read_series(json: &Value) -> anyhow::Result<Series> {
    let role = text(json, "role")?;
    let threads = json["threads"].as_u64().and_then(|threads| u32::try_from(threads).ok());
    let contestant = Contestant {
        name: text(json, "contestant")?,
        role: Role::of_key(&role).with_context(|| format!("the unknown role {role:?}"))?,
        threads: threads.context("no number \"threads\"")?,
        set: optional(json, "set"),
    };
    let round = |json: &Value| {
        let round = json["round"].as_u64().and_then(|round| u32::try_from(round).ok());
        anyhow::Ok((round.context("no number \"round\"")?, sample(json)?))
    };
    let rounds = array(json, "rounds")?.iter().map(round).collect::<Result<_, _>>()?;
    Ok(Series { contestant, rounds, error: optional(json, "trouble") })
}

fn sample(json: &Value) -> anyhow::Result<Sample> {
    let mut sample = Sample::default();
    for (key, value) in json["values"].as_object().into_iter().flatten() {
        let metric = Metric::of_key(key).with_context(|| format!("the unknown metric {key:?}"))?;
        sample.values.extend(value.as_f64().map(|value| (metric, value)));
    }
    let points = json["latency_curve"].as_array().into_iter().flatten();
    let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_f64()?));
    sample.curve = points.filter_map(point).collect();
    let calls = json["calls"].as_object().into_iter().flatten();
    sample.calls =
        calls.filter_map(|(name, count)| Some((name.clone(), count.as_f64()?))).collect();
    Ok(sample)
}

fn text(json: &Value, key: &str) -> anyhow::Result<String> {
    optional(json, key).with_context(|| format!("no text {key:?}"))
}

fn optional(json: &Value, key: &str) -> Option<String> {
    json[key].as_str().map(str::to_owned)
}

fn number(json: &Value, key: &str) -> anyhow::Result<f64> {
    json[key].as_f64().with_context(|| format!("no number {key:?}"))
}

fn array<'a>(json: &'a Value, key: &str) -> anyhow::Result<&'a Vec<Value>> {
    json[key].as_array().with_context(|| format!("no list {key:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::writing::JsonSink;
    use super::*;

    fn measured() -> (Conditions, Vec<Results>) {
        let pair = |name: &str| (name.to_owned(), "value".to_owned());
        let conditions = Conditions {
            facts: vec![pair("Date"), pair("Commit"), pair("CPU")],
            versions: vec![pair("tokio"), pair("async-io")],
            is_quick: true,
            cores: Cores(Some((0, 3))),
            congestion: Some("cubic".to_owned()),
            took: Duration::from_millis(1500),
            incomplete: Some("interrupted".to_owned()),
        };
        let sample = Sample {
            curve: vec![(50.0, 1.0)],
            calls: [("read".to_owned(), 1.5)].into(),
            ..Sample::of([(Metric::P50, 4.5), (Metric::CpuXAlone, 2.0)])
        };
        let contestant = Contestant {
            threads: 2,
            set: Some("edge".to_owned()),
            ..Contestant::new("floor", Role::FloorAgain)
        };
        let error = Some("lost".to_owned());
        let series = Series { contestant, rounds: [(3, sample)].into(), error };
        let part = Part {
            group: Some("N".to_owned()),
            x: Some(7.0),
            note: Some("a note".to_owned()),
            ..Part::new("64 B", vec![series])
        };
        let of = |suite: &str| Results {
            parts: vec![part.clone(), part.clone()],
            notes: vec![format!("about {suite}")],
            ..Results::new(suite)
        };
        (conditions, vec![of("echo"), of("wake")])
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.json");
        let (conditions, all) = measured();
        JsonSink::create(&path).unwrap().write(&conditions, &all).unwrap();
        assert_eq!(read(&path).unwrap(), (conditions, all));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.json");
        let error = || format!("{:#}", read(&path).unwrap_err());
        assert!(error().contains("failed to read the file of --from"));
        let (conditions, all) = measured();
        JsonSink::create(&path).unwrap().write(&conditions, &all).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for (from, to, named) in [
            ("floor-again", "judge", "the unknown role \"judge\""),
            ("\"p50_us\"", "\"p51\"", "the unknown metric \"p51\""),
            ("\"took_s\"", "\"took\"", "no number \"took_s\""),
            ("{", "[", "is no file of raw rounds"),
        ] {
            fs::write(&path, text.replace(from, to)).unwrap();
            assert!(error().contains(named), "{}", error());
        }
    }
}
