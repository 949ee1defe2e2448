//! The meaning of an error of `accept` for the queue.
//!
//! Kernel facts: (a) `accept` takes a descriptor, and asks security modules, before it looks at the queue:
//! what fails there leaves the connection where it is; (b) it hands over the network errors of a connection
//! that died in the queue, which is gone then; (c) on a TCP listener that was shut down it says `EINVAL`,
//! for ever.

use epoll_sys::errno::{
    ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINVAL, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENONET,
    ENOPROTOOPT, EPROTO, ETIMEDOUT,
};
use std::io;

/// The state of the queue after an error of `accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The queue is empty.
    Empty,
    /// One connection had died and is gone; the next may be alive.
    Skip,
    /// A signal handler ran.
    Retry,
    /// There is no descriptor for a connection.
    NoDescriptor,
    /// Nothing can be accepted now. `EOPNOTSUPP` counts here although the network can cause it, and so does
    /// every error that is not known: a pause does no harm, and without one a lasting error would make the
    /// loop spin.
    Pause,
    /// The socket was shut down.
    Closed,
}

impl Verdict {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => return Self::Empty,
            io::ErrorKind::Interrupted => return Self::Retry,
            _ => {}
        }
        match error.raw_os_error() {
            Some(
                ECONNABORTED | EPROTO | ENETDOWN | ENETUNREACH | ENOPROTOOPT | EHOSTDOWN
                | EHOSTUNREACH | ENONET | ETIMEDOUT,
            ) => Self::Skip,
            Some(EMFILE | ENFILE) => Self::NoDescriptor,
            Some(EINVAL) => Self::Closed,
            _ => Self::Pause,
        }
    }
}
