//! The runner as a program, with small shell scripts in the place of what it measures.

#![forbid(unsafe_code)]

mod fakes;

mod failing;
mod measuring;
mod refusing;
