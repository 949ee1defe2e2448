//! Lines on stdout and stderr. If nobody reads them, the run goes on.

use std::io::{Write, stderr, stdout};

/// Prints to stdout, with a line end.
pub(crate) fn print_line(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// Prints a warning or an error to stderr.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(stderr(), "bench: {text}");
}
