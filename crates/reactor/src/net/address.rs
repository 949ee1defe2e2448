//! Where a server listens: an internet address with a port, or the path of a UNIX socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen at or to connect to.
///
/// ```
/// use epoll_reactor::net::Address;
///
/// for text in ["127.0.0.1:8080", "[::1]:7", "unix:/run/echo.sock"] {
///     let address: Address = text.parse()?;
///     assert_eq!(address.to_string(), text);
/// }
/// assert!("localhost".parse::<Address>().is_err());
/// # Ok::<(), epoll_reactor::net::AddressParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// A UNIX stream socket at this path.
    Unix(PathBuf),
}

/// A text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressParseError(());

impl Address {
    /// The internet address; `None` for a path.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = AddressParseError;

    fn from_str(text: &str) -> Result<Self, AddressParseError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(AddressParseError(())),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Inet).map_err(|_| AddressParseError(())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl fmt::Display for AddressParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected an IP address with a port, as in 127.0.0.1:8080 or [::1]:8080, or unix:PATH",
        )
    }
}

impl std::error::Error for AddressParseError {}

impl From<AddressParseError> for io::Error {
    fn from(error: AddressParseError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
