//! How many descriptors there may be.

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Write};

/// Those of the standard streams, of the loops and of what libraries keep open.
const OTHERS: u64 = 64;

/// As many as the system allows, not as many as a shell does.
pub(crate) fn raise() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("failed to raise the limit of descriptors")
}

/// Whether there may be `count` more. Where not, says what is left out.
pub(crate) fn suffice(count: usize, case: &str) -> bool {
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let suffice = count as u64 + OTHERS <= available;
    if !suffice {
        // A note; what is measured does not depend on it.
        let _ = writeln!(io::stderr(), "left out: {case}: only {available} descriptors");
    }
    suffice
}
