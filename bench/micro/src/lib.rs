//! Small benchmarks of what an event loop does: waiting, handing on, waking, and keeping time.
//!
//! Each program measures its contestants in rounds, one after the other in every round, so that
//! what disturbs the machine disturbs all of them. Each contestant's answer is checked. The
//! reference, which is the bare system calls where there are such, is measured twice a round: how
//! far the two are apart is how far any two may be without meaning anything.

mod contest;
mod descriptors;
mod options;
mod program;

pub mod dispatch;
pub mod timers;
pub mod waiting;
pub mod wake;

pub use contest::Report;
pub use options::Options;
pub use program::run;

/// The number of events that one wait can bring; what the crates that do not let their user choose have.
pub(crate) const EVENTS_MAX: usize = 1024;
