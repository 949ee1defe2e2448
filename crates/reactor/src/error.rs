//! The error of a failed insertion, which gives the source back.

use std::fmt;
use std::io;

/// The error of an insertion into a [`Reactor`](crate::Reactor), which gives the source back.
///
/// With `?` in a function that returns [`io::Error`] the source is dropped.
pub struct InsertError<T> {
    /// The source that was to be inserted.
    pub source: T,
    /// The cause.
    pub error: io::Error,
}

impl<T> fmt::Debug for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for InsertError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<T> From<InsertError<T>> for io::Error {
    fn from(failed: InsertError<T>) -> Self {
        failed.error
    }
}
