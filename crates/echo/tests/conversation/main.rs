//! Conversations over a scripted wire: every split of reads and writes, every order of data, room,
//! end and error, in both modes. What comes out is what went in.

mod closing;
mod exhaustive;
mod harness;
mod properties;
mod streaming;
