//! Ways to keep many deadlines, behind one trait, so that each is asked to do the same.
//!
//! Times are ticks of a millisecond or about that, whatever a contestant's own tick is: all of them
//! have to fire the same timers at the same times.

mod delay_queue;
mod hash_wheel;
mod heap;
mod sorted_map;
mod wheel;

mod population;

pub use delay_queue::{DelayQueue, enter_runtime};
pub use hash_wheel::HashWheel;
pub use heap::Heap;
pub use population::{DELAY_MAX, Operation, Population, Took};
pub use sorted_map::SortedMap;
pub use wheel::Wheel;

/// How many timers live while they are measured.
pub const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

/// Many timers, each with a value. The present is tick zero at first.
pub trait Keeper {
    /// What the tables call it.
    const NAME: &'static str;

    /// The name of a timer.
    type Key: Copy;

    /// No timers.
    fn new() -> Self;

    /// How many timers there are.
    fn len(&self) -> usize;

    /// Whether there is no timer.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A timer that is due at `deadline`, which is later than the present.
    fn insert(&mut self, deadline: u64, value: u64) -> Self::Key;

    /// Ends a timer; whether there was one.
    fn cancel(&mut self, key: Self::Key) -> bool;

    /// Gives a timer another deadline and perhaps another key; whether there is such a timer.
    fn reschedule(&mut self, key: &mut Self::Key, deadline: u64, value: u64) -> bool;

    /// Moves the clock, where there is one. Not measured.
    fn advance(&mut self, _now: u64) {}

    /// Ends the timers that are due at `now` and hands out their values.
    fn expire(&mut self, now: u64, fire: impl FnMut(u64));
}
