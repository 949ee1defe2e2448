//! The flags that change one thing about the reference.

use anyhow::{Context, bail};
use epoll_kit_bench_peers::OwnFlags;
use lexopt::{Parser, ValueExt};
use std::fmt::Display;
use std::num::ParseIntError;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Bytes of a read buffer.
const BUFFER_LENS: RangeInclusive<usize> = 1..=1 << 30;

/// Microseconds before a sleep.
const SPINS: RangeInclusive<u64> = 1..=1_000_000;

const NO_BUFFER: &str = "--read-buffer with --splice: what is spliced is read into no buffer";
const ONE_WAIT: &str = "--second-wait with --spin: to spin is to wait a second time already";

/// The differences from the reference.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Experiment {
    pub(crate) way: Way,
    pub(crate) wait: Wait,
}

/// The buffer or pipe that bytes pass through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// A buffer of this length in bytes, or of the usual length.
    Buffer(Option<usize>),
    Pipe,
}

/// The waits with timeout zero that come before a wait that sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Wait {
    #[default]
    AtOnce,
    Twice,
    Spinning(Duration),
}

impl Default for Way {
    fn default() -> Self {
        Self::Buffer(None)
    }
}

impl OwnFlags for Experiment {
    const USAGE: &'static str = "
  --read-buffer BYTES  what one read can bring; 65536 unless given
  --splice             through a pipe in place of a buffer
  --second-wait        before a wait that sleeps, one with timeout zero
  --spin MICROSECONDS  before a wait that sleeps, some with timeout zero for so long";

    fn take(&mut self, name: &str, parser: &mut Parser) -> anyhow::Result<bool> {
        match name {
            "read-buffer" => {
                let len = number(name, parser, BUFFER_LENS)?;
                let Way::Buffer(chosen) = &mut self.way else { bail!(NO_BUFFER) };
                *chosen = Some(len);
            }
            "splice" => {
                let (Way::Buffer(None) | Way::Pipe) = self.way else { bail!(NO_BUFFER) };
                self.way = Way::Pipe;
            }
            "second-wait" => {
                let (Wait::AtOnce | Wait::Twice) = self.wait else { bail!(ONE_WAIT) };
                self.wait = Wait::Twice;
            }
            "spin" => {
                let micros = number(name, parser, SPINS)?;
                let (Wait::AtOnce | Wait::Spinning(_)) = self.wait else { bail!(ONE_WAIT) };
                self.wait = Wait::Spinning(Duration::from_micros(micros));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn number<T>(name: &str, parser: &mut Parser, range: RangeInclusive<T>) -> anyhow::Result<T>
where
    T: FromStr<Err = ParseIntError> + PartialOrd + Display,
{
    let number = parser.value()?.parse().with_context(|| format!("--{name}"))?;
    if !range.contains(&number) {
        bail!("--{name} {number}: expected a number from {} to {}", range.start(), range.end());
    }
    Ok(number)
}
