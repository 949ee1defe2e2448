//! The distance between two cores: how long a cache line takes from one to the other and back. It is a few
//! dozen nanoseconds where they share a cache and hundreds where they do not, and a virtual machine neither tells
//! nor keeps its cores where they are.

use crate::machine::Cores;
use crate::process::on_core;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

/// The number of round trips that are timed together: well below what a thread runs before another one has its
/// turn.
const TRIPS: u32 = 1_000;

/// The number of times that is done: some milliseconds in all.
const TIMES: u32 = 10;

/// Returns the time of a round trip in nanoseconds between the cores of the server and of the client, if they
/// have one each. The shortest counts: others may have had a turn in the rest.
pub(crate) fn round_trip_ns(cores: Cores) -> Option<f64> {
    let (server, client) = (cores.server()?, cores.client()?);
    // The number of times that the line has changed hands.
    let line = AtomicU32::new(0);
    let take_turns = |numbers: Range<u32>, first: u32| {
        for number in numbers {
            while line.load(Ordering::Relaxed) != 2 * number + first {
                std::hint::spin_loop();
            }
            line.store(2 * number + first + 1, Ordering::Relaxed);
        }
    };
    let shortest = thread::scope(|scope| {
        scope.spawn(|| on_core(Some(client), || take_turns(0..TIMES * TRIPS, 1)));
        on_core(Some(server), || {
            let time = |at: u32| {
                let start = Instant::now();
                take_turns(at * TRIPS..(at + 1) * TRIPS, 0);
                start.elapsed()
            };
            (0..TIMES).map(time).min()
        })
    });
    shortest.map(|time| time.as_secs_f64() * 1e9 / f64::from(TRIPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_some_time_between_two_cores() {
        let cores = Cores::choose();
        let taken = round_trip_ns(cores);
        assert_eq!(taken.is_some(), cores.client().is_some());
        assert!(taken.is_none_or(|taken| taken > 1.0), "{taken:?}");
    }
}
