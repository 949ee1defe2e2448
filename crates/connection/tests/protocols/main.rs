//! Small protocols over a scripted wire: what the crate promises to every protocol, a module per behaviour.

#![forbid(unsafe_code)]

mod cost;
mod deadlines;
mod harness;
mod messages;
mod requests;
mod splicing;
