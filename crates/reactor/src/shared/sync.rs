//! The atomics of the ownership of sources: the standard library's, or loom's in the model that tries every
//! order in which threads can meet (`cargo xtask test`).

#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
