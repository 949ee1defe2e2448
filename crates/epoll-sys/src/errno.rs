//! Error numbers without a stable [`ErrorKind`](std::io::ErrorKind) in the standard library, to
//! compare with [`raw_os_error`](std::io::Error::raw_os_error),
//! [errno(3)](https://man7.org/linux/man-pages/man3/errno.3.html).

use std::io;

/// Converts the error of a call on the hot path. Out of line, so that the code of the success path
/// stays small.
#[cold]
#[inline(never)]
pub(crate) fn error(errno: rustix::io::Errno) -> io::Error {
    errno.into()
}

/// Converts the outcome of a call of libc, which returns -1 and sets `errno` where it fails.
pub(crate) fn check(returned: libc::c_int) -> io::Result<()> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub use libc::{
    EACCES, EAFNOSUPPORT, EBADF, ECANCELED, ECONNABORTED, EDESTADDRREQ, EHOSTDOWN, EHOSTUNREACH,
    EINVAL, EIO, ELOOP, EMFILE, EMSGSIZE, ENAMETOOLONG, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS,
    ENODEV, ENONET, ENOPROTOOPT, ENOTSOCK, ENOTTY, EOPNOTSUPP, EPERM, EPROTO, EPROTONOSUPPORT,
    ESRCH, ETIMEDOUT,
};
