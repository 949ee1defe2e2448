//! The header of the [PROXY protocol], in which a balancer names the client of a connection: version 1, a line of
//! text, and version 2, which is binary. Nothing here reads a socket.
//!
//! A header is refused at the first byte that cannot be one, and never has more than [`HEADER_MAX`] bytes, so a
//! client that speaks another protocol is refused without a wait.
//!
//! [PROXY protocol]: https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest header, in bytes. One of version 2 could be longer by its extensions; nginx has the same limit.
pub(crate) const HEADER_MAX: usize = 4096;

/// The longest header of version 1, in bytes, with its line break.
const TEXT_MAX: usize = 107;
const TEXT_PREFIX: &[u8] = b"PROXY ";

/// The first bytes of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length of what precedes the addresses of version 2: the signature, the version with the command, the family
/// with the transport, and the length of the rest.
const FIXED_LEN: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its length in bytes.
    pub(crate) len: usize,
    /// The client. `None`: the balancer speaks for itself, or the client has no internet address.
    pub(crate) client: Option<SocketAddr>,
}

/// The bytes do not begin with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Returns the header that `bytes` begin with; `None` if more bytes are needed, which is never so from [`HEADER_MAX`]
/// bytes on.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let begins_like =
        |prefix: &[u8]| bytes.iter().zip(prefix).all(|(byte, expected)| byte == expected);
    if begins_like(TEXT_PREFIX) {
        parse_text(bytes)
    } else if begins_like(SIGNATURE) {
        parse_binary(bytes)
    } else {
        Err(Malformed)
    }
}

fn parse_text(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let longest = &bytes[..bytes.len().min(TEXT_MAX)];
    let Some(end) = longest.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < TEXT_MAX { Ok(None) } else { Err(Malformed) };
    };
    let line = longest.get(TEXT_PREFIX.len()..end).ok_or(Malformed)?;
    let mut words = line.split(|&byte| byte == b' ');
    let client = match words.next() {
        // What follows is of no interest.
        Some(b"UNKNOWN") => None,
        Some(b"TCP4") => Some(source::<Ipv4Addr>(words)?),
        Some(b"TCP6") => Some(source::<Ipv6Addr>(words)?),
        _ => return Err(Malformed),
    };
    Ok(Some(Header { len: end + 2, client }))
}

/// Returns the first of two addresses, which are followed by their ports and nothing else.
fn source<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a [u8]>,
) -> Result<SocketAddr, Malformed> {
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok());
    let [source, destination] = [(); 2].map(|()| word()?.parse().map(A::into).ok());
    let [source_port, destination_port] = [(); 2].map(|()| port(word()?));
    let is_over = words.next().is_none();
    match (source, destination, source_port, destination_port) {
        (Some(ip), Some(_), Some(port), Some(_)) if is_over => Ok(SocketAddr::new(ip, port)),
        _ => Err(Malformed),
    }
}

/// Neither a sign nor a leading zero is allowed.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = text == "0" || !text.starts_with('0');
    if is_number && is_plain { text.parse().ok() } else { None }
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(&command) = bytes.get(SIGNATURE.len()) else { return Ok(None) };
    if command != LOCAL && command != PROXY {
        return Err(Malformed);
    }
    let Some(&[family, high, low]) = bytes.get(SIGNATURE.len() + 1..FIXED_LEN) else {
        return Ok(None);
    };
    let rest_len = usize::from(u16::from_be_bytes([high, low]));
    let len = FIXED_LEN + rest_len;
    // A balancer that speaks for itself may write any family, and no addresses.
    let addresses_len = if command == LOCAL { Some(0) } else { addresses_len(family) };
    let addresses_len = addresses_len.ok_or(Malformed)?;
    if rest_len < addresses_len || len > HEADER_MAX {
        return Err(Malformed);
    }
    // Behind the addresses there may be extensions.
    let Some(rest) = bytes.get(FIXED_LEN..len) else { return Ok(None) };
    let client = match (command, family) {
        (PROXY, TCP4) => address::<4>(rest),
        (PROXY, TCP6) => address::<16>(rest),
        _ => None,
    };
    Ok(Some(Header { len, client }))
}

/// Returns the length of both addresses; `None` for a family or a transport that there is not.
fn addresses_len(family: u8) -> Option<usize> {
    // No transport, a stream, datagrams.
    let has_transport = family & 0xf <= 2;
    // Unspecified, IPv4, IPv6 and UNIX.
    let len = match family >> 4 {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return None,
    };
    has_transport.then_some(len)
}

/// Returns the first of two addresses of `N` bytes, which are followed by their ports.
fn address<const N: usize>(bytes: &[u8]) -> Option<SocketAddr>
where
    [u8; N]: Into<IpAddr>,
{
    let ip: [u8; N] = *bytes.first_chunk()?;
    let port = bytes.get(2 * N..)?.first_chunk()?;
    Some(SocketAddr::new(ip.into(), u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that `bytes` are a header, whatever follows, and that no shorter part of them is one or is refused.
    #[track_caller]
    fn is_header(bytes: &[u8], client: Option<&str>) {
        let client = client.map(|text| text.parse().unwrap());
        let expected = Ok(Some(Header { len: bytes.len(), client }));
        for rest in [&b""[..], b"x", b"\r\nPROXY UNKNOWN\r\n"] {
            assert_eq!(parse(&[bytes, rest].concat()), expected, "{}", bytes.escape_ascii());
        }
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
        }
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xc3, 0x50, 1, 187];

    fn v6() -> Vec<u8> {
        let ip = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets();
        [&ip(1)[..], &ip(2), &[0xc3, 0x50, 1, 187]].concat()
    }

    #[test]
    fn text_names_the_client() {
        is_header(b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n", Some("192.0.2.1:50000"));
        is_header(b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n", Some("[2001:db8::1]:0"));
        is_header(b"PROXY UNKNOWN\r\n", None);
        is_header(b"PROXY UNKNOWN \xff and so on\r\n", None);
        let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
        assert_eq!(longest.len(), TEXT_MAX);
        is_header(longest.as_bytes(), None);
    }

    #[test]
    fn binary_names_the_client_and_may_have_extensions() {
        is_header(&binary(PROXY, TCP4, &V4), Some("192.0.2.1:50000"));
        is_header(&binary(PROXY, TCP6, &v6()), Some("[2001:db8::1]:50000"));
        let extended = [&V4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        is_header(&binary(PROXY, TCP4, &extended), Some("192.0.2.1:50000"));
        is_header(
            &binary(PROXY, TCP4, &[&V4[..], &[0; HEADER_MAX - 28]].concat()),
            Some("192.0.2.1:50000"),
        );
    }

    #[test]
    fn who_speaks_for_itself_or_has_no_internet_address_is_nobody_else() {
        is_header(&binary(LOCAL, TCP4, &V4), None);
        // Of such a header nothing else counts.
        is_header(&binary(LOCAL, 0xff, &[]), None);
        for (family, len) in [(0x00, 0), (0x00, 9), (0x12, 12), (0x31, 216), (0x32, 216)] {
            is_header(&binary(PROXY, family, &vec![1; len]), None);
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
        let long = [TEXT_PREFIX, b"UNKNOWN ", &[b'x'; TEXT_MAX]].concat();
        for (bytes, wrong_at) in [
            (&b"GET / HTTP/1.1\r\n"[..], 0),
            (b"PROXY\tTCP4", 5),
            (b"\r\n\r\nQUIT", 4),
            (b"\x16\x03\x01", 0),
            (&binary(0x11, TCP4, &V4), 12),
            (&binary(0x22, TCP4, &V4), 12),
            // Length and family come together.
            (&binary(PROXY, 0x41, &V4), 15),
            (&binary(PROXY, 0x13, &V4), 15),
            (&binary(PROXY, TCP4, &V4[..11]), 15),
            (&binary(PROXY, TCP6, &V4), 15),
            (&binary(PROXY, TCP4, &[0; HEADER_MAX - 15]), 15),
            (&long, TEXT_MAX - 1),
        ] {
            assert_eq!(parse(&bytes[..wrong_at]), Ok(None), "{}", bytes.escape_ascii());
            assert_eq!(parse(&bytes[..=wrong_at]), Err(Malformed), "{}", bytes.escape_ascii());
            assert_eq!(parse(bytes), Err(Malformed));
        }
    }

    #[test]
    fn a_line_that_is_not_written_as_it_must_be_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 +2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_so_many_always_decide() {
        let headers = [
            b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n".to_vec(),
            binary(PROXY, TCP6, &v6()),
            binary(LOCAL, 0, &[]),
        ];
        for header in headers {
            for at in 0..header.len() {
                for byte in 0..=u8::MAX {
                    let mut changed = header.clone();
                    changed[at] = byte;
                    if let Ok(Some(found)) = parse(&changed) {
                        assert!(found.len <= changed.len());
                    }
                    changed.resize(HEADER_MAX, byte);
                    assert_ne!(parse(&changed), Ok(None), "{}", header.escape_ascii());
                }
            }
        }
    }
}
