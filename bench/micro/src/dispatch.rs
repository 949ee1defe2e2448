//! A chain of socket pairs, closed to a ring: when a byte arrives it is read and written to the next
//! pair. Measured is the time of one such hand-on: its share of a wait, what the loop does to find
//! whom to tell, one read and one write.
//!
//! All contestants read and write in the same words, and let a wait bring 1024 events, more than
//! there are bytes on their way. So all bytes move on by one pair a turn, and their sum is known.
//! The pairs are registered before the clock starts.

mod chain;
mod loops;

use crate::contest::{Case, Contestant, Role, Timed, Unit};
use crate::{Options, Report, descriptors};
use chain::{Baton, Chain};
use loops::{Calloop, Floor, Mio, Ours, Polling};
use std::io;
use std::time::Instant;

/// Numbers of pairs, and of bytes on their way.
const CASES: [(usize, usize); 8] = [
    (100, 1),
    (100, 100),
    (1_000, 1),
    (1_000, 100),
    (1_000, 1_000),
    (9_000, 1),
    (9_000, 100),
    (9_000, 1_000),
];

const EDGE: bool = true;
const LEVEL: bool = false;

/// Each trigger has a floor of its own. mio has edges alone.
const BY_LEVEL: &str = "level trigger";
const BY_EDGE: &str = "edge trigger";

/// A loop that watches the readers of a chain.
pub(crate) trait Loop<'a>: Sized {
    /// Registers all of them.
    fn new(chain: &'a Chain) -> io::Result<Self>;

    /// Turns until `baton` is done.
    fn run(&mut self, baton: &mut Baton<'a>) -> io::Result<()>;
}

/// Measures every case.
///
/// # Errors
///
/// What the system refuses, and a contestant whose bytes do not add up.
pub fn measure(options: &Options, report: &mut Report<'_>) -> anyhow::Result<()> {
    for (pairs, active) in CASES {
        let name = format!("{pairs} pairs, {active} active");
        if !descriptors::suffice(2 * pairs, &name) {
            continue;
        }
        let chain = Chain::new(pairs)?;
        let contestants = vec![
            contestant::<Floor<LEVEL>>(Role::Floor, "floor", &chain, active).in_set(BY_LEVEL),
            contestant::<Floor<LEVEL>>(Role::FloorAgain, "floor", &chain, active).in_set(BY_LEVEL),
            contestant::<Ours<'_, LEVEL>>(Role::Ours, "epoll-kit", &chain, active).in_set(BY_LEVEL),
            contestant::<Polling>(Role::Peer, "polling", &chain, active).in_set(BY_LEVEL),
            contestant::<Calloop<'_>>(Role::Peer, "calloop", &chain, active).in_set(BY_LEVEL),
            contestant::<Floor<EDGE>>(Role::Floor, "floor, edge", &chain, active).in_set(BY_EDGE),
            contestant::<Floor<EDGE>>(Role::FloorAgain, "floor, edge", &chain, active)
                .in_set(BY_EDGE),
            contestant::<Ours<'_, EDGE>>(Role::Ours, "epoll-kit, edge", &chain, active)
                .in_set(BY_EDGE),
            contestant::<Mio>(Role::Peer, "mio", &chain, active).in_set(BY_EDGE),
        ];
        let group = Some(format!("N pairs, {active} active"));
        let case = Case { suite: "dispatch", name, group, x: pairs, unit: Unit::Nanoseconds };
        case.compete(options, report, contestants)?;
    }
    Ok(())
}

fn contestant<'a, L: Loop<'a>>(
    role: Role,
    name: &'static str,
    chain: &'a Chain,
    active: usize,
) -> Contestant<'a> {
    Contestant::new(role, name, move |count| {
        let turns = count.div_ceil(active as u64);
        let mut event_loop = L::new(chain)?;
        let mut baton = chain.start(active, turns)?;
        let start = Instant::now();
        event_loop.run(&mut baton)?;
        let elapsed = start.elapsed();
        Ok(Timed { elapsed, count: baton.finish()? })
    })
}
