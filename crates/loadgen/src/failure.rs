//! The kinds of failures, as reports count them.

use crate::echo_check::Mismatch;
use nix::errno::Errno;
use std::io;

/// The reason for which a connection has ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) failure: Failure,
    pub(crate) what: String,
}

/// A failure of a connection or of requests. A connection ends with its first failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A byte that came back differs from the one that was sent.
    WrongBytes,
    /// More bytes came back than were sent.
    ExtraBytes,
    /// The server closed the connection.
    Closed,
    /// The server reset the connection.
    Reset,
    /// Nobody listens at the address, or not any more.
    Refused,
    /// No answer or no connection came within the limit.
    NoAnswer,
    /// A datagram was not answered within the limit.
    Lost,
    /// Requests for which no connection was free in time, or open at all.
    Unsent,
    /// No local address was free for a connection.
    NoAddress,
    /// No descriptor was free for a connection.
    NoDescriptor,
    /// TLS failed: a certificate, a handshake or a record.
    Tls,
    /// Another error of a system call.
    Failed,
}

impl Failure {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::WrongBytes,
        Self::ExtraBytes,
        Self::Closed,
        Self::Reset,
        Self::Refused,
        Self::NoAnswer,
        Self::Lost,
        Self::Unsent,
        Self::NoAddress,
        Self::NoDescriptor,
        Self::Tls,
        Self::Failed,
    ];

    /// Returns the name that reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongBytes => "wrong-bytes",
            Self::ExtraBytes => "extra-bytes",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Refused => "refused",
            Self::NoAnswer => "no-answer",
            Self::Lost => "lost",
            Self::Unsent => "unsent",
            Self::NoAddress => "no-address",
            Self::NoDescriptor => "no-descriptor",
            Self::Tls => "tls",
            Self::Failed => "failed",
        }
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            // A UNIX path without a socket has no listener either.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::TimedOut => Self::NoAnswer,
            io::ErrorKind::AddrNotAvailable => Self::NoAddress,
            _ => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMFILE | Errno::ENFILE) => Self::NoDescriptor,
                _ => Self::Failed,
            },
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self { failure: Failure::from(&error), what: error.to_string() }
    }
}

impl From<Mismatch> for End {
    fn from(wrong: Mismatch) -> Self {
        Self { failure: wrong.into(), what: wrong.to_string() }
    }
}

impl From<Mismatch> for Failure {
    fn from(wrong: Mismatch) -> Self {
        match wrong {
            Mismatch::Byte { .. } => Self::WrongBytes,
            Mismatch::Extra { .. } => Self::ExtraBytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_among_all_and_a_name_of_its_own() {
        for (place, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, place);
            assert_eq!(Failure::ALL.iter().filter(|f| f.name() == failure.name()).count(), 1);
        }
    }
}
