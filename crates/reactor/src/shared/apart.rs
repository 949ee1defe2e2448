//! Values that threads write, kept off the cache lines that every thread reads all the time.

/// A value on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Apart<T>(pub(crate) T);
