//! The peers as programs: that each echoes, and what the flags of the reference change.

mod echo;
mod experiments;
mod foreign;
mod harness;
