//! Addresses as texts, there and back.

use epoll_reactor::net::{Address, AddressParseError, Peer};
use proptest::prelude::*;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

proptest! {
    #[test]
    fn an_internet_address_survives_the_trip_through_a_text(ip: IpAddr, port: u16) {
        let address = Address::from(SocketAddr::new(ip, port));
        prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
        prop_assert_eq!(address.inet(), Some(SocketAddr::new(ip, port)));
    }

    #[test]
    fn a_scope_survives_the_trip_through_a_text(ip: std::net::Ipv6Addr, port: u16, scope: u32) {
        let address = Address::from(SocketAddr::from(SocketAddrV6::new(ip, port, 0, scope)));
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn a_path_survives_the_trip_through_a_text(path in "[^\0]{1,120}") {
        let address = Address::Unix(PathBuf::from(&path));
        prop_assert_eq!(address.to_string(), format!("unix:{path}"));
        prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
        prop_assert_eq!(address.inet(), None);
    }

    #[test]
    fn any_text_is_an_address_or_is_refused(text: String) {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }

    #[test]
    fn a_peer_is_printed_as_its_address(ip: IpAddr, port: u16) {
        let address = SocketAddr::new(ip, port);
        prop_assert_eq!(Peer::from(Some(address)), Peer::Inet { ip, port });
        prop_assert_eq!(Peer::from(Some(address)).to_string(), address.to_string());
    }
}

#[test]
fn texts_that_are_no_addresses_are_refused() {
    for text in [
        "",
        ":",
        "unix",
        "unix:",
        "localhost",
        "localhost:80",
        "127.0.0.1",
        "127.0.0.1:",
        "::1:80",
        "[::1]",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        " 127.0.0.1:80",
        "/run/echo.sock",
    ] {
        let refused: Result<Address, AddressParseError> = text.parse();
        let error = refused.expect_err(text);
        assert!(error.to_string().contains("unix:PATH"), "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn texts_that_are_addresses_are_taken() {
    let inet = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
    assert_eq!("127.0.0.1:7".parse(), Ok(Address::Inet(inet)));
    assert_eq!("unix:/run/echo.sock".parse(), Ok(Address::Unix("/run/echo.sock".into())));
    // A path may be relative, and look like anything.
    assert_eq!("unix:echo".parse(), Ok(Address::Unix("echo".into())));
    assert_eq!("unix:127.0.0.1:7".parse(), Ok(Address::Unix("127.0.0.1:7".into())));
    assert_eq!("[::1]:7".parse::<Address>().unwrap().to_string(), "[::1]:7");
    assert_eq!(Peer::from(None), Peer::Unix);
    assert_eq!(Peer::Unix.to_string(), "unix");
}
