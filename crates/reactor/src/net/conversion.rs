//! The error of a conversion, which gives the value back.

use std::error::Error;
use std::fmt;
use std::io;

/// The error of a conversion from or to a type of [`net`](crate::net), which gives the value back.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::{ConversionError, Stream};
/// use std::net::TcpStream;
///
/// let (unix, _peer) = Stream::pair()?;
/// let refused: ConversionError<Stream> = TcpStream::try_from(unix).unwrap_err();
/// assert_eq!(refused.to_string(), "not a TCP socket");
/// let _still_open: Stream = refused.into_inner();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ConversionError<T> {
    error: io::Error,
    value: T,
}

impl<T> ConversionError<T> {
    pub(super) fn new(value: T, error: io::Error) -> Self {
        Self { error, value }
    }

    /// Returns the value.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Returns the cause.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

/// Converts `value` by `convert` if `check` allows it.
pub(super) fn checked<T, U>(
    value: T,
    check: impl FnOnce(&T) -> io::Result<()>,
    convert: impl FnOnce(T) -> U,
) -> Result<U, ConversionError<T>> {
    match check(&value) {
        Ok(()) => Ok(convert(value)),
        Err(error) => Err(ConversionError::new(value, error)),
    }
}

/// Returns the error of a descriptor of the wrong kind.
pub(super) fn wrong_kind(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl<T> fmt::Display for ConversionError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

// No reason for a refusal has a cause of its own.
impl<T: fmt::Debug> Error for ConversionError<T> {}

impl<T> From<ConversionError<T>> for io::Error {
    /// Drops the value.
    fn from(error: ConversionError<T>) -> Self {
        error.error
    }
}
