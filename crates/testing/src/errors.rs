//! Errors that have to come.

use rustix::io::Errno;
use std::fmt::Debug;
use std::io::{self, ErrorKind};

/// Asserts that it failed, with an error of this kind.
#[track_caller]
pub fn assert_kind<T: Debug>(result: io::Result<T>, kind: ErrorKind) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
}

/// Asserts that it failed, with this number.
#[track_caller]
pub fn assert_errno<T: Debug>(result: io::Result<T>, errno: Errno) {
    assert_eq!(Errno::from_io_error(&result.unwrap_err()), Some(errno));
}
