//! The configuration file while the server runs: read again when a signal asks for it, and taken over as a whole or
//! not at all.

use crate::escape::escaped;
use crate::settings::{Failure, Settings};
use std::fs;
use std::sync::Arc;

/// The settings that are taken over; all others need a restart.
const TAKEN_OVER: [&str; 14] = [
    "max-connections",
    "max-per-peer",
    "max-connection-rate",
    "max-bytes-rate",
    "max-buffered",
    "udp-rate",
    "log",
    "idle-timeout",
    "write-timeout",
    "drain-timeout",
    "drain-delay",
    "linger-timeout",
    "proxy-timeout",
    "restart-timeout",
];

/// The settings of a server that runs.
pub(crate) struct Reload {
    started: Arc<Settings>,
    /// The settings that were loaded last, if they were loaded again.
    last: Option<Settings>,
}

impl Reload {
    /// `started` are the settings that the server has started with.
    pub(crate) fn new(started: Arc<Settings>) -> Self {
        Self { started, last: None }
    }

    /// Returns whether there is a file to read.
    pub(crate) fn has_file(&self) -> bool {
        self.started.file.is_some()
    }

    /// Calls `load` to read all settings again, and `take_over` to take over what can change. Logs what has changed
    /// and what needs a restart. If something is wrong, logs that, and everything stays as it was.
    pub(crate) fn reload<T>(
        &mut self,
        load: impl FnOnce() -> Result<(T, Settings), Failure>,
        take_over: impl FnOnce(&T),
    ) {
        let (values, settings) = match self.load_file(load) {
            Ok(loaded) => loaded,
            Err(error) => return tracing::error!("configuration not reloaded: {error}"),
        };
        take_over(&values);
        let is_taken_over = |name: &&str| TAKEN_OVER.contains(name);
        let before = self.last.as_ref().unwrap_or(&self.started);
        let changed = settings.changed_from(before).into_iter();
        let changed: Vec<_> = changed.filter(is_taken_over).collect();
        tracing::info!(changed = changed.join(", "), "configuration reloaded");
        let waiting = settings.changed_from(&self.started).into_iter();
        let waiting: Vec<_> = waiting.filter(|name| !is_taken_over(name)).collect();
        if !waiting.is_empty() {
            tracing::warn!(changed = waiting.join(", "), "changed settings that need a restart");
        }
        self.last = Some(settings);
    }

    fn load_file<T>(
        &self,
        load: impl FnOnce() -> Result<(T, Settings), Failure>,
    ) -> Result<(T, Settings), String> {
        let Some(path) = self.started.file.as_ref().map(|file| file.path.as_path()) else {
            return Err("there is none".to_owned());
        };
        // A pipe has nothing more to say, which would read as an empty file; another one may never end.
        if fs::metadata(path).is_ok_and(|file| !file.is_file()) {
            return Err(format!("{}: it is not a regular file", escaped(&path.to_string_lossy())));
        }
        load().map_err(|failure| match failure {
            Failure::Wrong(message) => message.trim_start_matches("error: ").to_owned(),
            Failure::Print(error) => error.kind().to_string(),
        })
    }
}
