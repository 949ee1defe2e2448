//! All rounds as they were measured, for other programs.
//!
//! They are written to a file beside the one that was asked for, which takes its place at the end: who
//! reads that finds the old one or the whole new one.

use crate::report::Report;
use crate::rounds::Series;
use crate::suites::Part;
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The file of `--json`, which exists when it is complete.
pub(crate) struct File {
    path: PathBuf,
    beside: NamedTempFile,
}

impl File {
    /// Makes sure that it can be written.
    ///
    /// # Errors
    ///
    /// Nothing can be created in its folder, or it is a folder itself.
    pub(crate) fn beside(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("failed to create the file of --json {}", path.display());
        if path.is_dir() {
            bail!("{}: it is a folder", failed());
        }
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let mut builder = tempfile::Builder::new();
        // As any other file, less what the umask takes away.
        builder.prefix(".bench-").suffix(".json").permissions(Permissions::from_mode(0o666));
        let beside = builder.tempfile_in(folder.unwrap_or(Path::new("."))).with_context(failed)?;
        Ok(Self { path: path.to_owned(), beside })
    }

    /// Writes all rounds as one JSON object, and puts the file in its place.
    ///
    /// # Errors
    ///
    /// What writing fails with; the message names the file.
    pub(crate) fn write(mut self, report: &Report, parts: &[Part]) -> anyhow::Result<()> {
        let failed = || format!("failed to write {}", self.path.display());
        writeln!(self.beside, "{:#}", object(report, parts)).with_context(failed)?;
        self.beside.persist(&self.path).map(drop).with_context(failed)
    }
}

fn object(report: &Report, parts: &[Part]) -> Value {
    let named = |pairs: &mut dyn Iterator<Item = (String, String)>| -> Value {
        pairs.map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>().into()
    };
    let facts = &mut report.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    json!({
        "machine": named(facts),
        "versions": named(&mut report.versions.iter().cloned()),
        "quick": report.is_quick,
        "parts": parts.iter().map(part).collect::<Vec<_>>(),
    })
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
        "trouble": series.trouble,
        "rounds": rounds.collect::<Vec<_>>(),
    })
}
