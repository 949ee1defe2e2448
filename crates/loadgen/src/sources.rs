//! The local addresses that connections come from.
//!
//! Kernel facts: (a) connections from one address to one server differ by their local port alone, so there
//! are at most as many as `ip_local_port_range` has ports; (b) the side that closes first keeps its port for
//! a minute (`TIME_WAIT`), though on the loopback interface another connection may take it over after a
//! second; (c) every address of 127.0.0.0/8 is local and has a range of its own.

use epoll_sys::socket::Address;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// The number of addresses of a churn on the loopback interface, which gets half the range of ports a second
/// from each of them.
const CHURN_SOURCES: u32 = 32;

/// The number of ports if the kernel does not report its range.
const PORTS: u32 = 28_232;

/// The addresses of 127.0.0.0/8 that are used at most.
const LOOPBACK_MAX: u32 = 1 << 20;

/// Local addresses, which connections use in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// The kernel chooses.
    Any,
    /// This many addresses from 127.0.0.1 on.
    Loopback(u32),
    /// The addresses of the command line, not empty.
    Listed(Vec<IpAddr>),
}

impl Sources {
    /// Returns the local addresses for `held` connections to `server` at a time. Those that are `listed` are
    /// used as they are; without any, a server on the IPv4 loopback interface gets as many addresses as the
    /// connections need, because all of its network is local.
    pub(crate) fn new(listed: &[IpAddr], server: &Address, held: u64, is_churn: bool) -> Self {
        if !listed.is_empty() {
            return Self::Listed(listed.to_vec());
        }
        let is_loopback = server
            .inet()
            .is_some_and(|server| matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback()));
        match count(held, ports(), is_churn) {
            0..=1 => Self::Any,
            _ if !is_loopback => Self::Any,
            count => Self::Loopback(count),
        }
    }

    /// Returns the local address of the connection with this number; `None` lets the kernel choose.
    pub(crate) fn get(&self, number: u64) -> Option<IpAddr> {
        match self {
            Self::Any => None,
            Self::Loopback(count) => {
                // A remainder fits.
                let turn = u32::try_from(number % u64::from(*count)).unwrap_or(0);
                Some(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + turn).into())
            }
            Self::Listed(listed) => {
                let turn = usize::try_from(number % listed.len() as u64).unwrap_or(0);
                listed.get(turn).copied()
            }
        }
    }
}

/// Returns the number of addresses with which half of each range of ports is enough.
fn count(held: u64, ports: u32, is_churn: bool) -> u32 {
    if is_churn {
        return CHURN_SOURCES;
    }
    let half = u64::from(ports / 2).max(1);
    u32::try_from(held.div_ceil(half)).unwrap_or(LOOPBACK_MAX).min(LOOPBACK_MAX)
}

/// Returns the number of ports that the kernel gives to outgoing connections of one address.
pub(crate) fn ports() -> u32 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    range.ok().and_then(|range| parse(&range)).unwrap_or(PORTS)
}

fn parse(range: &str) -> Option<u32> {
    let mut ends = range.split_whitespace().map(|end| end.parse::<u16>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    Some(u32::from(last.checked_sub(first)?) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn server(text: &str) -> Address {
        text.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn a_range_is_counted_with_both_ends() {
        assert_eq!(parse("32768\t60999\n"), Some(28_232));
        assert_eq!(parse("40000 40000"), Some(1));
        for wrong in ["", "5", "9 5", "a b"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn half_of_a_range_is_kept_free() {
        assert_eq!([0, 50, 51, 160].map(|held| count(held, 100, false)), [0, 1, 2, 4]);
        assert_eq!(count(u64::MAX, 1, false), LOOPBACK_MAX);
        assert_eq!(count(1, 100, true), CHURN_SOURCES);
    }

    #[test]
    fn only_the_ipv4_loopback_has_many_addresses() {
        let many = u64::from(ports()) * 2;
        let of = |address: &str| Sources::new(&[], &server(address), many, false);
        assert!(matches!(of("127.0.0.1:80"), Sources::Loopback(4..)));
        assert_eq!(of("192.0.2.1:80"), Sources::Any);
        assert_eq!(of("[::1]:80"), Sources::Any);
        assert_eq!(Sources::new(&[], &server("127.0.0.1:80"), 1, false), Sources::Any);
    }

    #[test]
    fn addresses_take_turns() {
        let taken = |sources: &Sources| [0, 1, 2].map(|number| sources.get(number));
        let [one, two] = ["127.0.0.1", "127.0.0.2"].map(|ip| Some(ip.parse::<IpAddr>().unwrap()));
        assert_eq!(taken(&Sources::Loopback(2)), [one, two, one]);
        let listed = [two.unwrap(), one.unwrap()];
        let sources = Sources::new(&listed, &server("127.0.0.1:80"), u64::MAX, true);
        assert_eq!(taken(&sources), [two, one, two]);
        assert_eq!(Sources::Any.get(7), None);
    }
}
