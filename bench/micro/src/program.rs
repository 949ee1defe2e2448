//! A program from its command line to its end.

use crate::{Options, Report, descriptors};
use lexopt::Parser;
use std::io::{self, Write};
use std::process::ExitCode;

const USAGE: &str = "\
Prints what it measures, one JSON object a line.

  --rounds N  how often every contestant is measured; 15 unless given
  --quick     short measurements, and 3 rounds unless given
  --help      these lines";

/// Reads the command line and measures.
pub fn run(measure: impl FnOnce(&Options, &mut Report<'_>) -> anyhow::Result<()>) -> ExitCode {
    let done = Options::parse(Parser::from_env()).and_then(|options| match options {
        Some(options) => {
            descriptors::raise()?;
            measure(&options, &mut Report::new(&mut io::stdout().lock()))
        }
        None => Ok(writeln!(io::stdout(), "{USAGE}")?),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told that this could not be told.
            let _ = writeln!(io::stderr(), "failed to measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}
