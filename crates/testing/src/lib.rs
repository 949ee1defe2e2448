//! Support for the tests of several crates.
//!
//! Every wait here has a deadline, and every process that is started ends with its test. This crate depends on no
//! other crate of the workspace, so each of them can be tested with it.

mod children;
mod errors;
mod examples;
#[cfg(feature = "harness")]
mod harness;
mod left_out;
mod own_process;
mod random;
mod sleeping;
mod waits;

pub use children::{Guard, output_of};
pub use errors::{assert_errno, assert_kind};
pub use examples::Examples;
#[cfg(feature = "harness")]
pub use harness::{Test, run_in_own_processes};
pub use left_out::leave_out;
pub use own_process::{
    CHILD, OwnProcess, close, in_own_process, is_own_process, under_strace, while_no_process_starts,
};
pub use random::Random;
pub use sleeping::sleeps_in_a_wait;
pub use waits::{DEADLINE, before_the_deadline, eventually};
