//! The command line of a program.

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt};
use std::num::NonZeroU32;
use std::time::Duration;

/// The extent of the measuring.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number of times that every contestant is measured.
    pub rounds: NonZeroU32,
    /// About how long one measurement takes.
    pub duration: Duration,
    /// Little time is to be taken.
    pub is_quick: bool,
}

impl Options {
    /// `None`: help was asked for.
    pub(crate) fn parse(mut parser: Parser) -> anyhow::Result<Option<Self>> {
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
