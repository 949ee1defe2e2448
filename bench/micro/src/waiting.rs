//! select, poll and epoll with few and many descriptors.
//!
//! Timed is one round: the wait, finding those that are ready, and reading each of them. Before
//! each round, outside of the time, the eventfds that shall be ready are written; which they are
//! moves on from round to round. All of them stay registered, or in the caller's list, throughout:
//! making the epoll instance or the list is not timed, copying select's set is.

mod sources;
mod waiters;

use crate::contest::{Case, Contestant, Role, Timed, Unit};
use crate::{Options, Report, descriptors};
use sources::{Sources, Tally};
use std::io;
use std::time::{Duration, Instant};
use waiters::{Epoll, Poll, Select};

/// Numbers of descriptors, and how many of them are ready.
const CASES: [(usize, usize); 12] = [
    (10, 1),
    (100, 1),
    (1_000, 1),
    (5_000, 1),
    (10_000, 1),
    (19_000, 1),
    (100, 100),
    (1_000, 100),
    (5_000, 100),
    (10_000, 100),
    (19_000, 100),
    (1_000, 1_000),
];

const EDGE: bool = true;
const LEVEL: bool = false;

/// The timeout of each wait, in seconds. Some sources are ready, so none is used up; and unlike one
/// of zero it has `poll` and `select` prepare to sleep, as they do in a program that has nothing to do.
const PATIENCE_S: i64 = 10;

/// A way to wait for sources.
pub(crate) trait Waiter<'a>: Sized {
    /// Creates a waiter for all of `sources`.
    fn new(sources: &'a Sources) -> anyhow::Result<Self>;

    /// Waits once, and reads those that are ready.
    fn turn(&mut self, tally: &mut Tally<'a>) -> io::Result<()>;
}

/// Measures every case.
///
/// # Errors
///
/// A system call fails, or a contestant does not report the descriptors that are ready.
pub fn measure(options: &Options, report: &mut Report<'_>) -> anyhow::Result<()> {
    for (count, active) in CASES {
        let name = format!("{count} descriptors, {active} ready");
        if !descriptors::suffice(count, &name) {
            continue;
        }
        let sources = Sources::new(count)?;
        let mut contestants = vec![
            contestant::<Epoll<LEVEL>>(Role::Floor, "floor", &sources, active),
            contestant::<Epoll<LEVEL>>(Role::FloorAgain, "floor", &sources, active),
            contestant::<Epoll<EDGE>>(Role::Peer, "epoll, edge", &sources, active),
            contestant::<Poll<'_>>(Role::Peer, "poll", &sources, active),
        ];
        if Select::can_hold(&sources) {
            contestants.push(contestant::<Select<'_>>(Role::Peer, "select", &sources, active));
        }
        let group = Some(format!("N descriptors, {active} ready"));
        let (suite, unit) = ("select-poll-epoll", Unit::Nanoseconds);
        let case = Case { suite, name, group, x: count, unit };
        case.compete(options, report, contestants)?;
    }
    Ok(())
}

fn contestant<'a, W: Waiter<'a>>(
    role: Role,
    name: &'static str,
    sources: &'a Sources,
    active: usize,
) -> Contestant<'a> {
    Contestant::new(role, name, move |rounds| {
        let mut waiter = W::new(sources)?;
        let mut elapsed = Duration::ZERO;
        for round in 0..rounds {
            let mut tally = sources.make_ready(active, round)?;
            let start = Instant::now();
            waiter.turn(&mut tally)?;
            elapsed += start.elapsed();
            tally.finish()?;
        }
        Ok(Timed { elapsed, count: rounds })
    })
}
