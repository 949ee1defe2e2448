//! The statistics that a server writes at its end. The parts of its threads add up, or they are none.

use super::Launch;
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The file that a server writes its statistics to.
pub(crate) struct Stats {
    folder: TempDir,
    path: PathBuf,
}

/// The statistics that are the largest of the threads' values, not their sum.
const MAXIMA: [&str; 2] = ["longest_s", "batch_max"];

impl Stats {
    #[track_caller]
    pub(crate) fn of(launch: Launch) -> (Launch, Self) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stats.json");
        (launch.flag("--stats-json", &path), Self { folder, path })
    }

    /// Returns the folder of the file.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Reads the statistics as they are now.
    #[track_caller]
    pub(crate) fn read_any(&self) -> Value {
        let text = fs::read_to_string(&self.path).expect("statistics");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Reads the statistics of a server that has ended.
    #[track_caller]
    pub(crate) fn read(&self) -> Value {
        let all = self.read_any();
        let threads = all["threads"].as_array().expect("threads");
        for part in ["connections", "accept", "reactor"] {
            let parts = threads.iter().map(|thread| &thread[part]);
            assert_eq!(all[part], sum(parts), "{part} of: {all:#}");
        }
        let opened = all["connections"]["opened"].as_u64();
        let ended = all["connections"]["closed"].as_object().expect("reasons").values();
        let ended: Option<u64> = ended.map(Value::as_u64).sum();
        assert_eq!(opened, ended, "not every connection has ended once: {all:#}");
        all
    }
}

/// Adds objects up, name by name.
#[track_caller]
fn sum<'a>(parts: impl Iterator<Item = &'a Value>) -> Value {
    let mut sum = Map::new();
    for part in parts {
        for (name, value) in part.as_object().expect("an object") {
            let before = sum.remove(name).unwrap_or(Value::Null);
            let both = match (value.as_u64(), before.as_u64()) {
                (None, _) if before.is_null() => value.clone(),
                (None, _) => self::sum([&before, value].into_iter()),
                (Some(more), None) => more.into(),
                (Some(more), Some(before)) if MAXIMA.contains(&name.as_str()) => {
                    more.max(before).into()
                }
                (Some(more), Some(before)) => (more + before).into(),
            };
            sum.insert(name.clone(), both);
        }
    }
    Value::Object(sum)
}

/// Returns the number of connections that were closed for this reason.
pub(crate) fn closed(stats: &Value, reason: &str) -> u64 {
    stats["connections"]["closed"][reason].as_u64().unwrap_or(0)
}
