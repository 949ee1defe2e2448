//! The number of connections that the process can hold: its limit of descriptors, raised as far as possible,
//! less a reserve.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::num::NonZeroU32;

/// Descriptors kept for everything that is neither a connection nor counted below: the standard streams, the
/// supervisor, the signals and the event loop that waits for them, what threads share, the statistics file, and what
/// libraries open for a moment.
const RESERVE: u64 = 20;

/// The descriptors of a thread with a reactor of its own: the epoll instance, its waker, two timerfds.
pub(crate) const FDS_PER_LOOP: u64 = 4;
/// Both ends of the pipe that long streams go through.
const FDS_PER_PIPE: u64 = 2;
/// The socket of a listener, its spare descriptor, and the epoll instance and the timer of its pauses.
pub(crate) const FDS_PER_LISTENER: u64 = 4;

/// The users of descriptors besides connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FdBudget {
    /// Threads with a reactor of their own.
    pub(crate) loops: usize,
    /// Threads that serve connections, their own or shared ones.
    pub(crate) pipes: usize,
    /// Listeners of each of them, at most.
    pub(crate) listeners: usize,
    /// Sockets that are kept for a process that takes over.
    pub(crate) offered: usize,
    /// Everything of the metrics, connections included.
    pub(crate) metrics: u64,
}

/// Raises the soft limit of descriptors to the hard one and returns it.
pub(crate) fn raise_nofile_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    // No limit at all is more than there are numbers for.
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|soft| soft < hard) {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    }
    Ok(hard)
}

/// Returns the number of connections that so many descriptors allow.
pub(crate) fn room(descriptors: u64, used: FdBudget) -> u64 {
    let (loops, pipes) = (used.loops as u64, used.pipes as u64);
    let listeners = loops * used.listeners as u64;
    let reserve = RESERVE
        + FDS_PER_LOOP * loops
        + FDS_PER_PIPE * pipes
        + FDS_PER_LISTENER * listeners
        + used.offered as u64
        + used.metrics;
    descriptors.saturating_sub(reserve).max(1)
}

/// Returns the largest number of connections at once: what was asked for, or what the descriptors allow.
pub(crate) fn connections_max(asked: Option<NonZeroU32>, room: u64) -> u64 {
    match asked {
        None => room,
        Some(asked) => {
            let asked = u64::from(asked.get());
            if asked > room {
                tracing::warn!(asked, room, "the maximum of connections exceeds the descriptors");
            }
            asked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: FdBudget = FdBudget { loops: 1, pipes: 1, listeners: 1, offered: 0, metrics: 0 };

    #[test]
    fn a_reserve_is_kept() {
        assert_eq!(connections_max(None, room(20_000, ONE)), 20_000 - RESERVE - 10);
        let used = FdBudget { loops: 4, pipes: 4, listeners: 2, offered: 0, metrics: 40 };
        assert_eq!(connections_max(None, room(20_000, used)), 20_000 - RESERVE - 96);
        assert_eq!(connections_max(None, room(8, used)), 1);
        let shared = FdBudget { pipes: 5, ..ONE };
        assert_eq!(connections_max(None, room(20_000, shared)), 20_000 - RESERVE - 18);
        let offering = FdBudget { offered: 3, ..ONE };
        assert_eq!(connections_max(None, room(20_000, offering)), 20_000 - RESERVE - 13);
    }

    #[test]
    fn what_was_asked_for_holds() {
        assert_eq!(connections_max(NonZeroU32::new(7), room(20_000, ONE)), 7);
        assert_eq!(connections_max(NonZeroU32::new(500), room(64, ONE)), 500);
    }
}
