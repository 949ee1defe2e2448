//! Names in the UNIX domain.
//!
//! Kernel facts: (a) a UNIX path may fill all 108 bytes of its field, and is then reported with a length
//! of 111: the standard library refuses to connect to such a path, so none is made here, but one is
//! read; (b) an abstract name begins with a NUL byte and ends with its length, so it may hold further
//! NUL bytes; (c) a socket that was never bound has a UNIX address of no bytes at all.

use super::address_error::{AddressParseError, Malformed};
use rustix::net::SocketAddrUnix;
use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

/// `sizeof(sun_path)`.
const SUN_PATH_LEN: usize = 108;
/// The longest path, in bytes: a NUL byte has to fit after it.
pub(super) const PATH_LEN_MAX: usize = SUN_PATH_LEN - 1;
/// The longest abstract name, in bytes: a NUL byte has to fit before it.
const NAME_LEN_MAX: usize = SUN_PATH_LEN - 1;

/// A name in the UNIX domain: a path, an abstract name, or none,
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
///
/// An abstract name is no file: it belongs to the network namespace, has no owner and no mode, and is
/// free again as soon as its socket is closed.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket::UnixAddress;
/// use std::path::Path;
///
/// let path = UnixAddress::path("/run/echo.sock")?;
/// assert_eq!(path.as_path(), Some(Path::new("/run/echo.sock")));
/// let name = UnixAddress::abstract_name(b"echo")?;
/// assert_eq!(name.as_abstract_name(), Some(&b"echo"[..]));
/// assert_eq!(name.to_string(), "@echo");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnixAddress {
    /// The bytes of the kernel's `sun_path`: a path, or a NUL byte and an abstract name. Zero behind `len`.
    bytes: [u8; SUN_PATH_LEN],
    len: u8,
}

impl UnixAddress {
    /// The address of a socket that was not bound. Binding to it lets the kernel choose an abstract
    /// name (autobind).
    pub const UNNAMED: Self = Self { bytes: [0; SUN_PATH_LEN], len: 0 };

    /// Returns the address of the socket at `path`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): the path is empty, longer than 107 bytes, or
    /// holds a NUL byte. The kernel would take 108 bytes, but most clients cannot connect to that.
    pub fn path(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::from_path(path.as_ref())?)
    }

    fn from_path(path: &Path) -> Result<Self, AddressParseError> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(AddressParseError(Malformed::Form));
        }
        if bytes.len() > PATH_LEN_MAX {
            return Err(AddressParseError(Malformed::TooLong {
                len: bytes.len(),
                len_max: PATH_LEN_MAX,
            }));
        }
        if bytes.contains(&0) {
            return Err(AddressParseError(Malformed::NulByte));
        }
        Ok(Self::of_parts(&[bytes]))
    }

    /// Returns the abstract address `name`, which may hold any bytes and is written without the NUL
    /// byte that the kernel puts before it.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): the name is empty or longer than 107 bytes.
    pub fn abstract_name(name: &[u8]) -> io::Result<Self> {
        Ok(Self::from_name(name)?)
    }

    fn from_name(name: &[u8]) -> Result<Self, AddressParseError> {
        match name.len() {
            0 => Err(AddressParseError(Malformed::Name)),
            len if len > NAME_LEN_MAX => {
                Err(AddressParseError(Malformed::TooLong { len, len_max: NAME_LEN_MAX }))
            }
            _ => Ok(Self::of_parts(&[&[0], name])),
        }
    }

    /// Joins parts. The caller makes sure that they fit.
    fn of_parts(parts: &[&[u8]]) -> Self {
        let mut address = Self::UNNAMED;
        for byte in parts.iter().flat_map(|part| part.iter()) {
            address.bytes[usize::from(address.len)] = *byte;
            address.len += 1;
        }
        address
    }

    pub(super) fn decode(sun_path: &[u8]) -> Self {
        let sun_path = &sun_path[..sun_path.len().min(SUN_PATH_LEN)];
        if sun_path.first() == Some(&0) {
            return Self::of_parts(&[sun_path]);
        }
        // The kernel counts the NUL byte after a path, but not every program does that binds one.
        let len = sun_path.iter().position(|&byte| byte == 0).unwrap_or(sun_path.len());
        Self::of_parts(&[&sun_path[..len]])
    }

    pub(super) fn sun_path(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns the path, if that is what the socket is named by.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match self.sun_path() {
            [] | [0, ..] => None,
            path => Some(Path::new(OsStr::from_bytes(path))),
        }
    }

    /// Returns the abstract name, if the socket has one.
    #[must_use]
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        self.sun_path().strip_prefix(&[0])
    }

    /// Returns whether the socket has no name.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.len == 0
    }

    pub(super) fn to_rustix(self) -> io::Result<SocketAddrUnix> {
        Ok(match self.sun_path() {
            [] => SocketAddrUnix::new_unnamed(),
            [0, name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            path => SocketAddrUnix::new(path)?,
        })
    }
}

impl FromStr for UnixAddress {
    type Err = AddressParseError;

    /// Takes a path, or an abstract name after `@`, in which a backslash begins an escape as in Rust:
    /// `\xff`, `\\`, `\n`, `\r`, `\t`, `\'` or `\"`.
    fn from_str(text: &str) -> Result<Self, AddressParseError> {
        match text.strip_prefix('@') {
            Some(name) => {
                Self::from_name(&unescape(name).ok_or(AddressParseError(Malformed::Name))?)
            }
            None => Self::from_path(Path::new(text)),
        }
    }
}

/// Undoes [`u8::escape_ascii`]. Bytes that need no escape may stand as they are.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    let digits = std::str::from_utf8(&digits).ok()?;
                    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                        return None;
                    }
                    u8::from_str_radix(digits, 16).ok()?
                }
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                quoted @ (b'\\' | b'\'' | b'"') => quoted,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(bytes)
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_path(), self.as_abstract_name()) {
            (Some(path), _) => {
                if path.as_os_str().as_bytes()[0] == b'@' {
                    // Otherwise it would read as an abstract name.
                    f.write_str("./")?;
                }
                fmt_path(path, f)
            }
            (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
            (None, None) => Ok(()),
        }
    }
}

/// Writes a path with its control characters escaped: a peer is free to bind any, and a line of a log that has
/// them could pass for several lines, or command a terminal.
fn fmt_path(path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for character in path.to_string_lossy().chars() {
        if character.is_control() {
            write!(f, "{}", character.escape_default())?;
        } else {
            f.write_char(character)?;
        }
    }
    Ok(())
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
