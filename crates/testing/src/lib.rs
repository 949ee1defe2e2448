//! What the tests of several crates stand on.
//!
//! Every wait here has a deadline, and every process that is started ends with its test. It depends on
//! no crate of this workspace, so each of them can be tested with it.

#![forbid(unsafe_code)]

mod children;
mod examples;

pub use children::{Guard, output_of};
pub use examples::Examples;
