//! Conversions from and to the types of the standard library. A value that does not fit is given back.

use super::{assert_receives, assert_serves, connected, tcp_listener};
use epoll_kit_testing::close;
use epoll_reactor::net::{
    Address, ConversionError, Datagram, ListenOptions, Listener, Stream, StreamOptions,
};
use epoll_sys::{EventFd, is_nonblocking, socket};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

#[track_caller]
fn assert_given_back<T: AsFd + std::fmt::Debug, U: std::fmt::Debug>(
    result: Result<U, ConversionError<T>>,
    kind: ErrorKind,
) -> T {
    let error = result.unwrap_err();
    assert_eq!(error.error().kind(), kind, "{error}");
    assert_eq!(error.to_string(), error.error().to_string());
    assert!(error.source().is_none());
    let given_back = error.into_inner();
    // It is still open.
    is_nonblocking(&given_back).unwrap();
    given_back
}

fn tcp_pair() -> (Stream, Stream) {
    connected(&mut tcp_listener(&ListenOptions::default()))
}

#[test]
fn a_stream_becomes_what_it_is_and_nothing_else() {
    let (client, server) = tcp_pair();
    let number = client.as_raw_fd();
    let client = assert_given_back(UnixStream::try_from(client), ErrorKind::InvalidInput);
    let client = TcpStream::try_from(client).unwrap();
    assert_eq!(client.as_raw_fd(), number);
    assert_eq!((&client).write(b"w").unwrap(), 1);
    assert_receives(&server, b"w");

    let (ours, theirs) = Stream::pair().unwrap();
    let ours = assert_given_back(TcpStream::try_from(ours), ErrorKind::InvalidInput);
    let ours = UnixStream::try_from(ours).unwrap();
    assert_eq!((&ours).write(b"w").unwrap(), 1);
    assert_receives(&theirs, b"w");
    let refused: io::Error = TcpStream::try_from(theirs).unwrap_err().into();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[test]
fn only_a_stream_socket_becomes_a_stream() {
    let udp = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_given_back(Stream::try_from(udp), ErrorKind::InvalidInput);
    let (datagram, _peer) = UnixDatagram::pair().unwrap();
    assert_given_back(Stream::try_from(OwnedFd::from(datagram)), ErrorKind::InvalidInput);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener =
        assert_given_back(Stream::try_from(OwnedFd::from(listener)), ErrorKind::InvalidInput);
    // What was refused is as it was.
    assert!(!is_nonblocking(&listener).unwrap());
    let disguised = TcpStream::from(listener);
    assert_given_back(Stream::try_from(disguised), ErrorKind::InvalidInput);
    let other = OwnedFd::from(EventFd::new(0).unwrap());
    let error = io::Error::from(Stream::try_from(other).unwrap_err());
    assert_eq!(Errno::from_io_error(&error), Some(Errno::NOTSOCK));
}

#[test]
fn a_socket_that_listens_becomes_a_listener() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(tcp.local_addr().unwrap());
    let mut listener = Listener::try_from(tcp).unwrap();
    assert!(is_nonblocking(listener.socket()).unwrap());
    assert_eq!(listener.address(), &address);
    assert_serves(&mut listener, &address);
    let (_client, server) = connected(&mut listener);
    assert!(sockopt::tcp_nodelay(&server).unwrap());
    // What was bound by others is closed like any other.
    assert_eq!(listener.close().count(), 0);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut listener = Listener::try_from(UnixListener::bind(&path).unwrap()).unwrap();
    let address = Address::unix(&path).unwrap();
    assert_eq!(listener.address(), &address);
    assert_serves(&mut listener, &address);
    close(listener);
    assert!(fs::symlink_metadata(&path).is_ok(), "the path is somebody else's");
}

#[test]
fn a_listener_is_adopted_with_options_that_do_not_come_too_late() {
    let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = StreamOptions { send_buffer: Some(16 << 10), ..StreamOptions::default() };
    let options = ListenOptions { stream, accept_batch_max: 1, ..ListenOptions::default() };
    let mut listener = Listener::adopt(bound(), &options).unwrap();
    let (_client, server) = connected(&mut listener);
    assert_eq!(sockopt::socket_send_buffer_size(&server).unwrap(), 32 << 10);

    for options in [
        ListenOptions { reuse_port: true, ..ListenOptions::default() },
        ListenOptions { ipv6_only: Some(true), ..ListenOptions::default() },
        ListenOptions { path_mode: Some(0o600), ..ListenOptions::default() },
        ListenOptions { path_owner: Some(Default::default()), ..ListenOptions::default() },
    ] {
        let listener =
            assert_given_back(Listener::adopt(bound(), &options), ErrorKind::InvalidInput);
        assert!(!is_nonblocking(listener).unwrap());
    }
}

#[test]
fn a_path_is_removed_by_who_is_to_remove_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let address = Address::unix(&path).unwrap();
    let first = Listener::bind(&address, &ListenOptions::default()).unwrap();
    let handed_over = first.socket().try_clone_to_owned().unwrap();
    let second = Listener::adopt(handed_over, &ListenOptions::default()).unwrap();
    let [of_first, of_second] =
        [&first, &second].map(|one| one.path_removal().expect("it has a path"));
    assert_eq!((of_first.is_on(), of_second.is_on()), (true, false));
    assert!(second.try_clone().unwrap().path_removal().is_none());
    of_first.set(false);
    close(first);
    assert!(path.exists());
    of_second.set(true);
    close(second);
    assert!(!path.exists());

    let unnamed = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default());
    assert!(unnamed.unwrap().path_removal().is_none());
}

#[test]
fn only_a_stream_socket_that_listens_becomes_a_listener() {
    let unheard = socket::stream(socket::Family::Inet).unwrap();
    assert_given_back(Listener::try_from(unheard), ErrorKind::InvalidInput);
    let (client, _server) = tcp_pair();
    assert_given_back(Listener::try_from(OwnedFd::from(client)), ErrorKind::InvalidInput);
    let udp = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_given_back(Listener::try_from(udp), ErrorKind::InvalidInput);
    let other = OwnedFd::from(EventFd::new(0).unwrap());
    let error = io::Error::from(Listener::try_from(other).unwrap_err());
    assert_eq!(Errno::from_io_error(&error), Some(Errno::NOTSOCK));
}

#[test]
fn only_a_datagram_socket_becomes_a_datagram_socket() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = Address::from(udp.local_addr().unwrap());
    let datagram = Datagram::try_from(udp).unwrap();
    assert!(is_nonblocking(&datagram).unwrap());
    assert_eq!(datagram.local_addr().unwrap(), address);
    assert_eq!(datagram.as_raw_fd(), datagram.as_fd().as_raw_fd());
    let (unix, _peer) = UnixDatagram::pair().unwrap();
    Datagram::try_from(unix).unwrap();
    Datagram::try_from(OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap())).unwrap();

    let (stream, _peer) = Stream::pair().unwrap();
    assert_given_back(Datagram::try_from(OwnedFd::from(stream)), ErrorKind::InvalidInput);
    let other = OwnedFd::from(EventFd::new(0).unwrap());
    let error = io::Error::from(Datagram::try_from(other).unwrap_err());
    assert_eq!(Errno::from_io_error(&error), Some(Errno::NOTSOCK));
}
