//! `--proxy-protocol`: whose connection it is comes first.

use crate::harness::{Launch, Mode, Server, Stats, converse, ends, is_cut_off, is_echoed};
use rustix::process::Signal;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The header of version 1 for a client with this address.
fn text(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.2 50000 443\r\n").into_bytes()
}

/// A header of version 2 with these addresses.
fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let len = u8::try_from(addresses.len()).unwrap();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family, 0, len][..], addresses].concat()
}

/// The header of version 2 for the client 192.0.2.7 with the port 50000.
fn of_seven() -> Vec<u8> {
    binary(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 2, 0xc3, 0x50, 1, 187])
}

fn proxied(mode: Mode) -> Launch {
    Launch::at("127.0.0.1:0").mode(mode).flag("--log", "debug").switch("--proxy-protocol")
}

/// Sends `bytes` in pieces of this length, each of which has arrived before the next.
fn send(stream: &mut TcpStream, bytes: &[u8], piece: usize) {
    for bytes in bytes.chunks(piece) {
        stream.write_all(bytes).unwrap();
        if bytes.len() < piece || piece > 1 {
            continue;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

in_all_modes!(the_client_is_whom_the_header_names);

fn the_client_is_whom_the_header_names(mode: Mode) {
    let server = proxied(mode).start();
    let v6 = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 9]].concat();
    let v6 = binary(0x21, 0x21, &[&v6[..], &v6, &[0xc3, 0x50, 1, 187, 4, 0, 1, 0]].concat());
    for (header, client) in [
        (text("192.0.2.1"), Some("192.0.2.1:50000")),
        (of_seven(), Some("192.0.2.7:50000")),
        // With an extension.
        (v6, Some("[2001:db8::9]:50000")),
        // Who speaks for itself.
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (binary(0x20, 0, &[]), None),
    ] {
        for piece in [usize::MAX, 10, 1] {
            let mut stream = server.client();
            let own = stream.local_addr().unwrap().to_string();
            let peer = format!("peer={}", client.unwrap_or(&own));
            // What follows is the stream, also in the same segment.
            send(&mut stream, &[&header[..], b"hello"].concat(), piece);
            is_echoed(&mut stream, b"hello");
            server.stderr.next_with(&["connection opened", &peer]);
            converse(&mut stream, b"more of it");
            converse(&mut stream, &header);
            stream.shutdown(Shutdown::Write).unwrap();
            ends(&mut stream);
            let received = format!("received={} ", 15 + header.len());
            server.stderr.next_with(&["connection closed", &peer, &received]);
        }
    }
}

in_all_modes!(the_limit_of_an_address_is_that_of_the_client);

fn the_limit_of_an_address_is_that_of_the_client(mode: Mode) {
    let launch = Launch::tcp(mode).switch("--proxy-protocol");
    let (launch, stats) = Stats::of(launch.flag("--max-per-peer", "2"));
    let mut server = launch.start();
    let from = |client: &str| {
        let mut stream = server.client();
        stream.write_all(&[&text(client)[..], b"x"].concat()).unwrap();
        stream
    };
    // Those whose client is not known yet are nobody's.
    let mut nameless = [(); 5].map(|()| server.client());
    let mut within = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(from);
    within.iter_mut().for_each(|stream| is_echoed(stream, b"x"));
    assert!(is_cut_off(&mut from("192.0.2.1")), "a third one");
    for stream in &mut nameless {
        stream.write_all(&text("192.0.2.2")).unwrap();
    }
    let mut served = 0;
    for stream in &mut nameless {
        // One that was refused already may not take it.
        let _ = stream.write_all(b"y");
        served += u32::from(!is_cut_off(stream));
    }
    assert_eq!(served, 1, "two of this client with the one before");
    within.iter_mut().for_each(|stream| converse(stream, b"as before"));
    drop((nameless, within));
    server.drain();
    let connections = &stats.read()["connections"];
    let counts = ["opened", "refused_peer"].map(|name| connections[name].as_u64());
    assert_eq!(counts, [Some(4), Some(5)], "{connections:#}");
}

in_all_modes!(a_header_that_is_wrong_missing_or_late_closes_its_connection_and_no_other);

fn a_header_that_is_wrong_missing_or_late_closes_its_connection_and_no_other(mode: Mode) {
    const TIMEOUT: Duration = Duration::from_millis(200);
    let launch = Launch::at("127.0.0.1:0").mode(mode).switch("--proxy-protocol");
    let (launch, stats) = Stats::of(launch.flag("--proxy-timeout", "200ms"));
    let mut server = launch.start();
    let mut other = server.client();
    other.write_all(&of_seven()).unwrap();
    converse(&mut other, b"hello");

    let begun = Instant::now();
    let mut late = [&b""[..], b"PROXY TCP4 192", &of_seven()[..20]].map(|begin| {
        let mut stream = server.client();
        stream.write_all(begin).unwrap();
        stream
    });
    for wrong in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 nobody", &binary(0x22, 0x11, &[0; 12])]
    {
        let mut stream = server.client();
        stream.write_all(wrong).unwrap();
        if wrong.starts_with(b"PROXY") {
            stream.write_all(b"\r\n").unwrap();
        }
        assert!(is_cut_off(&mut stream));
    }
    for begin in [&b""[..], b"PROXY", &of_seven()[..27]] {
        let mut stream = server.client();
        stream.write_all(begin).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(is_cut_off(&mut stream));
    }
    converse(&mut other, b"as before");
    for stream in &mut late {
        assert!(is_cut_off(stream));
    }
    assert!(begun.elapsed() >= TIMEOUT);
    converse(&mut other, b"as before");
    // The timeout is over for those that are served.
    converse(&mut server_client_late(&server, TIMEOUT), b"slow but in time");
    drop(other);
    server.drain();
    let log = server.stderr.rest();
    let warnings = log.iter().filter(|line| line.contains("connections refused"));
    for reason in
        ["no valid header of the PROXY protocol", "the header of the PROXY protocol is late"]
    {
        assert!(warnings.clone().any(|line| line.contains(reason)), "{log:#?}");
    }
    let connections = &stats.read()["connections"];
    let names = ["opened", "header_wrong", "header_missing", "header_late"];
    let counts = names.map(|name| connections[name].as_u64());
    assert_eq!(counts, [2, 3, 3, 3].map(Some), "{connections:#}");
}

/// A client whose header comes in two parts, and who is then silent for longer than a header may take.
fn server_client_late(server: &Server, timeout: Duration) -> TcpStream {
    let mut stream = server.client();
    let header = text("192.0.2.1");
    let (first, second) = header.split_at(20);
    stream.write_all(first).unwrap();
    stream.write_all(second).unwrap();
    thread::sleep(2 * timeout);
    stream
}

in_all_modes!(a_drain_waits_for_headers_until_half_time);

fn a_drain_waits_for_headers_until_half_time(mode: Mode) {
    let launch = proxied(mode).flag("--proxy-timeout", "0");
    let (launch, stats) = Stats::of(launch.flag("--drain-timeout", "1s"));
    let mut server = launch.start();
    // The second one is accepted when a connection after it is served.
    let [mut first, mut second] = [(); 2].map(|()| server.client());
    let mut third = server.client();
    third.write_all(&[&text("192.0.2.3")[..], b"hello"].concat()).unwrap();
    is_echoed(&mut third, b"hello");
    drop(third);
    let begun = Instant::now();
    server.process.signal(Signal::TERM);
    server.stderr.next_with(&["draining"]);
    first.write_all(&[&text("192.0.2.1")[..], b"hello"].concat()).unwrap();
    is_echoed(&mut first, b"hello");
    ends(&mut first);
    drop(first);
    assert!(is_cut_off(&mut second));
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert_eq!(server.await_end().code(), Some(0), "{:#?}", server.stderr.rest());
    let connections = &stats.read()["connections"];
    let counts = ["opened", "header_late"].map(|name| connections[name].as_u64());
    assert_eq!(counts, [Some(2), Some(1)], "{connections:#}");
}
