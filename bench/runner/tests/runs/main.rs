//! The runner as a program, with small shell scripts in the place of what it measures.

mod fakes;

mod failing;
mod measuring;
mod refusing;
