//! The addresses of sockets, and their text form.
//!
//! Kernel facts: (a) a UNIX path may fill all 108 bytes of its field, and is then reported with a length
//! of 111: the standard library refuses to connect to such a path, so none is made here, but one is
//! read; (b) an abstract name begins with a NUL byte and ends with its length, so it may hold further
//! NUL bytes; (c) a socket that was never bound has a UNIX address of no bytes at all.

use super::zone;
use rustix::net::{SocketAddrAny, SocketAddrUnix};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

/// `sizeof(sun_path)`.
const SUN_PATH_LEN: usize = 108;
/// The longest path, in bytes: a NUL byte has to fit after it.
const PATH_LEN_MAX: usize = SUN_PATH_LEN - 1;
/// The longest abstract name, in bytes: a NUL byte has to fit before it.
const NAME_LEN_MAX: usize = SUN_PATH_LEN - 1;

/// Room for every `sockaddr` that is read or written here; a `sockaddr_un` has 110 bytes.
pub(super) const SOCKADDR_LEN: usize = 112;

/// The address of a socket: an IP address with a port, or a name in the UNIX domain.
///
/// As a text it is `127.0.0.1:8080`, `[::1]:8080`, `[fe80::1%eth0]:8080`, `unix:PATH` or `unix:@NAME`.
/// Every address survives the way through its text, but for the unnamed one (`unix`) and paths that are
/// not UTF-8.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket::Address;
///
/// for text in ["127.0.0.1:8080", "[::1]:7", "unix:/run/echo.sock", "unix:@echo"] {
///     let address: Address = text.parse()?;
///     assert_eq!(address.to_string(), text);
/// }
/// assert!("localhost".parse::<Address>().is_err());
/// # Ok::<(), epoll_sys::socket::AddressParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `AF_INET` or `AF_INET6`.
    Inet(SocketAddr),
    /// `AF_UNIX`.
    Unix(UnixAddress),
}

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
    /// As in the kernel's `sun_path`: a path, or a NUL byte and an abstract name. Zero behind `len`.
    bytes: [u8; SUN_PATH_LEN],
    len: u8,
}

/// The error of a text that is not an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressParseError(Malformed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Malformed {
    Form,
    Name,
    TooLong(usize),
    NulByte,
    Zone(String),
}

impl Address {
    /// Returns the address of the UNIX socket at `path`.
    ///
    /// # Errors
    ///
    /// Those of [`UnixAddress::path`].
    pub fn unix(path: impl AsRef<Path>) -> io::Result<Self> {
        UnixAddress::path(path).map(Self::Unix)
    }

    /// Returns the abstract UNIX address `name`.
    ///
    /// # Errors
    ///
    /// Those of [`UnixAddress::abstract_name`].
    pub fn abstract_name(name: &[u8]) -> io::Result<Self> {
        UnixAddress::abstract_name(name).map(Self::Unix)
    }

    /// Returns the internet address; `None` for a UNIX one.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Returns the path of a UNIX address that has one.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Inet(_) => None,
            Self::Unix(address) => address.as_path(),
        }
    }

    /// Reads a `sockaddr` that the kernel has written. Nothing, and every family that is not known
    /// here, counts as an unnamed UNIX address.
    pub(super) fn decode(sockaddr: &[u8]) -> Self {
        let Some((family, rest)) = sockaddr.split_first_chunk::<2>() else {
            return Self::Unix(UnixAddress::UNNAMED);
        };
        match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_INET => decode_v4(rest).map(Self::Inet),
            libc::AF_INET6 => decode_v6(rest).map(Self::Inet),
            libc::AF_UNIX => Some(Self::Unix(UnixAddress::decode(rest))),
            _ => None,
        }
        .unwrap_or(Self::Unix(UnixAddress::UNNAMED))
    }

    pub(super) fn from_rustix(address: Option<SocketAddrAny>) -> Self {
        let Some(address) = address else { return Self::Unix(UnixAddress::UNNAMED) };
        if let Ok(inet) = SocketAddr::try_from(address.clone()) {
            return Self::Inet(inet);
        }
        // Not by rustix: it panics at a path of 108 bytes, which a peer is free to bind.
        let len = address.addr_len() as usize;
        // SAFETY: `as_ptr` points to `addr_len` initialized bytes inside `address`, which lives until
        // the end of this function and is not changed meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), len) };
        Self::decode(bytes)
    }

    /// Writes the `sockaddr` and returns its length.
    pub(super) fn encode(&self, sockaddr: &mut [u8; SOCKADDR_LEN]) -> usize {
        let mut len = 0;
        let mut put = |bytes: &[u8]| {
            sockaddr[len..len + bytes.len()].copy_from_slice(bytes);
            len += bytes.len();
        };
        match self {
            Self::Inet(SocketAddr::V4(v4)) => {
                put(&family_bytes(libc::AF_INET));
                put(&v4.port().to_be_bytes());
                put(&v4.ip().octets());
                put(&[0; 8]);
            }
            Self::Inet(SocketAddr::V6(v6)) => {
                put(&family_bytes(libc::AF_INET6));
                put(&v6.port().to_be_bytes());
                put(&v6.flowinfo().to_be_bytes());
                put(&v6.ip().octets());
                put(&v6.scope_id().to_ne_bytes());
            }
            Self::Unix(unix) => {
                put(&family_bytes(libc::AF_UNIX));
                put(unix.sun_path());
            }
        }
        len
    }
}

fn family_bytes(family: i32) -> [u8; 2] {
    // Families are small numbers; `sa_family_t` has 16 bits.
    u16::try_from(family).unwrap_or(0).to_ne_bytes()
}

fn decode_v4(rest: &[u8]) -> Option<SocketAddr> {
    let (port, rest) = rest.split_first_chunk()?;
    let (ip, _) = rest.split_first_chunk::<4>()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(*ip), u16::from_be_bytes(*port)).into())
}

fn decode_v6(rest: &[u8]) -> Option<SocketAddr> {
    let (port, rest) = rest.split_first_chunk()?;
    let (flowinfo, rest) = rest.split_first_chunk()?;
    let (ip, rest) = rest.split_first_chunk::<16>()?;
    let (scope, _) = rest.split_first_chunk()?;
    let flowinfo = u32::from_be_bytes(*flowinfo);
    let scope = u32::from_ne_bytes(*scope);
    let port = u16::from_be_bytes(*port);
    Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, flowinfo, scope).into())
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
            return Err(AddressParseError(Malformed::TooLong(bytes.len())));
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
            len if len > NAME_LEN_MAX => Err(AddressParseError(Malformed::TooLong(len))),
            _ => Ok(Self::of_parts(&[&[0], name])),
        }
    }

    /// The caller sees to it that the parts fit.
    fn of_parts(parts: &[&[u8]]) -> Self {
        let mut address = Self::UNNAMED;
        for byte in parts.iter().flat_map(|part| part.iter()) {
            address.bytes[usize::from(address.len)] = *byte;
            address.len += 1;
        }
        address
    }

    fn decode(sun_path: &[u8]) -> Self {
        let sun_path = &sun_path[..sun_path.len().min(SUN_PATH_LEN)];
        if sun_path.first() == Some(&0) {
            return Self::of_parts(&[sun_path]);
        }
        // The kernel counts the NUL byte after a path, but not every program does that binds one.
        let len = sun_path.iter().position(|&byte| byte == 0).unwrap_or(sun_path.len());
        Self::of_parts(&[&sun_path[..len]])
    }

    fn sun_path(&self) -> &[u8] {
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

    /// Tells whether the socket has no name.
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

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl From<&SocketAddr> for Address {
    fn from(address: &SocketAddr) -> Self {
        Self::Inet(*address)
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        *address
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Self::Unix(address)
    }
}

impl FromStr for Address {
    type Err = AddressParseError;

    fn from_str(text: &str) -> Result<Self, AddressParseError> {
        match text.strip_prefix("unix:") {
            Some(name) => name.parse().map(Self::Unix),
            None => zone::parse(text).map(Self::Inet),
        }
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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => zone::fmt(address, f),
            Self::Unix(address) if address.is_unnamed() => f.write_str("unix"),
            Self::Unix(address) => write!(f, "unix:{address}"),
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_path(), self.as_abstract_name()) {
            // Otherwise it would read as an abstract name.
            (Some(path), _) if path.as_os_str().as_bytes()[0] == b'@' => {
                write!(f, "./{}", path.display())
            }
            (Some(path), _) => path.display().fmt(f),
            (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
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
            Malformed::TooLong(len) => {
                write!(f, "the name of a UNIX socket has at most {PATH_LEN_MAX} bytes, not {len}")
            }
            Malformed::NulByte => f.write_str("the path of a UNIX socket holds no NUL byte"),
            Malformed::Zone(name) => write!(f, "there is no network interface '{name}'"),
        }
    }
}

impl std::error::Error for AddressParseError {}

impl From<AddressParseError> for io::Error {
    fn from(error: AddressParseError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn survives(address: Address) {
        let mut sockaddr = [0xff; SOCKADDR_LEN];
        let len = address.encode(&mut sockaddr);
        assert_eq!(Address::decode(&sockaddr[..len]), address);
    }

    #[test]
    fn an_address_survives_the_way_through_a_sockaddr() {
        for text in ["1.2.3.4:5", "[1:2::3]:4", "[fe80::1%7]:65535", "unix:/a", "unix:@a\\0b"] {
            if let Ok(address) = text.parse() {
                survives(address);
            }
        }
        survives(Address::Unix(UnixAddress::UNNAMED));
        survives(Address::abstract_name(&[0, 1, 0]).unwrap());
        survives(Address::abstract_name(&[7; 107]).unwrap());
        survives(Address::unix("x".repeat(107)).unwrap());
    }

    #[test]
    fn a_sockaddr_of_any_length_is_read() {
        let mut sockaddr = [1; 128];
        for family in [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK] {
            sockaddr[..2].copy_from_slice(&family_bytes(family));
            for len in 0..sockaddr.len() {
                Address::decode(&sockaddr[..len]);
            }
        }
    }
}
