//! How many connections the process can hold: its limit of descriptors, raised as far as it goes,
//! less a reserve.

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::num::NonZeroU32;

/// Descriptors kept for everything that is not a connection: the standard streams, the reactor, the
/// listeners, their spare descriptors, the statistics file, and what libraries open for a moment.
const RESERVE: u64 = 24;

/// Raises the soft limit of descriptors to the hard one and returns it.
pub(crate) fn raise_descriptors() -> anyhow::Result<u64> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).context("failed to read RLIMIT_NOFILE")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("failed to raise RLIMIT_NOFILE")?;
    }
    Ok(hard)
}

/// The most connections at once: what was asked for, or what the descriptors allow.
pub(crate) fn connections_max(
    asked: Option<NonZeroU32>,
    descriptors: u64,
    listeners: usize,
) -> u64 {
    // A listener takes a descriptor and a spare one.
    let reserve = RESERVE + 2 * listeners as u64;
    let room = descriptors.saturating_sub(reserve).max(1);
    match asked {
        None => room,
        Some(asked) => {
            let asked = u64::from(asked.get());
            if asked > room {
                tracing::warn!(
                    asked,
                    descriptors,
                    room,
                    "--max-connections exceeds the descriptors"
                );
            }
            asked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept() {
        assert_eq!(connections_max(None, 20_000, 1), 20_000 - RESERVE - 2);
        assert_eq!(connections_max(None, 8, 4), 1);
    }

    #[test]
    fn what_was_asked_for_holds() {
        assert_eq!(connections_max(NonZeroU32::new(7), 20_000, 1), 7);
        assert_eq!(connections_max(NonZeroU32::new(500), 64, 1), 500);
    }
}
