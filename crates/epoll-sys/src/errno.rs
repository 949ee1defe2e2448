//! Error numbers that the standard library gives no stable [`ErrorKind`](std::io::ErrorKind), to
//! compare with [`raw_os_error`](std::io::Error::raw_os_error), `errno(3)`.

use std::io;

/// The error of a call on the hot path. Out of line, so that the way of success does not carry the
/// conversion along.
#[cold]
#[inline(never)]
pub(crate) fn error(errno: rustix::io::Errno) -> io::Error {
    errno.into()
}

pub use libc::{
    EACCES, EAFNOSUPPORT, EBADF, ECANCELED, ECONNABORTED, EDESTADDRREQ, EHOSTDOWN, EHOSTUNREACH,
    EINVAL, EIO, ELOOP, EMFILE, EMSGSIZE, ENAMETOOLONG, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS,
    ENODEV, ENONET, ENOPROTOOPT, ENOTSOCK, ENOTTY, EOPNOTSUPP, EPERM, EPROTO, EPROTONOSUPPORT,
    ETIMEDOUT,
};
