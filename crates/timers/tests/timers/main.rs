//! What the crate promises: the wheel against a sorted map and at the edges of its levels, keys and
//! ticks that are wrong, and the timerfd in front of it against the kernel and in loops of others.

#![forbid(unsafe_code)]

mod bad_input;
mod driver;
mod levels;
mod loops;
mod model;
mod system_calls;

mod support;
