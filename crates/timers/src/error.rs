//! The error of a wheel that cannot be created.

use std::fmt;
use std::io;

/// The error of a wheel whose tick would be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickError(pub(crate) ());

impl fmt::Display for TickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tick of a timer wheel is zero")
    }
}

impl std::error::Error for TickError {}

impl From<TickError> for io::Error {
    fn from(error: TickError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
