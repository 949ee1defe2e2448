//! The other end of an accepted connection.

use crate::net::{Address, UnixAddress};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of an accepted connection, smaller than an [`Address`]: a server keeps one for every
/// connection.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::{Address, Peer};
///
/// for text in ["192.0.2.1:50000", "[2001:db8::1]:50000", "unix:@client"] {
///     let address: Address = text.parse()?;
///     assert_eq!(Peer::from(address).to_string(), text);
/// }
/// # Ok::<(), epoll_reactor::net::AddressParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// TCP.
    Inet {
        /// The peer's address.
        ip: IpAddr,
        /// The peer's port.
        port: u16,
        /// The number of the network interface that a link-local IPv6 address belongs to; zero if there
        /// is none.
        zone: u32,
    },
    /// A UNIX socket. Most clients have no name.
    Unix(Option<Box<UnixAddress>>),
}

const _: () = assert!(size_of::<Peer>() <= 24);

impl Peer {
    /// Returns the full address.
    #[must_use]
    pub fn address(&self) -> Address {
        match self {
            Self::Inet { ip, port, zone } => {
                let mut address = SocketAddr::new(*ip, *port);
                if let SocketAddr::V6(v6) = &mut address {
                    v6.set_scope_id(*zone);
                }
                Address::Inet(address)
            }
            Self::Unix(name) => Address::Unix(name.as_deref().copied().unwrap_or(UnixAddress::UNNAMED)),
        }
    }
}

impl From<Address> for Peer {
    fn from(address: Address) -> Self {
        match address {
            Address::Inet(address) => {
                let zone = match address {
                    SocketAddr::V4(_) => 0,
                    SocketAddr::V6(v6) => v6.scope_id(),
                };
                Self::Inet { ip: address.ip(), port: address.port(), zone }
            }
            Address::Unix(name) => Self::Unix((!name.is_unnamed()).then(|| Box::new(name))),
        }
    }
}

impl fmt::Display for Peer {
    /// Writes it as an [`Address`]; a UNIX socket without a name is `unix`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}
