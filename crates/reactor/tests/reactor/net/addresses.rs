//! Addresses as texts, there and back.

use epoll_kit_testing::assert_kind;
use epoll_reactor::net::{Address, AddressParseError, Peer, UnixAddress};
use epoll_sys::socket::interface_index;
use proptest::prelude::*;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;

proptest! {
    #[test]
    fn an_internet_address_survives_the_trip_through_a_text(ip: IpAddr, port: u16) {
        let address = Address::from(SocketAddr::new(ip, port));
        prop_assert_eq!(address.to_string().parse(), Ok(address));
        prop_assert_eq!(address.inet(), Some(SocketAddr::new(ip, port)));
    }

    #[test]
    fn a_scope_survives_the_trip_through_a_text(ip: Ipv6Addr, port: u16, scope: u32) {
        let address = Address::from(SocketAddr::from(SocketAddrV6::new(ip, port, 0, scope)));
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn a_peer_keeps_the_zone_of_a_link_local_address(host: u64, port: u16, zone: u32) {
        let ip = Ipv6Addr::from(0xfe80 << 112 | u128::from(host));
        let address = Address::from(SocketAddr::from(SocketAddrV6::new(ip, port, 0, zone)));
        let peer = Peer::from(&address);
        prop_assert_eq!((peer.address(), peer.ip()), (address, Some(ip.into())));
    }

    #[test]
    fn a_peer_is_the_same_whatever_bits_a_link_local_address_has(low: [u16; 7], zone: u32) {
        let [a, b, c, d, e, f, g] = low;
        let ip = Ipv6Addr::new(0xfe80, a, b, c, d, e, f, g);
        let address = SocketAddrV6::new(ip, 1, 0, zone);
        let told = Peer::from(&Address::from(SocketAddr::from(address))).address();
        prop_assert_eq!(told.inet().map(|told| told.ip()), Some(ip.into()));
    }

    #[test]
    fn a_path_survives_the_trip_through_a_text(path in r"[^@\p{Cc}][^\p{Cc}]{0,106}") {
        match Address::unix(&path) {
            Ok(address) => {
                prop_assert_eq!(address.to_string(), format!("unix:{path}"));
                prop_assert_eq!(address.to_string().parse(), Ok(address));
                prop_assert_eq!(address.as_path(), Some(Path::new(&path)));
                prop_assert_eq!(address.inet(), None);
            }
            Err(error) => {
                prop_assert!(path.len() > 107);
                prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
            }
        }
    }

    #[test]
    fn an_abstract_name_of_any_bytes_survives_the_trip_through_a_text(
        name in proptest::collection::vec(any::<u8>(), 1..108)
    ) {
        let address = Address::abstract_name(&name).unwrap();
        prop_assert_eq!(address.to_string().parse(), Ok(address));
        let Address::Unix(unix) = address else { panic!("a UNIX address") };
        prop_assert_eq!(unix.as_abstract_name(), Some(&name[..]));
        prop_assert_eq!((unix.as_path(), unix.is_unnamed()), (None, false));
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
        let peer = Peer::from(&Address::from(address));
        prop_assert_eq!(peer.ip(), Some(ip));
        prop_assert_eq!(peer.to_string(), address.to_string());
        prop_assert_eq!(peer.address(), Address::from(address));
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
        "[::1%]:80",
        "[127.0.0.1%lo]:80",
        "[fe80::1%lo]80",
        "[fe80::1%lo]:+80",
        "fe80::1%lo]:80",
    ] {
        let refused: Result<Address, AddressParseError> = text.parse();
        let error = refused.expect_err(text);
        let why = error.to_string();
        assert!(why.contains("unix:PATH") || why.contains("interface"), "{text}: {why}");
        assert_eq!(format!("{error:?}"), why, "what `main` prints");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn texts_that_are_addresses_are_taken() {
    let parse = |text: &str| text.parse::<Address>().unwrap();
    assert_eq!(parse("127.0.0.1:7"), Address::Inet(SocketAddr::from((Ipv4Addr::LOCALHOST, 7))));
    assert_eq!(parse("unix:/run/echo.sock"), Address::unix("/run/echo.sock").unwrap());
    // A path may be relative, and look like anything.
    assert_eq!(parse("unix:echo"), Address::unix("echo").unwrap());
    assert_eq!(parse("unix:127.0.0.1:7"), Address::unix("127.0.0.1:7").unwrap());
    assert_eq!(parse("[::1]:7").to_string(), "[::1]:7");
    assert_eq!(parse("unix:@echo"), Address::abstract_name(b"echo").unwrap());
    assert_eq!(parse(r"unix:@\x00\\\n\xffé"), {
        Address::abstract_name(b"\0\\\n\xff\xc3\xa9").unwrap()
    });
    // A path that begins like an abstract name is written as what it is.
    assert_eq!(Address::unix("@echo").unwrap().to_string(), "unix:./@echo");
    let unix = Peer::from(&parse("unix:@echo"));
    assert_eq!((unix.ip(), unix.to_string().as_str()), (None, "unix"));
    assert_eq!(unix.address(), Address::Unix(UnixAddress::UNNAMED));
}

#[test]
fn a_zone_is_a_name_or_a_number() {
    let loopback = interface_index("lo").unwrap();
    let address: Address = "[fe80::1%lo]:80".parse().unwrap();
    let expected = SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, loopback);
    assert_eq!(address, Address::from(SocketAddr::from(expected)));
    assert_eq!(address.to_string(), "[fe80::1%lo]:80");
    assert_eq!(format!("[fe80::1%{loopback}]:80").parse(), Ok(address));
    assert_eq!(Peer::from(&address).to_string(), "[fe80::1%lo]:80");
    // No machine has so many interfaces.
    let unknown: Address = "[fe80::1%4294967295]:80".parse().unwrap();
    assert_eq!(unknown.to_string(), "[fe80::1%4294967295]:80");
    let refused = "[fe80::1%no-such]:80".parse::<Address>().unwrap_err();
    assert_eq!(refused.to_string(), "there is no network interface 'no-such'");
}

#[test]
fn a_name_that_is_too_long_or_malformed_is_refused() {
    let refused = |text: String| text.parse::<Address>().unwrap_err().to_string();
    let too_long = "the name of a UNIX socket has at most 107 bytes, not 108";
    assert_eq!(refused(format!("unix:{}", "x".repeat(108))), too_long);
    assert_eq!(refused(format!("unix:@{}", "x".repeat(108))), too_long);
    assert!(refused("unix:a\0b".to_owned()).contains("NUL"));
    for malformed in ["", "\\", "\\x", "\\x0", "\\x+1", "\\q"] {
        let why = refused(format!("unix:@{malformed}"));
        assert!(why.contains("abstract name"), "{malformed}: {why}");
    }
    assert_kind(Address::abstract_name(b""), ErrorKind::InvalidInput);
    assert_kind(Address::unix(""), ErrorKind::InvalidInput);
}
