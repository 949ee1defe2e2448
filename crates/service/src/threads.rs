//! The two kinds of threads: those with a reactor of their own, and those that share connections.

pub(crate) mod local;
pub(crate) mod shared;
