//! The address of the server: a host and a port, or a UNIX socket.

use crate::stats::Resource;
use anyhow::{Context, bail};
use epoll_sys::socket::{self, Address, Family, UnixAddress};
use nix::errno::Errno;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The time within which a refusal of a datagram is awaited if a host has several addresses.
const REFUSAL_MAX: Duration = Duration::from_millis(100);

/// A server as it is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host, by name or number, and a port.
    Host {
        /// The name or the IP address.
        host: String,
        /// The port, not 0.
        port: u16,
    },
    /// A UNIX stream socket at this path, or with this abstract name.
    Unix(UnixAddress),
}

impl Target {
    /// Parses `HOST:PORT`, `unix:PATH` or `unix:@NAME`, or a host with its port apart from it.
    ///
    /// # Errors
    ///
    /// A description of the error in the text or the port, as one line.
    pub fn parse(text: &str, port: Option<&str>) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match (path, port) {
                ("", _) => Err(format!("'{text}' has no path")),
                (_, Some(port)) => Err(format!("a UNIX socket has no port, but '{port}' is given")),
                (name, None) => name
                    .parse()
                    .map(Self::Unix)
                    .map_err(|error| format!("'{text}' cannot be connected to: {error}")),
            };
        }
        let (host, port) = match port {
            Some(port) if has_port(text) => {
                return Err(format!("'{text}' has a port already, but '{port}' is given"));
            }
            Some(port) => (text, port),
            None => text.rsplit_once(':').ok_or_else(|| {
                format!(
                    "'{text}' has no port; expected HOST PORT, HOST:PORT, unix:PATH or unix:@NAME"
                )
            })?,
        };
        let is_bare = !host.starts_with('[');
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let is_ipv6 = host.parse::<Ipv6Addr>().is_ok();
        // Without brackets nobody knows where the port begins.
        if host.contains(':') && (!is_ipv6 || is_bare && text.len() > host.len()) {
            return Err(format!("'{text}' is no address; IPv6 is written like [::1]:8080"));
        }
        if host.is_empty() {
            return Err(format!("'{text}' has no host"));
        }
        Self::with_port(host, port)
    }

    fn with_port(host: &str, port: &str) -> Result<Self, String> {
        match port.parse() {
            Ok(0) | Err(_) => Err(format!("'{port}' is no port; expected 1 to {}", u16::MAX)),
            Ok(port) => Ok(Self::Host { host: host.to_owned(), port }),
        }
    }

    /// Returns the name of the host; a UNIX socket has the one of this machine.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Host { host, .. } => host,
            Self::Unix(_) => "localhost",
        }
    }

    /// Returns the address of the server. If a host has several addresses, it is the first one that accepts
    /// a connection, or does not refuse an empty datagram; a single address is returned without trying it.
    ///
    /// # Errors
    ///
    /// An unknown host, or the error of the last address that was tried.
    pub(crate) fn reach(&self, transport: Transport, limit: Duration) -> anyhow::Result<Address> {
        let (host, port) = match self {
            Self::Unix(name) => return Ok(Address::Unix(*name)),
            Self::Host { host, port } => (host.as_str(), *port),
        };
        let addresses: Vec<SocketAddr> = (host, port)
            .to_socket_addrs()
            .with_context(|| format!("failed to look up host '{host}'"))?
            .collect();
        // The only address is tried by the first connection that is to stay.
        if let [only] = addresses[..] {
            return Ok(Address::Inet(only));
        }
        let mut last = None;
        for address in addresses {
            let tried = match transport {
                Transport::Stream => try_stream(address, limit),
                Transport::Datagram => try_datagram(address, limit),
            };
            match tried {
                Ok(()) => return Ok(Address::Inet(address)),
                Err(error) => last = Some((address, error)),
            }
        }
        match last {
            Some((address, error)) => {
                Err(error).with_context(|| format!("failed to connect to {address}"))
            }
            None => bail!("host '{host}' has no address"),
        }
    }
}

/// The target as the command line has it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(name) => write!(f, "{}", Address::Unix(*name)),
        }
    }
}

fn try_stream(address: SocketAddr, limit: Duration) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&address, limit)?;
    // The kernel may take the port that nobody listens on for the own end.
    match stream.local_addr()? == address {
        true => Err(io::ErrorKind::ConnectionRefused.into()),
        false => Ok(()),
    }
}

/// Sends an empty datagram. Nobody has to answer it, but one that reaches nobody is soon refused.
fn try_datagram(address: SocketAddr, limit: Duration) -> io::Result<()> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(limit.min(REFUSAL_MAX)))?;
    socket.send(&[])?;
    match socket.recv(&mut []) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Returns whether the text includes a port. A bare IPv6 address does not.
fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        (host.ends_with(']') || !host.contains(':')) && port.parse::<u16>().is_ok()
    })
}

/// The kind of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Stream,
    Datagram,
}

/// Returns a new socket on its way to the server, with `TCP_NODELAY` on TCP, and with a congestion control and a
/// local address if these are given.
pub(crate) fn connect(
    address: &Address,
    transport: Transport,
    congestion: Option<&str>,
    source: Option<IpAddr>,
) -> io::Result<OwnedFd> {
    let family = Family::of(address);
    let socket = match transport {
        Transport::Stream => socket::stream(family)?,
        Transport::Datagram => socket::datagram(family)?,
    };
    if address.inet().is_some() {
        if transport == Transport::Stream {
            socket::set_nodelay(&socket, true)?;
        }
        if let Some(congestion) = congestion {
            use_congestion(&socket, congestion)?;
        }
        if let Some(source) = source {
            // Without it a port is taken before the kernel knows where to, and an address has
            // no more than one range of them, TIME_WAIT included.
            socket::set_bind_address_no_port(&socket, true)?;
            bind(&socket, source)?;
        }
    }
    socket::connect(&socket, address)?;
    Ok(socket)
}

/// Binds the socket to a local address without a port. An error names the address; lack of ports is none, it
/// shows when the socket connects.
fn bind(socket: &OwnedFd, source: IpAddr) -> io::Result<()> {
    socket::bind(socket, SocketAddr::from((source, 0))).map_err(|error| {
        let what = format!("failed to use the local address {source}: {error}");
        // The kind is not kept: `AddrNotAvailable` would read as a lack of ports.
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

/// Returns the resource of this machine whose lack is the reason for which [`connect`] failed; `None` if it
/// is the server's.
pub(crate) fn lacks(address: &Address, error: &io::Error) -> Option<Resource> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => Some(Resource::Descriptors),
        Some(Errno::EADDRNOTAVAIL) => Some(Resource::Ports),
        // A UNIX listener whose queue is full says the same.
        Some(Errno::EAGAIN) if address.inet().is_some() => Some(Resource::Ports),
        _ => None,
    }
}

/// Sets the congestion control. An error names it: the module may not be loaded, or only root may choose
/// it.
fn use_congestion(socket: &OwnedFd, name: &str) -> io::Result<()> {
    socket::set_congestion(socket, name).map_err(|error| {
        let what = format!("failed to use congestion control '{name}': {error}");
        // The kind is not kept: `NotFound` would read as a missing server.
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_host(text: &str, port: Option<&str>, expected: &str) {
        let host = expected.to_owned();
        assert_eq!(Target::parse(text, port), Ok(Target::Host { host, port: 80 }));
    }

    #[test]
    fn a_host_comes_with_its_port_or_apart_from_it() {
        is_host("127.0.0.1:80", None, "127.0.0.1");
        is_host("127.0.0.1", Some("80"), "127.0.0.1");
        is_host("localhost:80", None, "localhost");
        is_host("[::1]:80", None, "::1");
        is_host("[::1]", Some("80"), "::1");
        is_host("::1", Some("80"), "::1");
        assert_eq!(Target::parse("unix:/a:b", None), Ok(Target::Unix("/a:b".parse().unwrap())));
    }

    #[test]
    fn a_target_is_shown_as_it_is_written() {
        for text in ["127.0.0.1:80", "localhost:80", "[::1]:80", "unix:/a:b", "unix:@name"] {
            assert_eq!(Target::parse(text, None).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_lack_is_told_from_a_refusal() {
        let tcp = Address::from("127.0.0.1:80".parse::<SocketAddr>().unwrap());
        let unix = Address::Unix("/a".parse().unwrap());
        let lack = |errno: Errno| lacks(&tcp, &io::Error::from(errno));
        assert_eq!(lack(Errno::EADDRNOTAVAIL), Some(Resource::Ports));
        assert_eq!(lack(Errno::EAGAIN), Some(Resource::Ports));
        assert_eq!(lack(Errno::EMFILE), Some(Resource::Descriptors));
        assert_eq!(lack(Errno::ECONNREFUSED), None);
        assert_eq!(lacks(&unix, &io::Error::from(Errno::EAGAIN)), None);
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (text, port) in [
            ("127.0.0.1", None),
            ("127.0.0.1:0", None),
            ("127.0.0.1:65536", None),
            ("127.0.0.1:", None),
            (":80", None),
            ("", Some("80")),
            ("[]:80", None),
            ("::1", None),
            ("::1:80", None),
            ("a:80", Some("80")),
            ("[::1]:80", Some("80")),
            ("a", Some("http")),
            ("unix:", None),
            ("unix:/a", Some("80")),
        ] {
            let error = Target::parse(text, port).unwrap_err();
            assert!(!error.contains('\n') && error.contains('\''), "{text} {port:?}: {error}");
        }
    }
}
