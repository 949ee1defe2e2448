//! The proxy among the examples does what that of the reactor does, and knows several backends.

#[path = "../../reactor/tests/proxy/suite.rs"]
mod suite;

use epoll_kit_testing::{DEADLINE, Examples, eventually};
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;
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
    // Another one is quiet, and stays: neither of its sides has ended.
    let (kept, kept_peer) = proxy.connection(&backend);
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
    // Longer than what is taken for quiet.
    kept.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert_eq!((&kept).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_echoes(&kept, &kept_peer);
    drop((kept, kept_peer));
    proxy.ends_well();
}

#[test]
fn what_a_client_sent_before_it_was_gone_arrives_however_late_it_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| format!("unix:{}", directory.path().join(name).display());
    let backend = UnixListener::bind(directory.path().join("back")).unwrap();
    let proxy = Proxy::start(&path("front"), &path("back"), &[]);
    let mut client = UnixStream::connect(directory.path().join("front")).unwrap();
    let mut peer = backend.accept().unwrap().0;
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    client.set_nonblocking(true).unwrap();
    let (mut sent, mut is_at_rest, bytes) = (0, false, vec![7; 64 << 10]);
    loop {
        match client.write(&bytes) {
            Ok(len) => (sent, is_at_rest) = (sent + len, false),
            // The proxy reads no more either, so bytes wait there for it.
            Err(_) if is_at_rest => break,
            Err(_) => {
                proxy.await_rest();
                is_at_rest = true;
            }
        }
    }
    // A socket of this kind is gone both ways at once.
    drop(client);
    proxy.await_rest();
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent);
    drop(peer);
    proxy.signal(Signal::TERM);
    proxy.ends_well();
}

#[test]
fn nothing_more_is_read_for_a_client_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let front = directory.path().join("front");
    let backend = listener();
    let address = address_of(&backend).to_string();
    let proxy = Proxy::start(&format!("unix:{}", front.display()), &address, &[]);
    let mut client = UnixStream::connect(&front).unwrap();
    let mut peer = backend.accept().unwrap().0;
    // It takes no notice of the end, and sends for ever.
    peer.set_write_timeout(Some(DEADLINE)).unwrap();
    peer.write_all(b"beginning").unwrap();
    let mut received = [0; 9];
    client.read_exact(&mut received).unwrap();
    drop(client);
    proxy.await_rest();
    let bytes = vec![7; 64 << 10];
    // More than all buffers hold.
    let sent = (0..4096).find_map(|_| peer.write(&bytes).err()).expect("the connection ends");
    assert!(matches!(sent.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{sent}");
    proxy.signal(Signal::TERM);
    proxy.ends_well();
}

#[test]
fn a_client_that_is_gone_at_once_leaves_no_connection_to_a_backend() {
    let directory = tempfile::tempdir().unwrap();
    let front = directory.path().join("front");
    let backend = listener();
    let address = address_of(&backend).to_string();
    let proxy = Proxy::start(&format!("unix:{}", front.display()), &address, &[]);
    for _ in 0..50 {
        drop(UnixStream::connect(&front).unwrap());
    }
    proxy.await_rest();
    backend.set_nonblocking(true).unwrap();
    while let Ok((mut peer, _)) = backend.accept() {
        peer.set_nonblocking(false).unwrap();
        // Sooner than the idle timeout.
        peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        match peer.read(&mut [0]) {
            Ok(len) => assert_eq!(len, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    proxy.signal(Signal::TERM);
    proxy.ends_well();
}
