//! The primitives of the hand-over: the standard library's, or loom's where loom tries out every order
//! in which threads can meet (`cargo xtask test`).

#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
