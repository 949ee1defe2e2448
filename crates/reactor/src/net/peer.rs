//! The other end of a connection, in few bytes.
//!
//! A link-local IPv6 address has 54 bits that are zero, RFC 4291; the zone is kept there.

use crate::net::{Address, UnixAddress};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The other end of a connection: an internet address in a sixth of the room that an [`Address`] takes,
/// for servers that keep one for each connection.
///
/// It does not keep the name of a UNIX peer. Most have none;
/// [`Stream::peer_addr`](crate::net::Stream::peer_addr) returns it.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::{Address, Peer};
///
/// for text in ["192.0.2.1:50000", "[2001:db8::1]:50000"] {
///     let address: Address = text.parse()?;
///     let peer = Peer::from(&address);
///     assert_eq!((peer.to_string().as_str(), peer.address()), (text, address));
/// }
/// assert_eq!(Peer::from(&"unix:@client".parse()?).to_string(), "unix");
/// assert!(size_of::<Peer>() <= 20);
/// # Ok::<(), epoll_reactor::net::AddressParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(Kind);

/// The address in bytes. Ports too, so that nothing needs alignment and its padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    V4([u8; 4], [u8; 2]),
    V6([u8; 16], [u8; 2]),
    /// A link-local address, whose zone is in the bytes from [`ZONE_AT`] on.
    LinkLocal([u8; 16], [u8; 2]),
    Unix,
}

const _: () = assert!(size_of::<Peer>() <= 20);

/// The first byte of the zone, in bits that are zero in a link-local address.
const ZONE_AT: usize = 4;
const ZONE_LEN: usize = size_of::<u32>();

impl Peer {
    /// Returns the IP address; `None` for a UNIX socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address().inet().map(|address| address.ip())
    }

    /// Returns the address; the unnamed one for a UNIX socket.
    #[must_use]
    pub fn address(&self) -> Address {
        match self.0 {
            Kind::V4(ip, port) => {
                SocketAddr::from((Ipv4Addr::from(ip), u16::from_be_bytes(port))).into()
            }
            Kind::V6(ip, port) => {
                SocketAddr::from((Ipv6Addr::from(ip), u16::from_be_bytes(port))).into()
            }
            Kind::LinkLocal(mut ip, port) => {
                let mut zone = [0; ZONE_LEN];
                zone.swap_with_slice(&mut ip[ZONE_AT..][..ZONE_LEN]);
                let (ip, port) = (Ipv6Addr::from(ip), u16::from_be_bytes(port));
                SocketAddr::from(SocketAddrV6::new(ip, port, 0, u32::from_be_bytes(zone))).into()
            }
            Kind::Unix => Address::Unix(UnixAddress::UNNAMED),
        }
    }
}

impl From<&Address> for Peer {
    fn from(address: &Address) -> Self {
        Self(match address {
            Address::Inet(SocketAddr::V4(v4)) => {
                Kind::V4(v4.ip().octets(), v4.port().to_be_bytes())
            }
            Address::Inet(SocketAddr::V6(v6)) => {
                let (mut ip, port) = (v6.ip().octets(), v6.port().to_be_bytes());
                let room = &mut ip[ZONE_AT..][..ZONE_LEN];
                let has_room = v6.ip().is_unicast_link_local() && *room == [0; ZONE_LEN];
                if v6.scope_id() != 0 && has_room {
                    room.copy_from_slice(&v6.scope_id().to_be_bytes());
                    Kind::LinkLocal(ip, port)
                } else {
                    Kind::V6(ip, port)
                }
            }
            Address::Unix(_) => Kind::Unix,
        })
    }
}

impl fmt::Display for Peer {
    /// Writes it as an [`Address`]; a UNIX socket is `unix`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({self})")
    }
}
