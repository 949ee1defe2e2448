//! Connecting: with options, from an address, and never to oneself.

use super::{accept, assert_serves, await_readiness, tcp_listener};
use crate::support::wait;
use epoll_kit_testing::{assert_errno, assert_kind, close, eventually, under_strace};
use epoll_reactor::net::{
    Address, ConnectOptions, Keepalive, ListenOptions, Listener, Stream, StreamOptions,
};
use epoll_reactor::{Interest, Reactor, Watch};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn connect_from(local: Address, address: &Address) -> io::Result<Stream> {
    let options = ConnectOptions { local: Some(local), ..ConnectOptions::default() };
    Stream::connect_with(address, &options)
}

fn any_port() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_connected_stream_has_the_options_of_an_accepted_one() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let client = Stream::connect(listener.address()).unwrap();
    let server = accept(&mut listener).stream;
    await_readiness(&client, Interest::OUT);
    for stream in [&client, &server] {
        assert!(sockopt::tcp_nodelay(stream).unwrap());
        assert!(!sockopt::socket_keepalive(stream).unwrap());
        assert!(!sockopt::socket_oobinline(stream).unwrap());
        assert_eq!(sockopt::tcp_user_timeout(stream).unwrap(), 0);
    }
    server.set_nodelay(false).unwrap();
    assert!(!sockopt::tcp_nodelay(&server).unwrap());
    server.set_nodelay(true).unwrap();
    assert!(sockopt::tcp_nodelay(&server).unwrap());
    assert_errno(Stream::pair().unwrap().0.set_nodelay(true), Errno::OPNOTSUPP);
}

#[test]
fn a_stream_connects_with_the_options_it_is_given() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let stream = StreamOptions {
        nodelay: false,
        oob_inline: true,
        keepalive: Some(Keepalive::after(Duration::from_secs(42))),
        user_timeout: Some(Duration::from_secs(9)),
        receive_buffer: Some(32 << 10),
        send_buffer: Some(16 << 10),
    };
    let device = Some("lo".to_owned());
    let options = ConnectOptions { stream, local: Some(any_port()), device };
    let client = Stream::connect_with(listener.address(), &options).unwrap();
    accept(&mut listener);
    assert!(!sockopt::tcp_nodelay(&client).unwrap());
    assert!(sockopt::socket_oobinline(&client).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&client).unwrap(), Duration::from_secs(42));
    assert_eq!(sockopt::tcp_user_timeout(&client).unwrap(), 9_000);
    assert_eq!(sockopt::socket_recv_buffer_size(&client).unwrap(), 64 << 10);
    assert_eq!(sockopt::socket_send_buffer_size(&client).unwrap(), 32 << 10);
}

#[test]
fn a_unix_stream_connects_with_the_options_it_can_have() {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    let mut listener = Listener::bind(&address, &ListenOptions::default()).unwrap();
    let options = |stream| ConnectOptions { stream, ..ConnectOptions::default() };
    let default = StreamOptions::default;
    let possible = StreamOptions { oob_inline: true, send_buffer: Some(16 << 10), ..default() };
    let client = Stream::connect_with(&address, &options(possible)).unwrap();
    assert!(client.connected().unwrap());
    assert!(sockopt::socket_oobinline(&client).unwrap());
    assert_eq!(sockopt::socket_send_buffer_size(&client).unwrap(), 32 << 10);
    accept(&mut listener);
    let refused = |options: &ConnectOptions, name: &str| {
        let error = Stream::connect_with(&address, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("option {name} ")), "{error}");
    };
    let second = Duration::from_secs(1);
    let keepalive = Some(Keepalive::after(second));
    refused(&options(StreamOptions { keepalive, ..default() }), "keepalive");
    let user_timeout = Some(second);
    refused(&options(StreamOptions { user_timeout, ..default() }), "user_timeout");
    let device = Some("lo".to_owned());
    refused(&ConnectOptions { device, ..ConnectOptions::default() }, "device");
    let local = Some(any_port());
    refused(&ConnectOptions { local, ..ConnectOptions::default() }, "local");
    assert_eq!(listener.accept_batch().count(), 0);
}

#[test]
fn a_stream_connects_from_the_address_it_is_given() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let client = connect_from("127.0.0.2:0".parse().unwrap(), listener.address()).unwrap();
    let peer = accept(&mut listener).peer.inet().unwrap();
    assert_eq!(peer.ip().to_string(), "127.0.0.2");
    assert_eq!(client.local_addr().unwrap().inet(), Some(peer));
    // A port that was used shortly before can be used again.
    let local = client.local_addr().unwrap();
    close(client);
    eventually("the port is free", || match connect_from(local, listener.address()) {
        Err(error) => {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable), "{error}");
            false
        }
        Ok(stream) => stream.local_addr().unwrap() == local,
    });
    assert_kind(
        connect_from("192.0.2.1:0".parse().unwrap(), listener.address()),
        ErrorKind::AddrNotAvailable,
    );
    assert_kind(connect_from(*listener.address(), listener.address()), ErrorKind::AddrInUse);
    let device = Some("no-such".to_owned());
    let options = ConnectOptions { device, ..ConnectOptions::default() };
    assert_errno(Stream::connect_with(listener.address(), &options), Errno::NODEV);
    let device = Some("a-name-of-16-byt".to_owned());
    let options = ConnectOptions { device, ..ConnectOptions::default() };
    assert_kind(Stream::connect_with(listener.address(), &options), ErrorKind::InvalidInput);
}

#[test]
fn a_port_that_the_kernel_chooses_serves_several_peers() {
    const NAME: &str = "net::connecting::a_port_that_the_kernel_chooses_serves_several_peers";
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let options = ["-o", trace.to_str().unwrap(), "-e", "trace=setsockopt,bind"];
    let has_run = under_strace(NAME, &options, || {
        let listener = tcp_listener(&ListenOptions::default());
        connect_from(any_port(), listener.address()).unwrap();
    });
    if has_run {
        let calls = std::fs::read_to_string(trace).unwrap();
        let last_bind = calls.rfind("bind(").unwrap();
        assert!(calls[..last_bind].contains("IP_BIND_ADDRESS_NO_PORT, [1]"), "{calls}");
    }
}

/// Returns the result of the attempt, when it is known.
#[track_caller]
fn outcome(stream: Stream) -> io::Result<bool> {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let token = reactor.insert(stream, Watch::level(Interest::OUT)).unwrap();
    wait(&mut reactor);
    let connected = reactor[token].connected();
    if connected.is_err() {
        // An error is taken, and is no success afterwards.
        reactor[token].connected().unwrap_err();
    }
    // Its address is free again.
    close(reactor);
    connected
}

#[test]
fn the_outcome_of_a_connect_is_one_call() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let address = *listener.address();
    assert!(outcome(Stream::connect(&address).unwrap()).unwrap());
    accept(&mut listener);
    close(listener);
    assert_kind(outcome(Stream::connect(&address).unwrap()), ErrorKind::ConnectionRefused);
    let refused = Stream::connect(&address).unwrap();
    await_readiness(&refused, Interest::OUT);
    refused.take_error().unwrap().unwrap();
    assert_kind(refused.connected(), ErrorKind::NotConnected);
    assert_kind(refused.peer_addr(), ErrorKind::NotConnected);
}

#[test]
fn an_attempt_under_way_is_told_from_one_that_is_over() {
    // The queue holds one connection more than the backlog; a further client gets no answer.
    let options = ListenOptions { backlog: 0, ..ListenOptions::default() };
    let mut listener = tcp_listener(&options);
    let address = *listener.address();
    let _queued = TcpStream::connect(address.inet().unwrap()).unwrap();
    let waiting = Stream::connect(&address).unwrap();
    assert!(!waiting.connected().unwrap());
    assert_kind(waiting.peer_addr(), ErrorKind::NotConnected);
    accept(&mut listener);
    // The kernel tries again a second later.
    await_readiness(&waiting, Interest::OUT);
    assert!(waiting.connected().unwrap());
    assert_eq!(waiting.peer_addr().unwrap(), address);
}

#[test]
fn a_stream_that_meets_itself_is_refused() {
    // The port is free again when the listener is closed; a client that is bound to it meets itself.
    let listener = tcp_listener(&ListenOptions::default());
    let address = *listener.address();
    close(listener);
    let stream = connect_from(address, &address).unwrap();
    let error = outcome(stream).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("itself"), "{error}");
    // As the kernel has it, the connection is there.
    let stream = connect_from(address, &address).unwrap();
    await_readiness(&stream, Interest::OUT);
    assert_eq!(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    close(stream);
    assert_serves(&mut Listener::bind(&address, &ListenOptions::default()).unwrap(), &address);
}

#[test]
fn a_link_local_address_needs_its_zone() {
    // Whatever the machine has: without a zone the kernel refuses, with one it looks for a way.
    let without: SocketAddr = "[fe80::1]:9".parse().unwrap();
    let error = Stream::connect(&without.into()).unwrap_err();
    let without_ipv6 = Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT);
    assert!(without_ipv6 || error.kind() == ErrorKind::InvalidInput, "{error}");
}
