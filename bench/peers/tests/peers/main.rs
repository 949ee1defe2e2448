//! The peers as programs: that each echoes, and what the flags of the reference change.

#![forbid(unsafe_code)]

mod echo;
mod experiments;
mod foreign;
mod harness;
