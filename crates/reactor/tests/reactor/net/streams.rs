//! Streams: never blocking, quiet about `SIGPIPE`, and frank about how a connect went.

use super::{accept, assert_receives, await_readiness, connected, tcp_listener};
use crate::support::{drain, wait};
use epoll_kit_testing::{assert_kind, close, eventually, in_own_process};
use epoll_reactor::net::{Address, ListenOptions, Listener, Stream};
use epoll_reactor::{Interest, Reactor, Readiness, Source, Watch};
use epoll_sys::{Signal, SignalSet, is_nonblocking};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

#[test]
fn a_tcp_connection_is_made_when_the_stream_is_writable() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let client = Stream::connect(listener.address()).unwrap();
    let token = reactor.insert(client, Watch::edge(Interest::OUT)).unwrap();
    let [(reported, readiness)] = wait(&mut reactor)[..] else { panic!("one report") };
    assert_eq!(reported, token);
    assert!(readiness.may_write() && !readiness.is_closing());
    assert!(reactor[token].connected().unwrap());
    reactor[token].write_all(b"hello").unwrap();
    assert_receives(&accept(&mut listener).stream, b"hello");
}

#[test]
fn a_refused_connection_is_told_by_the_error_that_is_taken() {
    let listener = tcp_listener(&ListenOptions::default());
    let address = *listener.address();
    close(listener);
    let client = Stream::connect(&address).unwrap();
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let token = reactor.insert(client, Watch::level(Interest::OUT)).unwrap();
    let readiness = wait(&mut reactor)[0].1;
    assert!(readiness.contains(Readiness::ERR | Readiness::HUP), "{readiness:?}");
    let error = reactor[token].take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(reactor[token].take_error().unwrap().is_none());
}

#[test]
fn a_unix_connection_is_made_at_once_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    assert_kind(Stream::connect(&address), ErrorKind::NotFound);
    let mut listener = Listener::bind(&address, &ListenOptions::default()).unwrap();
    let mut client = Stream::connect(&address).unwrap();
    client.write_all(b"hello").unwrap();
    let server = listener.accept_batch().next().unwrap().stream;
    assert_receives(&server, b"hello");
}

#[test]
fn a_unix_connection_to_a_full_queue_would_block() {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
    let mut listener = Listener::bind(&address, &options).unwrap();
    let mut clients = Vec::new();
    let error = loop {
        match Stream::connect(&address) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() <= 2, "the backlog was not set");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(listener.accept_batch().count(), clients.len());
}

#[test]
fn what_would_block_says_so() {
    let (ours, theirs) = Stream::pair().unwrap();
    assert_kind((&ours).read(&mut [0]), ErrorKind::WouldBlock);
    let mut sent = 0;
    let error = loop {
        match (&ours).write(&[0; 64 << 10]) {
            Ok(len) => sent += len,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(drain(&theirs).len(), sent);
}

#[test]
fn a_stream_is_unshared_and_never_blocks_wherever_it_comes_from() {
    let (ours, _theirs) = Stream::pair().unwrap();
    assert!(ours.is_nonblocking() && ours.is_unshared());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (unix, other) = UnixStream::pair().unwrap();
    assert!(!is_nonblocking(&tcp).unwrap() && !is_nonblocking(&unix).unwrap());
    let (client, server) = connected(&mut tcp_listener(&ListenOptions::default()));
    for stream in [
        Stream::try_from(tcp).unwrap(),
        Stream::try_from(unix).unwrap(),
        Stream::try_from(OwnedFd::from(other)).unwrap(),
        Stream::pair().unwrap().0,
        client,
        server,
    ] {
        assert!(is_nonblocking(&stream).unwrap());
        assert!(fcntl_getfd(&stream).unwrap().contains(FdFlags::CLOEXEC));
        // Back to the standard library, non-blocking as it is.
        assert!(is_nonblocking(OwnedFd::from(stream)).unwrap());
    }
}

#[test]
fn a_shutdown_ends_one_direction() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&theirs).read(&mut [0]).unwrap(), 0);
    assert_kind((&ours).write(b"w"), ErrorKind::BrokenPipe);
    theirs.write_all(b"answer").unwrap();
    assert_receives(&ours, b"answer");
    theirs.flush().unwrap();
}

#[test]
fn a_close_after_reset_on_close_resets_the_peer() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let (client, server) = connected(&mut listener);
    server.reset_on_close().unwrap();
    close(server);
    await_readiness(&client, Interest::RDHUP);
    assert_kind((&client).read(&mut [0]), ErrorKind::ConnectionReset);

    // Where there is no such thing it changes nothing.
    let (ours, theirs) = Stream::pair().unwrap();
    ours.reset_on_close().unwrap();
    close(ours);
    assert_eq!((&theirs).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_write_to_a_closed_peer_raises_no_signal() {
    const NAME: &str = "net::streams::a_write_to_a_closed_peer_raises_no_signal";
    in_own_process(NAME, || {
        // The test harness ignores the signal, which would hide it; one that is pending shows.
        let pipe = SignalSet::from_iter([Signal::PIPE]);
        let _guard = pipe.block().unwrap();
        let (ours, theirs) = Stream::pair().unwrap();
        drop(theirs);
        assert_kind((&ours).write(b"w"), ErrorKind::BrokenPipe);
        assert_kind((&ours).write_vectored(&[IoSlice::new(b"w")]), ErrorKind::BrokenPipe);
        let mut listener = tcp_listener(&ListenOptions::default());
        let (client, server) = connected(&mut listener);
        server.reset_on_close().unwrap();
        drop(server);
        await_readiness(&client, Interest::RDHUP);
        assert_kind((&client).write(b"w"), ErrorKind::ConnectionReset);
        assert_kind((&client).write(b"w"), ErrorKind::BrokenPipe);
        assert!(!SignalSet::pending().unwrap().contains(Signal::PIPE));
        // A write of another kind shows that the signal would have been seen.
        assert_eq!(rustix::io::write(&client, b"w"), Err(Errno::PIPE));
        assert!(SignalSet::pending().unwrap().contains(Signal::PIPE));
    });
}

#[test]
fn a_vectored_write_is_one_message_and_a_vectored_read_fills_one_buffer_after_another() {
    let mut listener = tcp_listener(&ListenOptions::default());
    for (mut ours, mut theirs) in [Stream::pair().unwrap(), connected(&mut listener)] {
        let parts = [&b"hel"[..], b"", b"lo wor", b"ld"].map(IoSlice::new);
        assert_eq!(ours.write_vectored(&parts).unwrap(), 11);
        await_readiness(&theirs, Interest::IN);
        let (mut head, mut none, mut rest) = ([0; 4], [0; 0], [0; 16]);
        let mut buffers = [&mut head[..], &mut none, &mut rest].map(IoSliceMut::new);
        assert_eq!(theirs.read_vectored(&mut buffers).unwrap(), 11);
        assert_eq!((&head, &rest[..7]), (b"hell", &b"o world"[..]));
        let mut buffers = [IoSliceMut::new(&mut rest)];
        assert_kind(theirs.read_vectored(&mut buffers), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_vectored_call_takes_any_number_of_buffers() {
    let (ours, theirs) = Stream::pair().unwrap();
    let mut bytes: Vec<[u8; 1]> = (0..1500).map(|n: u32| [n.to_le_bytes()[0]]).collect();
    let parts: Vec<IoSlice<'_>> = bytes.iter().map(|byte| IoSlice::new(byte)).collect();
    // The kernel takes 1024 of them.
    assert_eq!((&ours).write_vectored(&parts).unwrap(), 1024);
    assert_eq!((&ours).write_vectored(&parts[1024..]).unwrap(), 1500 - 1024);
    let sent = bytes.concat();
    bytes.iter_mut().for_each(|byte| *byte = [0]);
    let mut buffers: Vec<_> = bytes.iter_mut().map(|byte| IoSliceMut::new(byte)).collect();
    assert_eq!((&theirs).read_vectored(&mut buffers).unwrap(), 1024);
    assert_eq!((&theirs).read_vectored(&mut buffers[1024..]).unwrap(), 1500 - 1024);
    assert_eq!(bytes.concat(), sent);
}

#[test]
fn what_is_peeked_at_can_still_be_read() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    assert_kind(ours.peek(&mut [0]), ErrorKind::WouldBlock);
    assert_eq!(theirs.write(b"hello").unwrap(), 5);
    let mut buffer = [0; 16];
    for _ in 0..2 {
        assert_eq!(ours.peek(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
    }
    assert_receives(&ours, b"hello");
    close(theirs);
    assert_eq!(ours.peek(&mut buffer).unwrap(), 0);
}

#[test]
fn what_the_peer_has_not_taken_is_counted() {
    let mut listener = tcp_listener(&ListenOptions::default());
    for (ours, theirs) in [Stream::pair().unwrap(), connected(&mut listener)] {
        assert_eq!(ours.unsent().unwrap(), 0);
        while (&ours).write(&[0; 64 << 10]).is_ok() {}
        assert!(ours.unsent().unwrap() > 0);
        eventually("all of it has been taken", || {
            drain(&theirs);
            ours.unsent().unwrap() == 0
        });
    }
}

#[test]
fn a_stream_has_the_number_of_its_descriptor() {
    let (ours, theirs) = Stream::pair().unwrap();
    assert_eq!(ours.as_raw_fd(), ours.as_fd().as_raw_fd());
    assert_ne!(ours.as_raw_fd(), theirs.as_raw_fd());
    assert!(ours.connected().unwrap());
    assert!(ours.peer_addr().unwrap().inet().is_none());
    let number = ours.as_raw_fd();
    assert_eq!(OwnedFd::from(ours).as_raw_fd(), number);
}
