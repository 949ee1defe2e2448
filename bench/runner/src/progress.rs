//! The progress of a run: one line that changes on a terminal, one line for each part elsewhere.

use crate::plan::{PlanEntry, clock};
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// The progress line on stderr.
pub(crate) struct Progress {
    start: Instant,
    total: Duration,
    is_terminal: bool,
}

impl Progress {
    /// Begins now.
    pub(crate) fn new(entries: &[PlanEntry]) -> Self {
        Self {
            start: Instant::now(),
            total: entries.iter().map(|entry| entry.estimate).sum(),
            is_terminal: stderr().is_terminal(),
        }
    }

    /// Shows that a part of the plan begins.
    pub(crate) fn begin(&self, entry: &PlanEntry) {
        if !self.is_terminal {
            self.say(&format!("{}: {}", entry.suite, entry.title));
        }
    }

    /// Shows what is being measured.
    pub(crate) fn at(&self, entry: &PlanEntry, what: &str) {
        if self.is_terminal {
            // To the start of the line, and clear what the last one leaves behind.
            self.say(&format!("\r\x1b[K{}: {}: {what}", entry.suite, entry.title));
        }
    }

    /// Clears the line, because a result is about to be printed.
    pub(crate) fn clear(&self) {
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn say(&self, text: &str) {
        let (elapsed, total) = (clock(self.start.elapsed()), clock(self.total));
        let end = if self.is_terminal { "" } else { "\n" };
        // Nobody may be reading.
        let _ = write!(stderr(), "{text}  [{elapsed} of about {total}]{end}");
        let _ = stderr().flush();
    }
}
