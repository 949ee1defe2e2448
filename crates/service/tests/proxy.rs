//! The proxy among the examples does what that of the reactor does, and knows several backends.

#![forbid(unsafe_code)]

#[path = "../../reactor/tests/proxy/suite.rs"]
mod suite;

use epoll_kit_testing::{Examples, eventually};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use suite::{Proxy, address_of, assert_echoes, listener};

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };
/// The memory that five connections and two threads may take under way, in bytes.
const MEMORY_MAX: usize = 3 << 20;
/// The first bytes that arrive during a pause end one wait, and silence the connection.
const SWITCHES_OF_A_PAUSE_MAX: usize = 2;

fn in_front_of(backends: &[&TcpListener]) -> Proxy {
    let addresses: Vec<_> = backends.iter().map(|one| address_of(one).to_string()).collect();
    Proxy::start("127.0.0.1:0", &addresses.join(","), &[])
}

#[test]
fn backends_are_taken_in_turn() {
    let backends = [listener(), listener(), listener()];
    let proxy = in_front_of(&[&backends[0], &backends[1], &backends[2]]);
    for _ in 0..3 {
        for backend in &backends {
            let (client, peer) = proxy.connection(backend);
            assert_echoes(&client, &peer);
        }
    }
}

#[test]
fn one_that_refuses_is_left_out_and_its_clients_go_to_the_others() {
    let backends = [listener(), listener()];
    let proxy = in_front_of(&[&backends[0], &backends[1]]);
    let [gone, backend] = backends;
    drop(gone);
    for _ in 0..6 {
        let (client, peer) = proxy.connection(&backend);
        assert_echoes(&client, &peer);
    }
    drop(backend);
    assert_eq!(proxy.connect().read(&mut [0]).unwrap(), 0, "there is none");
    proxy.await_rest();
}

#[test]
fn a_signal_lets_bytes_under_way_arrive() {
    let backend = listener();
    let proxy = Proxy::between(&backend);
    let (mut client, mut peer) = proxy.connection(&backend);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    proxy.signal(Signal::TERM);
    eventually("it accepts no more", || TcpStream::connect(&proxy.address).is_err());
    let mut question = String::new();
    peer.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question");
    peer.write_all(b"answer").unwrap();
    drop(peer);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    drop(client);
    proxy.ends_well();
}
