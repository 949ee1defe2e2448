//! Addresses to listen at as people write them: some stand for several addresses, and names are looked up.

use crate::net::{Address, AddressParseError};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::str::FromStr;

/// An address to listen at as people write it: an [`Address`], a port of all addresses, or a host name.
///
/// | text | meaning |
/// |---|---|
/// | `127.0.0.1:8080`, `[::1]:8080`, `unix:PATH`, `unix:@NAME` | this [`Address`] |
/// | `@NAME` | the same as `unix:@NAME` |
/// | `:8080` | the port at every address of this machine |
/// | `localhost:8080` | every address of the name that this machine has |
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::{ListenAddress, ListenOptions, Listener};
///
/// let address: ListenAddress = "localhost:0".parse()?;
/// for address in address.resolve()? {
///     let listener = Listener::bind(&address, &ListenOptions::default())?;
///     assert!(listener.address().inet().is_some_and(|address| address.ip().is_loopback()));
/// }
/// assert!("localhost".parse::<ListenAddress>().is_err(), "it has no port");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A single address.
    Address(Address),
    /// A port of every address of this machine.
    Any {
        /// The port; 0 takes a free one.
        port: u16,
    },
    /// A port of each address of a host.
    Host {
        /// The name of the host.
        name: String,
        /// The port; 0 takes a free one at each address.
        port: u16,
    },
}

impl ListenAddress {
    /// Returns the addresses to listen at, each once. It waits for the answer of the system's resolver if there is
    /// a name to look up, and takes a free UDP port for a moment to see which addresses this machine has.
    ///
    /// [`Any`](Self::Any) is the address `[::]`, which serves IPv4 as well unless
    /// [`ipv6_only`](crate::net::ListenOptions::ipv6_only) is set, or `0.0.0.0` on a machine without IPv6. Of the
    /// addresses of a name, those that this machine does not have are left out, unless it has none of them: the
    /// files of many containers say that `localhost` is `::1` too, which they do not have.
    ///
    /// # Errors
    ///
    /// That of the resolver, if it does not know the name or cannot be asked; it may have any kind.
    pub fn resolve(&self) -> io::Result<Vec<Address>> {
        let (name, port) = match self {
            Self::Address(address) => return Ok(vec![*address]),
            Self::Any { port } => {
                let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
                let every_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
                return Ok(vec![if is_local(&every) { every } else { every_v4 }.into()]);
            }
            Self::Host { name, port } => (name.as_str(), *port),
        };
        let mut all: Vec<SocketAddr> = Vec::new();
        for address in (name, port).to_socket_addrs()? {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        if all.iter().any(is_local) {
            all.retain(is_local);
        }
        Ok(all.into_iter().map(Address::from).collect())
    }
}

/// Returns whether a socket of this machine can have the IP address.
fn is_local(address: &SocketAddr) -> bool {
    let mut address = *address;
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        if text.starts_with('@') {
            return Ok(Self::Address(format!("unix:{text}").parse()?));
        }
        let error = match text.parse() {
            Ok(address) => return Ok(Self::Address(address)),
            Err(error) => error,
        };
        // Errors of names and zones say more than that the form is wrong.
        if text.starts_with("unix:") || text.starts_with('[') {
            return Err(error.into());
        }
        let (name, port) = text.rsplit_once(':').ok_or(ListenAddressError(Malformed::Form))?;
        let port = port.parse().map_err(|_| ListenAddressError(Malformed::Form))?;
        match name {
            "" => Ok(Self::Any { port }),
            name if is_host_name(name) => Ok(Self::Host { name: name.to_owned(), port }),
            _ => Err(ListenAddressError(Malformed::Form)),
        }
    }
}

/// Returns whether a text can be the name of a host, and not an IP address with a mistake in it.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or_default();
    text.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl From<Address> for ListenAddress {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Any { port } => write!(f, ":{port}"),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

/// The error of a text that is not a [`ListenAddress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddressError(Malformed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Malformed {
    Form,
    Address(AddressParseError),
}

impl fmt::Display for ListenAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Malformed::Form => f.write_str(
                "expected an address with a port, as in 127.0.0.1:8080, [::1]:8080, localhost:8080 or \
                 :8080 for all addresses, unix:PATH or unix:@NAME",
            ),
            Malformed::Address(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ListenAddressError {}

impl From<AddressParseError> for ListenAddressError {
    fn from(error: AddressParseError) -> Self {
        Self(Malformed::Address(error))
    }
}

impl From<ListenAddressError> for io::Error {
    fn from(error: ListenAddressError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_a_port_and_a_name_are_told_apart_and_survive_the_way_through_their_text() {
        let host = |name: &str, port| ListenAddress::Host { name: name.to_owned(), port };
        for (text, expected) in [
            (":80", ListenAddress::Any { port: 80 }),
            ("localhost:0", host("localhost", 0)),
            ("a-1.example.:65535", host("a-1.example.", 65_535)),
            ("1.2.3.4.example:5", host("1.2.3.4.example", 5)),
            ("1.2.3.4:5", ListenAddress::Address("1.2.3.4:5".parse().unwrap())),
            ("[::]:5", ListenAddress::Address("[::]:5".parse().unwrap())),
            ("unix:a:80", ListenAddress::Address("unix:a:80".parse().unwrap())),
        ] {
            assert_eq!(parse(text), expected);
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!(parse("@a"), parse("unix:@a"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":",
            "8080",
            "localhost",
            "localhost:",
            "localhost:65536",
            "localhost:http",
            "1.2.3.4",
            "1.2.3.4:65536",
            "1.2.3:80",
            "256.1.1.1:80",
            "::1",
            "::1:80",
            "[::1]",
            "[a]:80",
            ".:80",
            "a..b:80",
            "a b:80",
            "a/b:80",
            "a\n:80",
            "@",
            "unix:",
            "unix:@",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_address_is_that_of_ipv6_where_there_is_ipv6() {
        let resolved = parse(":7").resolve().unwrap();
        let every = if UdpSocket::bind("[::]:0").is_ok() { "[::]:7" } else { "0.0.0.0:7" };
        assert_eq!(resolved, [every.parse().unwrap()]);
    }

    #[test]
    fn a_name_is_looked_up_and_an_unknown_one_is_refused() {
        let resolved = parse("localhost:7").resolve().unwrap();
        assert!(!resolved.is_empty());
        for (at, address) in resolved.iter().enumerate() {
            let inet = address.inet().unwrap();
            assert!(inet.ip().is_loopback() && inet.port() == 7 && is_local(&inet), "{address}");
            assert!(!resolved[..at].contains(address), "{resolved:?}");
        }
        // RFC 6761: no resolver knows it.
        assert!(parse("unknown.invalid:7").resolve().is_err());
    }
}
