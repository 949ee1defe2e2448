//! Options of listeners: honoured, or refused by name.

use super::{accept, assert_serves, connected, queued, tcp_listener};
use crate::support::{assert_sleeps, wait};
use epoll_kit_testing::{assert_errno, assert_kind, in_own_process};
use epoll_reactor::net::{
    Address, ConnectOptions, Datagram, DatagramOptions, Keepalive, ListenOptions, Listener,
    PathOwner, Stream, StreamOptions,
};
use epoll_reactor::{Interest, Reactor, Readiness, Watch};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{SendFlags, send, sockopt};
use rustix::process::umask;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;
use tempfile::TempDir;

fn unix_address() -> (TempDir, Address) {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    (directory, address)
}

fn default() -> ListenOptions {
    ListenOptions::default()
}

#[track_caller]
fn assert_refused(address: &Address, options: &ListenOptions, name: &str) {
    let error = Listener::bind(address, options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(&format!("option {name} ")), "{error}");
}

#[test]
fn connections_of_a_unix_listener_have_the_options_too() {
    let (_directory, address) = unix_address();
    let stream = StreamOptions {
        oob_inline: true,
        receive_buffer: Some(8 << 10),
        send_buffer: Some(16 << 10),
        ..StreamOptions::default()
    };
    let mut listener = Listener::bind(&address, &ListenOptions { stream, ..default() }).unwrap();
    let mut clone = listener.try_clone().unwrap();
    for listener in [&mut listener, &mut clone] {
        let (_client, server) = connected(listener);
        assert!(sockopt::socket_oobinline(&server).unwrap());
        assert_eq!(sockopt::socket_recv_buffer_size(&server).unwrap(), 16 << 10);
        assert_eq!(sockopt::socket_send_buffer_size(&server).unwrap(), 32 << 10);
    }
    drop(listener);
    for (receive_buffer, send_buffer) in [(Some(8 << 10), None), (None, Some(8 << 10))] {
        let stream = StreamOptions { receive_buffer, send_buffer, ..StreamOptions::default() };
        let options = ListenOptions { stream, ..default() };
        let (_client, server) = connected(&mut Listener::bind(&address, &options).unwrap());
        let lens =
            [sockopt::socket_recv_buffer_size(&server), sockopt::socket_send_buffer_size(&server)];
        let is_set = lens.map(|len| len.unwrap() == 16 << 10);
        assert_eq!(is_set, [receive_buffer.is_some(), send_buffer.is_some()]);
    }
    let mut plain = Listener::bind(&address, &default()).unwrap();
    assert!(!sockopt::socket_oobinline(connected(&mut plain).1).unwrap());
}

/// The bytes of three sends, the second of which is urgent, as the reader finds them.
fn urgent(listener: &mut Listener) -> Vec<u8> {
    let (client, mut server) = connected(listener);
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    reactor.watch(&server, 's', Watch::level(Interest::IN)).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16]);
    for (part, flags) in
        [(b"ab", SendFlags::empty()), (b"c!", SendFlags::OOB), (b"de", SendFlags::empty())]
    {
        assert_eq!(send(&client, part, flags).unwrap(), 2);
        // Each has arrived before the next is sent.
        wait(&mut reactor);
        while let Ok(len) = server.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..len]);
        }
    }
    bytes
}

#[test]
fn an_urgent_byte_stays_among_the_others_where_that_is_asked_for() {
    let (_directory, address) = unix_address();
    let stream = StreamOptions { oob_inline: true, ..StreamOptions::default() };
    let inline = ListenOptions { stream, ..default() };
    let mut listener = Listener::bind(&address, &inline).unwrap();
    assert_eq!(urgent(&mut listener), b"abc!de");
    assert_eq!(urgent(&mut tcp_listener(&inline)), b"abc!de");
    drop(listener);
    let mut listener = Listener::bind(&address, &default()).unwrap();
    assert_eq!(urgent(&mut listener), b"abcde");
    assert_eq!(urgent(&mut tcp_listener(&default())), b"abcde");
}

#[test]
fn what_a_unix_listener_cannot_have_is_refused_by_name() {
    let (_directory, address) = unix_address();
    let second = Duration::from_secs(1);
    let stream = |stream| ListenOptions { stream, ..default() };
    let keepalive = Some(Keepalive::after(second));
    let keepalive = stream(StreamOptions { keepalive, ..StreamOptions::default() });
    let user_timeout = Some(second);
    let user_timeout = stream(StreamOptions { user_timeout, ..StreamOptions::default() });
    for (options, name) in [
        (keepalive, "keepalive"),
        (user_timeout, "user_timeout"),
        (ListenOptions { reuse_port: true, ..default() }, "reuse_port"),
        (ListenOptions { device: Some("lo".to_owned()), ..default() }, "device"),
        (ListenOptions { defer_accept: Some(second), ..default() }, "defer_accept"),
        (ListenOptions { fast_open: Some(16), ..default() }, "fast_open"),
        (ListenOptions { ipv6_only: Some(true), ..default() }, "ipv6_only"),
    ] {
        assert_refused(&address, &options, name);
        assert!(!address.as_path().unwrap().exists());
    }
}

#[test]
fn values_that_name_nothing_are_refused() {
    let (user, group) = (Some(u32::MAX), Some(u32::MAX));
    let (_directory, address) = unix_address();
    for (options, name) in [
        (ListenOptions { path_mode: Some(0o10000), ..default() }, "path_mode"),
        (
            ListenOptions { path_owner: Some(PathOwner { user, group: None }), ..default() },
            "path_owner",
        ),
        (
            ListenOptions { path_owner: Some(PathOwner { user: None, group }), ..default() },
            "path_owner",
        ),
    ] {
        assert_refused(&address, &options, name);
    }
    let device = Some(String::new());
    let address = "127.0.0.1:0".parse().unwrap();
    assert_refused(&address, &ListenOptions { device: device.clone(), ..default() }, "device");
    let connect = ConnectOptions { device: device.clone(), ..ConnectOptions::default() };
    assert_kind(Stream::connect_with(&address, &connect), ErrorKind::InvalidInput);
    let datagram = DatagramOptions { device, ..DatagramOptions::default() };
    assert_kind(Datagram::bind(&address, &datagram), ErrorKind::InvalidInput);
}

#[test]
fn what_only_some_addresses_can_have_is_refused_elsewhere() {
    let mode = ListenOptions { path_mode: Some(0o600), ..default() };
    let owner = ListenOptions { path_owner: Some(PathOwner::default()), ..default() };
    for address in ["127.0.0.1:0", "unix:@epoll-reactor-no-path"] {
        assert_refused(&address.parse().unwrap(), &mode, "path_mode");
        assert_refused(&address.parse().unwrap(), &owner, "path_owner");
    }
    let ipv6_only = ListenOptions { ipv6_only: Some(false), ..default() };
    assert_refused(&"127.0.0.1:0".parse().unwrap(), &ipv6_only, "ipv6_only");
}

#[test]
fn an_ipv6_listener_serves_ipv4_or_does_not() {
    let bind = |ipv6_only| {
        let options = ListenOptions { ipv6_only: Some(ipv6_only), ..default() };
        Listener::bind(&"[::]:0".parse().unwrap(), &options)
    };
    let mut both = match bind(false) {
        // A machine without IPv6.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT) => return,
        bound => bound.unwrap(),
    };
    let port = |listener: &Listener| listener.address().inet().unwrap().port();
    let over_ipv4: Address = format!("127.0.0.1:{}", port(&both)).parse().unwrap();
    assert_serves(&mut both, &over_ipv4);
    let only = bind(true).unwrap();
    let over_ipv4 = format!("127.0.0.1:{}", port(&only));
    assert_kind(std::net::TcpStream::connect(over_ipv4), ErrorKind::ConnectionRefused);
}

#[test]
fn a_listener_keeps_to_its_device() {
    let device = |name: &str| ListenOptions { device: Some(name.to_owned()), ..default() };
    let mut listener = tcp_listener(&device("lo"));
    let address = *listener.address();
    assert_serves(&mut listener, &address);
    let bind = |name| Listener::bind(&"127.0.0.1:0".parse().unwrap(), &device(name));
    assert_errno(bind("no-such"), Errno::NODEV);
    assert_kind(bind("a-name-of-16-byt"), ErrorKind::InvalidInput);
    assert_kind(bind("a\0b"), ErrorKind::InvalidInput);
}

#[test]
fn a_deferred_connection_is_queued_with_its_first_bytes() {
    let options = ListenOptions { defer_accept: Some(Duration::from_secs(30)), ..default() };
    let mut listener = tcp_listener(&options);
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let token = reactor.watch(&listener, 'l', Watch::level(Interest::IN)).unwrap();
    let mut client = queued(&listener, 1).pop().unwrap();
    assert_sleeps(&mut reactor);
    assert_eq!(client.write(b"hello").unwrap(), 5);
    assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
    let mut server = accept(&mut listener).stream;
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 5);
}

#[test]
fn a_fast_open_listener_serves() {
    let mut listener = tcp_listener(&ListenOptions { fast_open: Some(16), ..default() });
    let address = *listener.address();
    assert_serves(&mut listener, &address);
}

#[test]
fn a_path_has_the_mode_and_the_owner_that_were_asked_for() {
    const NAME: &str = "net::options::a_path_has_the_mode_and_the_owner_that_were_asked_for";
    in_own_process(NAME, || {
        let (_directory, address) = unix_address();
        let path = address.as_path().unwrap();
        let me = fs::metadata(path.parent().unwrap()).unwrap();
        // Whatever the umask, in both directions.
        for (mask, mode) in [(0o777, 0o666), (0, 0o600), (0o022, 0o660), (0, 0o7777)] {
            umask(Mode::from_bits_retain(mask));
            let owner = PathOwner { user: Some(me.uid()), group: Some(me.gid()) };
            let options =
                ListenOptions { path_mode: Some(mode), path_owner: Some(owner), ..default() };
            let mut listener = Listener::bind(&address, &options).unwrap();
            let metadata = fs::symlink_metadata(path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode);
            assert_eq!((metadata.uid(), metadata.gid()), (me.uid(), me.gid()));
            assert_serves(&mut listener, &address);
        }
        if me.uid() == 0 {
            let owner = PathOwner { user: Some(65_534), group: None };
            let options = ListenOptions { path_owner: Some(owner), ..default() };
            let _listener = Listener::bind(&address, &options).unwrap();
            let metadata = fs::symlink_metadata(path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (65_534, me.gid()));
        }
    });
}
