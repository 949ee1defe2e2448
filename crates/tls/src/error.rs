//! Errors of certificates, keys and names.

use rustls::pki_types::{InvalidDnsNameError, pem};
use rustls::server::VerifierBuilderError;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// Settings of TLS that cannot be used. The message names the file, if one is to blame.
#[derive(Debug)]
pub struct ConfigError {
    path: Option<PathBuf>,
    reason: Reason,
}

#[derive(Debug)]
pub(crate) enum Reason {
    /// PEM that cannot be read, or does not have this.
    Pem(&'static str, pem::Error),
    Tls(rustls::Error),
    /// The certificate is not for this name.
    Name(String, rustls::Error),
    Verifier(VerifierBuilderError),
    ServerName(InvalidDnsNameError),
}

impl ConfigError {
    pub(crate) fn of(path: &Path, reason: Reason) -> Self {
        Self { path: Some(path.to_owned()), reason }
    }

    /// Returns the file that is to blame.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl From<Reason> for ConfigError {
    fn from(reason: Reason) -> Self {
        Self { path: None, reason }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        match &self.reason {
            Reason::Pem(_, pem::Error::Io(error)) => write!(f, "{error}"),
            Reason::Pem(what, pem::Error::NoItemsFound) => write!(f, "not {what} in PEM"),
            Reason::Pem(what, error) => write!(f, "not {what} in PEM: {error}"),
            Reason::Tls(error) => write!(f, "{error}"),
            Reason::Name(name, error) => write!(f, "no certificate for '{name}': {error}"),
            Reason::Verifier(error) => write!(f, "{error}"),
            Reason::ServerName(error) => write!(f, "{error}"),
        }
    }
}

impl Error for ConfigError {}
