//! All rounds as they were measured, as JSON: for other programs, and to make the report again.
//!
//! They are written to a file beside the one that was asked for, which takes its place at the end: a
//! reader finds the old one or the whole new one.

mod reading;
mod writing;

pub(crate) use reading::read;
pub(crate) use writing::JsonSink;
