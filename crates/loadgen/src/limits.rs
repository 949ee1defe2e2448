//! How many connections the process can hold: its limit of descriptors, raised as far as it goes.

use crate::plan::Plan;
use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors kept for everything that is not a connection or a thread's epoll: the standard
/// streams, files of `/proc`, and what libraries open for a moment.
const RESERVE: u64 = 24;

/// Raises the soft limit of descriptors to the hard one, and makes sure that the plan fits in.
pub(crate) fn raise_nofile_limit(plan: &Plan) -> anyhow::Result<()> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).context("failed to read RLIMIT_NOFILE")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("failed to raise RLIMIT_NOFILE")?;
    }
    let connections = u64::from(plan.connections) + u64::from(plan.idle);
    let room = room(hard, plan.threads);
    if connections > room {
        bail!(
            "{connections} connections are too many: the limit of {hard} descriptors leaves room for \
             {room}"
        );
    }
    Ok(())
}

/// How many connections fit in: each thread has an epoll besides them.
fn room(descriptors: u64, threads: u32) -> u64 {
    descriptors.saturating_sub(RESERVE + u64::from(threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept() {
        assert_eq!(room(20_000, 2), 20_000 - RESERVE - 2);
        assert_eq!(room(8, 1), 0);
    }
}
