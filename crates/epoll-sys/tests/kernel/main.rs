//! Tests of the crate's promises on the kernel that they run on: every documented error, the readiness
//! scenarios with known answers, the flags of every descriptor, and signals.

mod batches;
mod carry_over;
mod errnos;
mod fallback;
mod fds;
mod packets;
mod pipes;
mod scenarios;
mod signals;
mod socket_errnos;
mod socket_io;
mod socket_options;
mod sources;
mod threads;
mod timers;

mod scene;
mod support;
