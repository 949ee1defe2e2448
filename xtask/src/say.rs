//! What is printed. Where nobody reads it any more, the work goes on all the same.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

/// A line on stdout.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// A line on stderr.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}
