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
    /// Makes sure that it can be written. Of a link it is the file that it leads to.
    ///
    /// # Errors
    ///
    /// Nothing can be created in its folder, or there is something else than a file: a folder, a device,
    /// a link that leads nowhere.
    pub(crate) fn beside(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("failed to create the file of --json {}", path.display());
        let path = &match path.canonicalize() {
            Ok(path) => path,
            Err(_) if path.is_symlink() => bail!("{}: it is a link to nothing", failed()),
            Err(_) => path.to_owned(),
        };
        if path.exists() && !path.is_file() {
            bail!("{}: it is no regular file", failed());
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
        self.beside.persist(&self.path).map_err(|error| error.error).with_context(failed)?;
        Ok(())
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
        "unit": part.unit,
        "x": part.x,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name| folder.path().join(name);
        let refused = |name| File::beside(&at(name)).err().expect("a refusal").to_string();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        symlink(at("nowhere"), at("link")).unwrap();
        assert!(refused("socket").ends_with("/socket: it is no regular file"));
        assert!(refused("").ends_with("it is no regular file"));
        assert!(refused("link").ends_with("/link: it is a link to nothing"));
    }

    #[test]
    fn a_link_stays_and_its_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [real, link] = ["real", "link"].map(|name| folder.path().join(name));
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        let report = Report {
            facts: Vec::new(),
            versions: Vec::new(),
            is_quick: true,
            sections: Vec::new(),
            took: std::time::Duration::ZERO,
        };
        File::beside(&link).unwrap().write(&report, &[]).unwrap();
        assert!(link.is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("\"parts\": []"));
    }
}
