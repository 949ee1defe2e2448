//! Tests of the crate's promises on the kernel that they run on: no stale events, triggers, fairness,
//! waking, nesting, the cost of a turn, registrations, the reactor that threads share, and the listeners and
//! streams on top.

mod busy_polling;
mod closed_first;
mod fairness;
mod nesting;
mod net;
mod parking;
mod rebuilding;
mod refusals;
mod registering;
mod shared;
mod stale;
mod triggers;
mod turns;
mod waking;

mod support;
