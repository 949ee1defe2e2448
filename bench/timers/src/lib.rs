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

/// The numbers of timers that live while operations are measured.
pub const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

/// A queue of timers, each with a value. Its clock starts at tick zero.
pub trait Keeper {
    /// The name in the tables.
    const NAME: &'static str;

    /// The key of a timer.
    type Key: Copy;

    /// Creates a queue without timers.
    fn new() -> Self;

    /// Returns the number of timers.
    fn len(&self) -> usize;

    /// Returns whether there is no timer.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inserts a timer that expires at `deadline`, which is later than the present, and returns its key.
    fn insert(&mut self, deadline: u64, value: u64) -> Self::Key;

    /// Ends a timer, and returns whether there was one.
    fn cancel(&mut self, key: Self::Key) -> bool;

    /// Gives a timer another deadline and perhaps another key, and returns whether there is such a timer.
    fn reschedule(&mut self, key: &mut Self::Key, deadline: u64, value: u64) -> bool;

    /// Moves the clock, if there is one. This is not measured.
    fn advance(&mut self, _now: u64) {}

    /// Ends the timers that have expired at `now` and passes their values to `fire`.
    fn expire(&mut self, now: u64, fire: impl FnMut(u64));
}
