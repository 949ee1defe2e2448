//! The command line of a program, and its end.

use crate::{Report, descriptors};
use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
Prints what it measures, one JSON object a line.

  --rounds N  how often every contestant is measured; 15 unless given
  --quick     short measurements, and 3 rounds unless given
  --help      these lines";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often every contestant is measured.
    pub rounds: NonZeroU32,
    /// About how long one measurement takes.
    pub duration: Duration,
    /// Whether little time is to be taken.
    pub is_quick: bool,
}

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

impl Options {
    /// `None`: help was asked for.
    fn parse(mut parser: Parser) -> anyhow::Result<Option<Self>> {
        let (mut rounds, mut is_quick) = (None, false);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("rounds") => {
                    rounds = Some(parser.value()?.parse().context("--rounds")?);
                }
                Arg::Long("quick") => is_quick = true,
                Arg::Long("help") => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        let (default, millis) = if is_quick { (3, 3) } else { (15, 20) };
        let rounds = rounds.or(NonZeroU32::new(default)).unwrap_or(NonZeroU32::MIN);
        Ok(Some(Self { rounds, duration: Duration::from_millis(millis), is_quick }))
    }
}
