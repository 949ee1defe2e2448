//! Error numbers that the standard library gives no stable [`ErrorKind`](std::io::ErrorKind), to
//! compare with [`raw_os_error`](std::io::Error::raw_os_error), `errno(3)`.

pub use libc::{
    EAFNOSUPPORT, EBADF, ECANCELED, EHOSTDOWN, ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENOBUFS,
    ENONET, ENOPROTOOPT, ENOTSOCK, ENOTTY, EOPNOTSUPP, EPROTO,
};
