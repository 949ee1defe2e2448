//! The error of a text that is no address.

use std::fmt;
use std::io;

/// The error of a text that is not an [`Address`](super::Address).
#[derive(Clone, PartialEq, Eq)]
pub struct AddressParseError(pub(super) Malformed);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    Form,
    Name,
    TooLong { len: usize, len_max: usize },
    NulByte,
    Zone(String),
}

impl AddressParseError {
    pub(super) fn form() -> Self {
        Self(Malformed::Form)
    }

    pub(super) fn zone(name: &str) -> Self {
        Self(Malformed::Zone(name.to_owned()))
    }
}

impl fmt::Display for AddressParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Malformed::Form => f.write_str(
                "expected an IP address with a port, as in 127.0.0.1:8080 or [::1]:8080, unix:PATH \
                 or unix:@NAME",
            ),
            Malformed::Name => f.write_str(
                "expected an abstract name of at least one byte, with escapes as in \\xff and \\\\",
            ),
            Malformed::TooLong { len, len_max } => {
                write!(f, "the name of a UNIX socket has at most {len_max} bytes, not {len}")
            }
            Malformed::NulByte => f.write_str("the path of a UNIX socket holds no NUL byte"),
            Malformed::Zone(name) => write!(f, "there is no network interface '{name}'"),
        }
    }
}

/// Shows what [`Display`](fmt::Display) does, as `main` prints it.
impl fmt::Debug for AddressParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for AddressParseError {}

impl From<AddressParseError> for io::Error {
    fn from(error: AddressParseError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
