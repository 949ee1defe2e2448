//! Writes the rounds.

use crate::conditions::Conditions;
use crate::results::{Part, Results, Series};
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The file of `--json`, which exists when it is complete.
pub(crate) struct JsonSink {
    path: PathBuf,
    beside: NamedTempFile,
}

impl JsonSink {
    /// Makes sure that the file can be written. Of a link it is the file that it leads to.
    ///
    /// # Errors
    ///
    /// Nothing can be created in its folder, or there is something else than a file: a folder, a device,
    /// a link that leads nowhere.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
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
    pub(crate) fn write(mut self, conditions: &Conditions, all: &[Results]) -> anyhow::Result<()> {
        let failed = || format!("failed to write {}", self.path.display());
        writeln!(self.beside, "{:#}", object(conditions, all)).with_context(failed)?;
        self.beside.persist(&self.path).map_err(|error| error.error).with_context(failed)?;
        Ok(())
    }
}

fn object(conditions: &Conditions, all: &[Results]) -> Value {
    let named = |pairs: &[(String, String)]| -> Value {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(&**value)))
            .collect::<Map<_, _>>()
            .into()
    };
    let notes = all.iter().map(|of_suite| (of_suite.suite.clone(), of_suite.notes.clone().into()));
    let parts =
        all.iter().flat_map(|of_suite| of_suite.parts.iter().map(|one| part(&of_suite.suite, one)));
    json!({
        "machine": named(&conditions.facts),
        "versions": named(&conditions.versions),
        "quick": conditions.is_quick,
        "cores": conditions.cores.0.map(|(server, client)| [server, client]),
        "congestion": conditions.congestion,
        "took_s": conditions.took.as_secs_f64(),
        "incomplete": conditions.incomplete,
        "notes": notes.collect::<Map<String, Value>>(),
        "parts": parts.collect::<Vec<_>>(),
    })
}

fn part(suite: &str, part: &Part) -> Value {
    json!({
        "suite": suite,
        "title": part.title,
        "group": part.group,
        "x": part.x,
        "note": part.note,
        "contestants": part.series.iter().map(series).collect::<Vec<_>>(),
    })
}

fn series(series: &Series) -> Value {
    let rounds = series.rounds.iter().map(|(round, sample)| {
        let values = sample.values.iter();
        let values: Map<_, _> =
            values.map(|(metric, value)| (metric.key().to_owned(), (*value).into())).collect();
        json!({
            "round": round, "values": values, "latency_curve": sample.curve, "calls": sample.calls,
        })
    });
    let contestant = &series.contestant;
    json!({
        "name": contestant.label(),
        "contestant": contestant.name,
        "role": contestant.role.key(),
        "threads": contestant.threads,
        "set": contestant.set,
        "trouble": series.error,
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
        let refused = |name| JsonSink::create(&at(name)).err().expect("a refusal").to_string();
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
        JsonSink::create(&link).unwrap().write(&Conditions::default(), &[]).unwrap();
        assert!(link.is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("\"parts\": []"));
    }
}
