//! Datagrams: one by one and in batches, over UDP and UNIX sockets.

use super::await_readiness;
use crate::support::{assert_sleeps, wait};
use epoll_kit_testing::{
    assert_errno, assert_kind, close, eventually, in_own_process, while_no_process_starts,
};
use epoll_reactor::net::{
    Address, Datagram, DatagramOptions, Received, RecvBatch, SendBatch, UnixAddress,
};
use epoll_reactor::{Interest, Reactor, Source, Watch};
use epoll_sys::{Signal, SignalSet, is_nonblocking};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use rustix::net::sockopt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use tempfile::TempDir;

fn udp() -> (Datagram, Address) {
    let socket = Datagram::bind(&"127.0.0.1:0".parse().unwrap(), &DatagramOptions::default());
    let socket = socket.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn unix() -> (TempDir, Address) {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    (directory, address)
}

fn bind(address: &Address) -> io::Result<Datagram> {
    Datagram::bind(address, &DatagramOptions::default())
}

/// Takes the next datagram, once there is one.
#[track_caller]
fn receive(socket: &Datagram, buffer: &mut [u8]) -> (Received, Address) {
    await_readiness(socket, Interest::IN);
    socket.recv_from(buffer).unwrap()
}

#[track_caller]
fn assert_receives(socket: &Datagram, expected: &[u8]) -> Address {
    let mut buffer = [0; 1024];
    let (received, from) = receive(socket, &mut buffer);
    assert_eq!((&buffer[..received.len], received.is_truncated), (expected, false));
    from
}

#[test]
fn a_datagram_comes_with_the_address_of_its_sender() {
    let ((one, one_address), (other, other_address)) = (udp(), udp());
    one.send_to(b"hello", &other_address).unwrap();
    assert_eq!(assert_receives(&other, b"hello"), one_address);
    // One of no bytes is one all the same.
    one.send_to(b"", &other_address).unwrap();
    assert_eq!(assert_receives(&other, b""), one_address);
    assert_kind(other.recv_from(&mut [0]), ErrorKind::WouldBlock);
    assert_kind(other.recv(&mut [0]), ErrorKind::WouldBlock);
}

#[test]
fn datagrams_go_over_ipv6_with_their_zones() {
    let loopback = match bind(&"[::1]:0".parse().unwrap()) {
        // A machine without IPv6, or without this address.
        Err(error)
            if error.kind() == ErrorKind::AddrNotAvailable
                || Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT) =>
        {
            return;
        }
        bound => bound.unwrap(),
    };
    let only = DatagramOptions { ipv6_only: Some(true), ..DatagramOptions::default() };
    let any = Datagram::bind(&"[::]:0".parse().unwrap(), &only).unwrap();
    let port = any.local_addr().unwrap().inet().unwrap().port();
    loopback.send_to(b"hello", &format!("[::1]:{port}").parse().unwrap()).unwrap();
    assert_eq!(assert_receives(&any, b"hello"), loopback.local_addr().unwrap());
    // Where the loopback interface has a link-local address, it comes with its zone.
    let Ok(here) = bind(&"[fe80::1%lo]:0".parse().unwrap()) else { return };
    here.send_to(b"hello", &here.local_addr().unwrap()).unwrap();
    assert!(assert_receives(&here, b"hello").to_string().starts_with("[fe80::1%lo]:"));
}

#[test]
fn a_connected_socket_hears_its_peer_alone() {
    let ((server, server_address), (other, _)) = (udp(), udp());
    let client = Datagram::unbound(&server_address).unwrap();
    assert_kind(client.peer_addr(), ErrorKind::NotConnected);
    client.connect(&server_address).unwrap();
    assert_eq!(client.peer_addr().unwrap(), server_address);
    client.send(b"request").unwrap();
    let client_address = assert_receives(&server, b"request");
    assert_eq!(client_address, client.local_addr().unwrap());
    other.send_to(b"a stranger", &client_address).unwrap();
    server.send_to(b"answer", &client_address).unwrap();
    await_readiness(&client, Interest::IN);
    let mut buffer = [0; 16];
    assert_eq!(client.recv(&mut buffer).unwrap(), Received { len: 6, is_truncated: false });
    assert_eq!(&buffer[..6], b"answer");
    assert_kind(client.recv(&mut buffer), ErrorKind::WouldBlock);
}

#[test]
fn a_datagram_that_does_not_fit_is_told_to_be_truncated() {
    let ((one, _), (other, address)) = (udp(), udp());
    let (ours, theirs) = Datagram::pair().unwrap();
    for _ in 0..2 {
        one.send_to(b"12345", &address).unwrap();
        ours.send(b"12345").unwrap();
    }
    await_readiness(&other, Interest::IN);
    for socket in [&other, &theirs] {
        let expected = Received { len: 4, is_truncated: true };
        assert_eq!(receive(socket, &mut [0; 4]).0, expected);
        await_readiness(socket, Interest::IN);
        assert_eq!(socket.recv(&mut [0; 4]).unwrap(), expected);
    }
    one.send_to(b"12345", &address).unwrap();
    let expected = Received { len: 5, is_truncated: false };
    assert_eq!(receive(&other, &mut [0; 5]).0, expected);
}

#[test]
fn nobody_at_the_other_end_is_told_by_the_next_call() {
    let (gone, address) = udp();
    close(gone);
    let client = Datagram::unbound(&address).unwrap();
    client.connect(&address).unwrap();
    client.send(b"is anybody there?").unwrap();
    await_readiness(&client, Interest::IN);
    assert_kind(client.recv(&mut [0; 16]), ErrorKind::ConnectionRefused);
    client.send(b"or now?").unwrap();
    eventually("the answer has come", || {
        client.take_error().unwrap().is_some_and(|it| it.kind() == ErrorKind::ConnectionRefused)
    });
    assert_kind(client.recv(&mut [0; 16]), ErrorKind::WouldBlock);
}

#[test]
fn a_datagram_that_is_too_long_is_refused_whole() {
    let (socket, address) = udp();
    assert_errno(socket.send_to(&[0; 65_508], &address), Errno::MSGSIZE);
    assert_errno(socket.send(b"to whom?"), Errno::DESTADDRREQ);
    let broadcast: Address = "255.255.255.255:9".parse().unwrap();
    assert_kind(socket.send_to(b"to all", &broadcast), ErrorKind::PermissionDenied);
}

#[test]
fn unix_datagrams_come_from_paths_from_abstract_names_and_from_nowhere() {
    let (directory, address) = unix();
    let server = bind(&address).unwrap();
    assert_eq!(server.local_addr().unwrap(), address);
    let name = format!("epoll-reactor-{}-datagrams", std::process::id());
    for local in [
        Address::unix(directory.path().join("client")).unwrap(),
        Address::abstract_name(name.as_bytes()).unwrap(),
    ] {
        let client = bind(&local).unwrap();
        client.send_to(b"request", &address).unwrap();
        assert_eq!(assert_receives(&server, b"request"), local);
        server.send_to(b"answer", &local).unwrap();
        assert_eq!(assert_receives(&client, b"answer"), address);
    }
    let nameless = Datagram::unbound(&address).unwrap();
    nameless.send_to(b"request", &address).unwrap();
    assert_eq!(assert_receives(&server, b"request"), Address::Unix(UnixAddress::UNNAMED));
    let mut batch = RecvBatch::new(1, 16);
    nameless.send_to(b"request", &address).unwrap();
    assert_eq!(server.recv_batch(&mut batch).unwrap(), 1);
    assert_eq!(batch.get(0).unwrap().from, Address::Unix(UnixAddress::UNNAMED));
}

#[test]
fn the_path_of_a_datagram_socket_is_kept_replaced_and_removed_like_a_listeners() {
    let (_directory, address) = unix();
    let path = address.as_path().unwrap();
    assert_kind(Datagram::unbound(&address).unwrap().connect(&address), ErrorKind::NotFound);
    let living = bind(&address).unwrap();
    assert_kind(bind(&address), ErrorKind::AddrInUse);
    close(living);
    assert!(!path.exists());
    close(UnixDatagram::bind(path).unwrap());
    let connected = Datagram::unbound(&address).unwrap().connect(&address);
    assert_kind(connected, ErrorKind::ConnectionRefused);
    close(bind(&address).unwrap());
    fs::write(path, "precious").unwrap();
    assert_kind(bind(&address), ErrorKind::AddrInUse);
    assert_eq!(fs::read(path).unwrap(), b"precious");
}

#[test]
fn a_full_receiver_would_block_its_sender_without_a_signal() {
    const NAME: &str = "net::datagrams::a_full_receiver_would_block_its_sender_without_a_signal";
    in_own_process(NAME, || {
        let pipe = SignalSet::from_iter([Signal::PIPE]);
        let _guard = pipe.block().unwrap();
        let (ours, theirs) = Datagram::pair().unwrap();
        let sent = (0..10_000).take_while(|_| ours.send(b"w").is_ok()).count();
        assert_kind(ours.send(b"w"), ErrorKind::WouldBlock);
        let mut batch = SendBatch::new(4, 1);
        assert!(batch.push(b"w", None));
        assert_kind(ours.send_batch(&mut batch), ErrorKind::WouldBlock);
        assert_eq!(batch.len(), 1);
        for _ in 0..sent {
            theirs.recv(&mut [0]).unwrap();
        }
        assert_eq!(ours.send_batch(&mut batch).unwrap(), 1);
        close(theirs);
        assert!(batch.push(b"w", None));
        assert_kind(ours.send(b"w"), ErrorKind::ConnectionRefused);
        // The kernel has given the peer up.
        assert_kind(ours.send_batch(&mut batch), ErrorKind::NotConnected);
        assert!(!SignalSet::pending().unwrap().contains(Signal::PIPE));
    });
}

#[test]
fn a_datagram_socket_never_blocks_and_closes_on_exec() {
    let (ours, theirs) = Datagram::pair().unwrap();
    let (bound, address) = udp();
    for socket in [ours, theirs, bound, Datagram::unbound(&address).unwrap()] {
        assert!(is_nonblocking(&socket).unwrap());
        assert!(fcntl_getfd(&socket).unwrap().contains(FdFlags::CLOEXEC));
    }
}

#[test]
fn a_reactor_owns_datagram_sockets() {
    let ((server, address), (client, _)) = (udp(), udp());
    assert!(server.is_nonblocking() && server.is_unshared());
    let mut reactor: Reactor<Datagram> = Reactor::new().unwrap();
    let token = reactor.insert(server, Watch::edge(Interest::IN)).unwrap();
    assert_sleeps(&mut reactor);
    client.send_to(b"hello", &address).unwrap();
    assert_eq!(wait(&mut reactor)[0].0, token);
    assert_receives(&reactor[token], b"hello");
    let starting = while_no_process_starts();
    assert!(reactor.close(token));
    drop(starting);
    // Nobody has the address any more.
    assert_eq!(bind(&address).unwrap().local_addr().unwrap(), address);
}

#[test]
fn options_are_honoured_or_refused_by_name() {
    let any: Address = "127.0.0.1:0".parse().unwrap();
    let options = DatagramOptions {
        reuse_port: true,
        device: Some("lo".to_owned()),
        broadcast: true,
        receive_buffer: Some(32 << 10),
        send_buffer: Some(16 << 10),
        ipv6_only: None,
    };
    let one = Datagram::bind(&any, &options).unwrap();
    Datagram::bind(&one.local_addr().unwrap(), &options).unwrap();
    assert_kind(bind(&one.local_addr().unwrap()), ErrorKind::AddrInUse);
    assert!(sockopt::socket_broadcast(&one).unwrap());
    assert_eq!(sockopt::socket_recv_buffer_size(&one).unwrap(), 64 << 10);
    assert_eq!(sockopt::socket_send_buffer_size(&one).unwrap(), 32 << 10);

    let (_directory, unix) = unix();
    let default = DatagramOptions::default;
    for (address, options, name) in [
        (&unix, DatagramOptions { reuse_port: true, ..default() }, "reuse_port"),
        (&unix, DatagramOptions { device: Some("lo".to_owned()), ..default() }, "device"),
        (&unix, DatagramOptions { broadcast: true, ..default() }, "broadcast"),
        (&any, DatagramOptions { ipv6_only: Some(true), ..default() }, "ipv6_only"),
    ] {
        let error = Datagram::bind(address, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("option {name} ")), "{error}");
    }
    let small = DatagramOptions { receive_buffer: Some(16 << 10), ..default() };
    let bound = Datagram::bind(&unix, &small).unwrap();
    assert_eq!(sockopt::socket_recv_buffer_size(&bound).unwrap(), 32 << 10);
}

#[test]
fn a_batch_takes_what_is_there_and_sends_what_it_holds() {
    let ((server, server_address), (client, client_address)) = (udp(), udp());
    let mut requests = SendBatch::new(4, 8);
    for request in [&b"one"[..], b"", b"12345678"] {
        assert!(requests.push(request, Some(&server_address)));
    }
    assert!(!requests.push(b"123456789", Some(&server_address)), "longer than its buffer");
    assert!(requests.push(b"four", Some(&server_address)));
    assert!(!requests.push(b"five", Some(&server_address)), "a batch of four");
    assert_eq!(requests.len(), 4);
    assert_eq!(client.send_batch(&mut requests).unwrap(), 4);
    assert!(requests.is_empty());
    assert_eq!(client.send_batch(&mut requests).unwrap(), 0);

    // Each is read by what it is, three a call.
    let mut batch = RecvBatch::new(3, 7);
    assert!(batch.is_empty() && batch.get(0).is_none());
    await_readiness(&server, Interest::IN);
    assert_eq!(server.recv_batch(&mut batch).unwrap(), 3);
    let seen: Vec<_> = batch.iter().map(|it| (it.bytes, it.is_truncated)).collect();
    assert_eq!(seen, [(&b"one"[..], false), (b"", false), (b"1234567", true)]);
    assert!(batch.iter().all(|it| it.from == client_address && it.segment_len.is_none()));
    assert!(batch.get(3).is_none());
    assert_eq!(server.recv_batch(&mut batch).unwrap(), 1);
    assert_eq!((batch.len(), batch.get(0).unwrap().bytes), (1, &b"four"[..]));
    assert_kind(server.recv_batch(&mut batch), ErrorKind::WouldBlock);
    assert!(batch.is_empty() && batch.iter().next().is_none());
}

#[test]
fn a_batch_is_used_again_and_again_wherever_it_is() {
    let ((server, server_address), (client, client_address)) = (udp(), udp());
    let (mut requests, mut answers) = (SendBatch::new(2, 8), SendBatch::new(2, 8));
    let mut batch = RecvBatch::new(2, 8);
    for round in 0_u8..20 {
        assert!(requests.push(&[round, 1], Some(&server_address)));
        assert!(requests.push(&[round, 2], Some(&server_address)));
        assert_eq!(client.send_batch(&mut requests).unwrap(), 2);
        await_readiness(&server, Interest::IN);
        assert_eq!(server.recv_batch(&mut batch).unwrap(), 2);
        for request in batch.iter() {
            assert_eq!(request.from, client_address);
            assert!(answers.push(request.bytes, Some(&request.from)));
        }
        // By another thread, and at another place.
        (answers, batch) = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                assert_eq!(server.send_batch(&mut answers).unwrap(), 2);
                (answers, batch)
            });
            sending.join().unwrap()
        });
        assert_receives(&client, &[round, 1]);
        assert_receives(&client, &[round, 2]);
    }
}

#[test]
fn a_datagram_that_cannot_be_sent_stops_the_batch_and_can_be_discarded() {
    let ((client, _), (server, address)) = (udp(), udp());
    let nowhere: Address = "255.255.255.255:9".parse().unwrap();
    let mut batch = SendBatch::new(3, 8);
    assert!(batch.push(b"first", Some(&address)));
    assert!(batch.push(b"to all", Some(&nowhere)));
    assert!(batch.push(b"last", Some(&address)));
    assert_eq!(client.send_batch(&mut batch).unwrap(), 1);
    assert_eq!(batch.len(), 2);
    assert!(!batch.push(b"more", Some(&address)), "no buffer is free");
    assert_kind(client.send_batch(&mut batch), ErrorKind::PermissionDenied);
    assert_eq!(batch.len(), 2);
    batch.discard_first();
    assert_eq!(client.send_batch(&mut batch).unwrap(), 1);
    assert_receives(&server, b"first");
    assert_receives(&server, b"last");
    assert!(batch.push(b"more", Some(&address)));
    batch.clear();
    assert_eq!(client.send_batch(&mut batch).unwrap(), 0);
    batch.discard_first();
    assert!(batch.is_empty());
}

#[test]
fn the_kernel_joins_and_cuts_datagrams_where_it_can() {
    let ((server, address), (client, client_address)) = (udp(), udp());
    match server.set_gro(true) {
        // Before Linux 5.0.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOPROTOOPT) => return,
        set => set.unwrap(),
    }
    let bytes: Vec<u8> = (0..250).collect();
    let mut requests = SendBatch::new(2, 1024);
    assert!(requests.push_segments(&bytes, 100, Some(&address)));
    assert!(requests.push(b"alone", Some(&address)));
    assert_eq!(client.send_batch(&mut requests).unwrap(), 2);
    let mut batch = RecvBatch::new(8, 65_535);
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    let mut is_joined = false;
    while datagrams.len() < 4 {
        await_readiness(&server, Interest::IN);
        server.recv_batch(&mut batch).unwrap();
        for received in batch.iter() {
            assert_eq!(received.from, client_address);
            is_joined |= received.segment_len == Some(100) && received.bytes.len() == 250;
            datagrams.extend(received.segments().map(<[u8]>::to_vec));
        }
    }
    let expected = [&bytes[..100], &bytes[100..200], &bytes[200..], b"alone"];
    assert_eq!(datagrams, expected);
    assert!(is_joined, "loopback hands over what was sent together");
    server.set_gro(false).unwrap();
    assert!(requests.push_segments(&bytes, 100, Some(&address)));
    assert_eq!(client.send_batch(&mut requests).unwrap(), 1);
    assert_receives(&server, &bytes[..100]);
    assert_receives(&server, &bytes[100..200]);
    assert_receives(&server, &bytes[200..]);
}

#[test]
fn segments_that_the_kernel_cannot_make_are_refused_with_its_error() {
    let (client, address) = udp();
    let mut batch = SendBatch::new(1, 65_535);
    // More segments than it takes, of one byte each.
    assert!(batch.push_segments(&[0; 1000], 1, Some(&address)));
    assert_kind(client.send_batch(&mut batch), ErrorKind::InvalidInput);
    batch.clear();
    assert!(batch.push_segments(&[0; 65_535], 1400, Some(&address)));
    assert_errno(client.send_batch(&mut batch), Errno::MSGSIZE);
    let (ours, _theirs) = Datagram::pair().unwrap();
    assert_errno(ours.set_gro(true), Errno::OPNOTSUPP);
}

#[test]
fn an_empty_datagram_is_one_segment() {
    let ((server, address), (client, _)) = (udp(), udp());
    client.send_to(b"", &address).unwrap();
    let mut batch = RecvBatch::new(0, 0);
    await_readiness(&server, Interest::IN);
    assert_eq!(server.recv_batch(&mut batch).unwrap(), 1);
    let received = batch.get(0).unwrap();
    assert_eq!(received.segments().collect::<Vec<_>>(), [b""]);
    assert!(!received.is_truncated);
    let _: SocketAddr = received.from.inet().unwrap();
}
