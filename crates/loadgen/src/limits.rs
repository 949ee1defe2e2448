//! The limit of descriptors, which bounds the number of connections.

use crate::plan::Plan;
use anyhow::Context;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Descriptors that are reserved for everything but connections and epoll instances: the standard streams,
/// files of `/proc`, and descriptors that libraries open for a moment.
const RESERVE: u64 = 24;

/// Raises the soft limit of descriptors to the hard one, and checks that the plan fits.
pub(crate) fn raise_nofile_limit(plan: &Plan) -> anyhow::Result<()> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).context("failed to read RLIMIT_NOFILE")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("failed to raise RLIMIT_NOFILE")?;
    }
    let connections = u64::from(plan.connections) + u64::from(plan.idle);
    let room = room(hard, plan.threads);
    if connections > room {
        return Err(io::Error::from(Errno::EMFILE)).context(format!(
            "{connections} connections are too many: the limit of {hard} descriptors leaves room for \
             {room}"
        ));
    }
    Ok(())
}

/// Returns the number of connections that fit; each thread needs one descriptor more for its epoll
/// instance.
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
