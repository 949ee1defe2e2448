//! Small protocols over a scripted wire: what the crate promises to every protocol, a module per behaviour.

mod composition;
mod cost;
mod deadlines;
mod ending;
mod exhaustive;
mod forwarding;
mod harness;
mod input;
mod kit;
mod late;
mod messages;
mod misuse;
mod outgoing;
mod owner;
mod pacing;
mod pausing;
mod producing;
mod properties;
mod requests;
mod socket;
mod splicing;
mod transport;
