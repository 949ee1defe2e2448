//! Tests of the crate's promises: the wheel against a sorted map and at the edges of its levels, keys and
//! ticks that are wrong, and the timerfd in front of it against the kernel and in loops of others.

mod bad_input;
mod clock_sets;
mod driver;
mod failures;
mod levels;
mod loops;
mod memory;
mod model;
mod system_calls;

mod support;
