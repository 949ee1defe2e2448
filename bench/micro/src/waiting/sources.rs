//! Eventfds, and what is expected of those that are ready.

use anyhow::ensure;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use std::io;
use std::os::fd::OwnedFd;

/// Eventfds, each with an index.
pub(crate) struct Sources {
    fds: Vec<OwnedFd>,
}

/// The sources that were read in one round, to be compared with those that were made ready.
pub(crate) struct Tally<'a> {
    sources: &'a Sources,
    /// The number of ready sources, and the sum of the values written to them.
    expected: (u64, u64),
    found: (u64, u64),
}

impl Sources {
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let source = |_| Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        Ok(Self { fds: (0..count).map(source).collect::<io::Result<_>>()? })
    }

    pub(crate) fn fds(&self) -> &[OwnedFd] {
        &self.fds
    }

    /// Makes `active` of them ready, evenly spread: others in each round.
    pub(crate) fn make_ready(&self, active: usize, round: u64) -> io::Result<Tally<'_>> {
        let offset = usize::try_from(round).unwrap_or_default() % self.fds.len();
        let mut expected = (0, 0);
        for number in 0..active {
            let index = (number * self.fds.len() / active + offset) % self.fds.len();
            let value = index as u64 + 1;
            write(&self.fds[index], &value.to_ne_bytes())?;
            expected.0 += 1;
            expected.1 += value;
        }
        Ok(Tally { sources: self, expected, found: (0, 0) })
    }
}

impl Tally<'_> {
    /// Reads the source with this index.
    #[inline]
    pub(crate) fn take(&mut self, index: usize) -> io::Result<()> {
        let mut value = [0; 8];
        read(&self.sources.fds[index], &mut value)?;
        self.found.0 += 1;
        self.found.1 += u64::from_ne_bytes(value);
        Ok(())
    }

    /// Checks that each was found.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let (found, expected) = (self.found, self.expected);
        ensure!(found == expected, "{found:?} found, number and sum; {expected:?} expected");
        Ok(())
    }
}
