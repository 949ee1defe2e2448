//! The addresses of sockets, and their text form.
//!
//! A `sockaddr` is read and written as bytes here: its length comes from the kernel, and no length and no
//! family makes the reading panic.

use super::address_error::AddressParseError;
use super::unix_address::UnixAddress;
use super::zone;
use rustix::net::SocketAddrAny;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::Path;
use std::str::FromStr;

/// Room for every `sockaddr` that is read or written here; a `sockaddr_un` has 110 bytes.
pub(super) const SOCKADDR_LEN: usize = 112;

/// The address of a socket: an IP address with a port, or a name in the UNIX domain.
///
/// As a text it is `127.0.0.1:8080`, `[::1]:8080`, `[fe80::1%eth0]:8080`, `unix:PATH` or `unix:@NAME`.
/// Every address survives the way through its text, but for the unnamed one (`unix`) and paths that are
/// not UTF-8 or have control characters, which are escaped.
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
        let inet = match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_INET => decode_v4(rest),
            libc::AF_INET6 => decode_v6(rest),
            libc::AF_UNIX => return Self::Unix(UnixAddress::decode(rest)),
            _ => None,
        };
        inet.map_or(Self::Unix(UnixAddress::UNNAMED), Self::Inet)
    }

    #[inline]
    pub(super) fn from_rustix(address: Option<&SocketAddrAny>) -> Self {
        let Some(address) = address else { return Self::Unix(UnixAddress::UNNAMED) };
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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => zone::fmt(address, f),
            Self::Unix(address) if address.is_unnamed() => f.write_str("unix"),
            Self::Unix(address) => write!(f, "unix:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

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
    fn an_abstract_name_of_any_bytes_survives_the_way_through_its_text() {
        let bytes: Vec<u8> = (0..=255).collect();
        for name in bytes.chunks(100) {
            let address = Address::abstract_name(name).unwrap();
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }

    #[test]
    fn an_abstract_name_has_1_to_107_bytes() {
        for len in [1, 107] {
            assert!(Address::abstract_name(&vec![b'a'; len]).is_ok(), "{len}");
        }
        for len in [0, 108, 300] {
            let error = Address::abstract_name(&vec![b'a'; len]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{len}");
        }
        assert!("unix:@".parse::<Address>().is_err());
    }

    #[test]
    fn only_a_socket_without_a_name_is_unnamed() {
        assert!(UnixAddress::UNNAMED.is_unnamed());
        assert_eq!(Address::Unix(UnixAddress::UNNAMED).to_string(), "unix");
        for named in [UnixAddress::path("/a"), UnixAddress::abstract_name(b"a")] {
            assert!(!named.unwrap().is_unnamed());
        }
        assert_eq!(Address::unix("/a").unwrap().to_string(), "unix:/a");
    }

    #[test]
    fn a_path_of_any_bytes_is_written_without_control_characters() {
        for (path, text) in [
            (&b"/a\x1b[31m\nb"[..], r"unix:/a\u{1b}[31m\nb"),
            (b"@\x7f", r"unix:./@\u{7f}"),
            ("/a\u{9b}".as_bytes(), r"unix:/a\u{9b}"),
            (b"/\xff\\", "unix:/\u{fffd}\\"),
        ] {
            let path = Path::new(std::ffi::OsStr::from_bytes(path));
            assert_eq!(Address::unix(path).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_zone_is_written_by_name_if_there_is_such_an_interface() {
        let loopback = zone::interface_index("lo").unwrap();
        let address = |scope| {
            let ip = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
            Address::Inet(SocketAddrV6::new(ip, 7, 0, scope).into())
        };
        for (scope, text) in [
            (0, "[fe80::1]:7"),
            (loopback, "[fe80::1%lo]:7"),
            // No machine has so many.
            (u32::MAX, "[fe80::1%4294967295]:7"),
        ] {
            assert_eq!(address(scope).to_string(), text);
            assert_eq!(text.parse(), Ok(address(scope)));
        }
    }

    #[test]
    fn what_is_no_escape_in_an_abstract_name_is_refused() {
        for text in [r"@\q", r"@\", r"@\x", r"@\x4", r"@\x+4", r"@\xg0"] {
            let text = format!("unix:{text}");
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
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
