//! The timer wheel beside other ways to keep many deadlines.
//!
//! Timed are the operations of [`Population`]: everybody has as many timers, and gets the same kinds of
//! operations. The wheel itself is the reference, and is measured twice a round.

use crate::contest::{Case, Contestant, Role, Timed, Unit};
use crate::{Options, Report};
use epoll_kit_bench_timers::{
    DelayQueue, HashWheel, Heap, Keeper, Operation, Population, SIZES, SortedMap, Wheel,
    enter_runtime,
};

/// Measures every case.
///
/// # Errors
///
/// The report cannot be written.
///
/// # Panics
///
/// A contestant that does not have the timers that it should have, or does not fire those that are due.
pub fn measure(options: &Options, report: &mut Report<'_>) -> anyhow::Result<()> {
    let _entered = enter_runtime();
    // What was changed is put right after each measurement, and takes longer than that.
    let short = &Options { duration: options.duration / 2, ..*options };
    // The last one takes half a gigabyte.
    let sizes = if options.is_quick { &SIZES[..SIZES.len() - 1] } else { &SIZES };
    for &size in sizes {
        Populations::new(size).compete(size, short, report)?;
    }
    Ok(())
}

/// Timers of every contestant.
struct Populations {
    wheel: Population<Wheel>,
    wheel_again: Population<Wheel>,
    delay_queue: Population<DelayQueue>,
    sorted_map: Population<SortedMap>,
    heap: Population<Heap>,
    hash_wheel: Population<HashWheel>,
}

impl Populations {
    fn new(size: usize) -> Self {
        Self {
            wheel: Population::new(size),
            wheel_again: Population::new(size),
            delay_queue: Population::new(size),
            sorted_map: Population::new(size),
            heap: Population::new(size),
            hash_wheel: Population::new(size),
        }
    }

    fn compete(
        &mut self,
        size: usize,
        options: &Options,
        report: &mut Report<'_>,
    ) -> anyhow::Result<()> {
        let names = Population::<Wheel>::OPERATIONS.map(|(name, _)| name);
        for (number, operation) in names.into_iter().enumerate() {
            let contestants = vec![
                contestant(Role::Ours, Wheel::NAME, &mut self.wheel, number),
                contestant(Role::OursAgain, Wheel::NAME, &mut self.wheel_again, number),
                contestant(Role::Peer, DelayQueue::NAME, &mut self.delay_queue, number),
                contestant(Role::Peer, SortedMap::NAME, &mut self.sorted_map, number),
                contestant(Role::Peer, Heap::NAME, &mut self.heap, number),
                contestant(Role::Peer, HashWheel::NAME, &mut self.hash_wheel, number),
            ];
            let name = format!("{operation}, {size} timers");
            let group = Some(format!("{operation}, N timers"));
            let case = Case { suite: "timers", name, group, x: size, unit: Unit::Nanoseconds };
            case.compete(options, report, contestants)?;
        }
        Ok(())
    }
}

/// Returns a contestant that does the operation with this number.
fn contestant<'a, T: Keeper>(
    role: Role,
    name: &'static str,
    population: &'a mut Population<T>,
    number: usize,
) -> Contestant<'a> {
    let (_, operation): (_, Operation<T>) = Population::<T>::OPERATIONS[number];
    Contestant::new(role, name, move |count| {
        let took = operation(population, usize::try_from(count)?);
        Ok(Timed { elapsed: took.elapsed, count: took.count as u64 })
    })
}
