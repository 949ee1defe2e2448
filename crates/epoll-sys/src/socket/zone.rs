//! Zones of IPv6 addresses: the network interface that a link-local address belongs to, by number in a
//! `sockaddr` and by name for people.

use super::address_error::AddressParseError;
use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

/// `SIOCGIFINDEX`: returns the number of the network interface called `name`,
/// [netdevice(7)](https://man7.org/linux/man-pages/man7/netdevice.7.html).
///
/// # Errors
///
/// `ENODEV`: there is no such interface. `EMFILE` and `ENFILE`: this process, or the system, is out of
/// descriptors. The call uses one for a moment.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket::{interface_index, interface_name};
///
/// let loopback = interface_index("lo")?;
/// assert_eq!(interface_name(loopback)?, "lo");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "if_nametoindex")]
pub fn interface_index(name: &str) -> io::Result<u32> {
    Ok(name_to_index(any_socket()?, name)?)
}

/// `SIOCGIFNAME`: returns the name of the network interface with this number,
/// [netdevice(7)](https://man7.org/linux/man-pages/man7/netdevice.7.html).
///
/// # Errors
///
/// Those of [`interface_index`].
#[doc(alias = "if_indextoname")]
pub fn interface_name(index: u32) -> io::Result<String> {
    Ok(index_to_name(any_socket()?, index)?)
}

/// Sockets of every family answer questions about interfaces; a kernel without this one is rare.
fn any_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// Parses an internet address whose zone may be a name.
pub(super) fn parse(text: &str) -> Result<SocketAddr, AddressParseError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (ip, rest) = text.split_once('%').ok_or_else(AddressParseError::form)?;
    let (name, port) = rest.rsplit_once("]:").ok_or_else(AddressParseError::form)?;
    let address: Result<SocketAddrV6, _> = format!("{ip}]:{port}").parse();
    let mut address = address.map_err(|_| AddressParseError::form())?;
    let index = interface_index(name).map_err(|_| AddressParseError::zone(name))?;
    address.set_scope_id(index);
    Ok(address.into())
}

/// Writes an internet address, with its zone by name while there is such an interface.
pub(super) fn fmt(address: &SocketAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let SocketAddr::V6(v6) = address {
        if v6.scope_id() != 0 {
            if let Ok(name) = interface_name(v6.scope_id()) {
                return write!(f, "[{}%{name}]:{}", v6.ip(), v6.port());
            }
        }
    }
    fmt::Display::fmt(address, f)
}
