//! `--udp`: datagrams come back, but for those that might never stop.

use crate::harness::{Launch, Mode, OBSERVATION, Output, PATIENCE, Stats, converse, uninterrupted};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

/// Binds a socket to a loopback address.
fn bound(last: u8, port: u16) -> io::Result<UdpSocket> {
    UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], port)))
}

/// A client with an address of its own. The server answers each address so often a second.
fn client(last: u8) -> UdpSocket {
    let socket = bound(last, 0).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Starts a server; returns the address of its UDP echo as well.
fn start(launch: &Launch) -> (crate::harness::Server, SocketAddr) {
    let server = launch.start();
    let address = server.next_address();
    let address = address.strip_prefix("udp:").expect("the address for datagrams");
    let address = address.parse().unwrap();
    (server, address)
}

#[track_caller]
fn assert_silent(socket: &UdpSocket) {
    socket.set_read_timeout(Some(OBSERVATION)).unwrap();
    let error = uninterrupted(|| socket.recv(&mut [0; 16])).expect_err("no datagram");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

in_modes!(datagrams_come_back_beside_connections: level Level, oneshot Oneshot);

fn datagrams_come_back_beside_connections(mode: Mode) {
    let (launch, stats) = Stats::of(Launch::tcp(mode).flag("--udp", "127.0.0.1:0"));
    let (mut server, address) = start(&launch);
    let clients = [client(2), client(3)];
    let messages: Vec<Vec<u8>> = [0, 1, 100, 1472, 60_000].map(|len| vec![b'x'; len]).into();
    for message in &messages {
        for socket in &clients {
            socket.send_to(message, address).unwrap();
        }
        for socket in &clients {
            let mut echo = vec![0; 65_536];
            let (len, from) = uninterrupted(|| socket.recv_from(&mut echo)).unwrap();
            assert_eq!((len, from), (message.len(), address));
            assert!(echo[..len] == message[..], "another echo than what was sent");
        }
    }
    // Many at once: batches.
    for number in 0..100_u8 {
        clients[0].send_to(&[number], address).unwrap();
    }
    for number in 0..100_u8 {
        let mut echo = [0];
        uninterrupted(|| clients[0].recv(&mut echo)).unwrap();
        assert_eq!(echo, [number]);
    }
    converse(&mut server.client(), b"and over TCP");
    server.drain();
    let udp = &stats.read()["udp"];
    let counts = ["received", "echoed", "may_loop", "too_many", "unsent"];
    assert_eq!(counts.map(|name| udp[name].as_u64()), [110, 110, 0, 0, 0].map(Some), "{udp}");
}

#[test]
fn nothing_goes_back_to_services_to_other_echoes_or_to_those_who_send_too_much() {
    let launch = Launch::tcp(Mode::Level).flag("--udp", "127.0.0.1:0").flag("--udp-rate", "10");
    let (launch, stats) = Stats::of(launch);
    let (mut server, address) = start(&launch);
    // An echo on another machine has the same port.
    let echo = bound(2, address.port()).unwrap();
    echo.send_to(b"and back again", address).unwrap();
    assert_silent(&echo);
    let mut dropped = 1;
    // Only root may be a service.
    if let Some(service) = (1..1024).find_map(|port| bound(2, port).ok()) {
        service.send_to(b"chargen", address).unwrap();
        assert_silent(&service);
        dropped += 1;
    }
    let greedy = client(3);
    for _ in 0..100 {
        greedy.send_to(b"more", address).unwrap();
    }
    let polite = client(4);
    polite.send_to(b"hello", address).unwrap();
    assert_eq!(uninterrupted(|| polite.recv(&mut [0; 16])).unwrap(), 5);
    let mut echoed = 0;
    greedy.set_read_timeout(Some(OBSERVATION)).unwrap();
    while uninterrupted(|| greedy.recv(&mut [0; 16])).is_ok() {
        echoed += 1;
    }
    // A second's worth at once, and what came due while they were sent.
    assert!((10..100).contains(&echoed), "{echoed} of 100");
    std::thread::sleep(Duration::from_millis(150));
    greedy.send_to(b"patient", address).unwrap();
    assert_eq!(uninterrupted(|| greedy.recv(&mut [0; 16])).unwrap(), 7);
    server.drain();
    let udp = &stats.read()["udp"];
    let counts = ["received", "echoed", "may_loop", "too_many"].map(|name| udp[name].as_u64());
    let expected = [dropped + 102, echoed + 2, dropped, 100 - echoed];
    assert_eq!(counts, expected.map(Some), "{udp}");
}

/// Runs `epoll-load --udp` and returns its counts of datagrams: sent, received and lost, and the others in all.
#[track_caller]
fn load(address: SocketAddr, flags: &[&str]) -> [u64; 4] {
    let mut command = Command::new(env!("CARGO_BIN_EXE_epoll-load-under-test"));
    let output = Output::of(command.args(["--udp", &address.to_string(), "--json"]).args(flags));
    let json: serde_json::Value = serde_json::from_str(&output.stdout.concat())
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let count = |name: &str| json["datagrams"][name].as_u64().expect("a count");
    let others = ["late", "reordered", "duplicated", "wrong"].map(count).iter().sum();
    [count("sent"), count("received"), count("lost"), others]
}

#[test]
fn what_the_client_counts_is_what_the_server_counts() {
    let launch = Launch::tcp(Mode::Level).flag("--udp", "127.0.0.1:0").flag("--udp-rate", "100");
    let (launch, stats) = Stats::of(launch);
    let (mut server, address) = start(&launch);
    let flags = ["--connections", "4", "--source", "127.0.0.5,127.0.0.6", "--timeout", "2s"];
    // No more at once than each source may send.
    let few = load(address, &[&flags[..], &["--requests", "80", "--size", "1400"]].concat());
    assert_eq!(few, [80, 80, 0, 0]);
    let many = ["--connections", "1", "--requests", "500", "--rate", "2000", "--timeout", "2s"];
    let [sent, received, lost, others] = load(address, &many);
    assert!(sent == 500 && lost > 0 && others == 0, "{lost} lost");
    server.drain();
    let udp = &stats.read()["udp"];
    let counts = ["received", "echoed", "too_many"].map(|name| udp[name].as_u64());
    assert_eq!(counts, [580, 80 + received, lost].map(Some), "{udp}");
}

#[test]
fn an_address_that_is_taken_is_named_with_its_flag() {
    let taken = client(1);
    let address = taken.local_addr().unwrap().to_string();
    let output = Launch::tcp(Mode::Level).flag("--udp", &address).run();
    assert_eq!(output.status.code(), Some(1));
    let [line] = &output.stderr[..] else { panic!("{:?}", output.stderr) };
    assert!(line.contains(&format!("--udp {address}")), "{line}");
}
