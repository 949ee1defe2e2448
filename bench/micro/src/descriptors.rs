//! The limit of open descriptors.

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Write};

/// Descriptors reserved for the standard streams, the loops and those that libraries keep open.
const OTHERS: u64 = 64;

/// Raises the descriptor limit of this process to its hard limit: a shell's soft limit is too low.
pub(crate) fn raise() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("failed to raise the limit of descriptors")
}

/// Returns whether `count` more descriptors can be opened. If not, prints that `case` is left out.
pub(crate) fn suffice(count: usize, case: &str) -> bool {
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let suffice = count as u64 + OTHERS <= available;
    if !suffice {
        // A note; what is measured does not depend on it.
        let _ = writeln!(io::stderr(), "left out: {case}: only {available} descriptors");
    }
    suffice
}
