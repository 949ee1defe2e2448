//! What the crate promises, put to the kernel it runs on: no stale events, triggers, fairness,
//! waking, nesting, what a turn costs, registrations, the reactor that threads share, and the listeners and
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
