//! The error of a service: what it was doing, and the cause.

use epoll_reactor::net::Address;
use std::fmt;
use std::io;

/// A service that could not start, or has failed. Its [source](std::error::Error::source) is the
/// [`io::Error`] of the call that failed.
pub struct Error(Box<Inner>);

struct Inner {
    context: String,
    source: io::Error,
    setting: Option<Setting>,
}

/// The setting of a [`Config`](crate::Config) that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// This address of [`Config::listen`](crate::Config::listen) cannot be listened at.
    Listen(Address),
    /// The address of [`Config::metrics`](crate::Config::metrics) cannot be listened at.
    #[cfg(feature = "metrics")]
    Metrics(Address),
    /// [`Config::threads`](crate::Config::threads): a thread cannot be started.
    Threads,
    /// [`Config::pins`](crate::Config::pins): a thread cannot keep to its core.
    Pins,
}

impl Error {
    /// Returns the setting that the error is about, if it is about one.
    #[must_use]
    pub fn setting(&self) -> Option<Setting> {
        self.0.setting
    }

    pub(crate) fn about(mut self, setting: Setting) -> Self {
        self.0.setting = Some(setting);
        self
    }

    /// Returns the error of the call that failed.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        &self.0.source
    }
}

/// Shows the action that failed.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.context)
    }
}

/// Shows the action that failed and the cause, as `main` prints it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.context, self.0.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.source)
    }
}

/// Adds the action that failed to an error.
pub(crate) trait Context<T> {
    fn context(self, context: impl Into<String>) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, context: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| {
            Error(Box::new(Inner { context: context.into(), source, setting: None }))
        })
    }
}
