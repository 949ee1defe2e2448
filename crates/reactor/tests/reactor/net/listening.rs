//! Listening and accepting: addresses, what connections inherit, batches, and connections that died
//! in the queue.

use super::{
    accept, assert_receives, assert_serves, await_readiness, connected, queued, tcp_listener,
};
use crate::support::{assert_sleeps, wait};
use epoll_kit_testing::{assert_kind, close, eventually};
use epoll_reactor::net::{
    AcceptCounters, Address, BatchEnd, ConnectOptions, Keepalive, ListenOptions, Listener,
    PausedBy, Stream, StreamOptions, UnixAddress,
};
use epoll_reactor::{Interest, Reactor, Watch};
use epoll_sys::is_nonblocking;
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use rustix::net::sockopt;
use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

const READABLE: Watch = Watch::level(Interest::IN);

#[test]
fn port_zero_takes_a_free_port_and_tells_it() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let address = *listener.address();
    assert_ne!(address.inet().unwrap().port(), 0);
    assert_serves(&mut listener, &address);
    let again = Listener::bind(&address, &ListenOptions::default());
    assert_kind(again, ErrorKind::AddrInUse);
    assert_serves(&mut listener, &address);
}

#[test]
fn a_peer_is_told_by_its_address() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let client = &queued(&listener, 1)[0];
    let accepted = accept(&mut listener);
    assert_eq!(accepted.peer, client.local_addr().unwrap());
    assert_eq!(accepted.stream.peer_addr().unwrap(), client.local_addr().unwrap());
    assert_eq!(accepted.stream.local_addr().unwrap(), *listener.address());
    assert_eq!(client.peer_addr().unwrap(), *listener.address());

    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    let mut listener = Listener::bind(&address, &ListenOptions::default()).unwrap();
    assert_eq!(listener.address(), &address);
    let _client = Stream::connect(&address).unwrap();
    assert_eq!(accept(&mut listener).peer, Address::Unix(UnixAddress::UNNAMED));
    // A client may have a name.
    for text in ["unix:@epoll-reactor-client", "unix:client"] {
        let local = match text {
            "unix:client" => Address::unix(directory.path().join("client")).unwrap(),
            _ => {
                Address::abstract_name(format!("{text}-{}", std::process::id()).as_bytes()).unwrap()
            }
        };
        let options = ConnectOptions { local: Some(local), ..ConnectOptions::default() };
        let _client = Stream::connect_with(&address, &options).unwrap();
        let accepted = accept(&mut listener);
        assert_eq!(accepted.peer, local);
        assert_eq!(accepted.stream.peer_addr().unwrap(), local);
        assert_eq!(accepted.peer.to_string(), local.to_string());
    }
}

#[test]
fn a_listener_serves_ipv6() {
    let mut listener = match Listener::bind(&"[::1]:0".parse().unwrap(), &ListenOptions::default())
    {
        // A machine without IPv6, or without this address.
        Err(error)
            if error.kind() == ErrorKind::AddrNotAvailable
                || Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT) =>
        {
            return;
        }
        bound => bound.unwrap(),
    };
    let address = *listener.address();
    assert!(matches!(address, Address::Inet(SocketAddr::V6(v6)) if v6.port() != 0));
    assert_serves(&mut listener, &address);
}

#[test]
fn an_address_of_another_machine_is_not_available() {
    // Set aside for documents, so no machine has it; some take any address as theirs.
    let takes_any = fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind").unwrap();
    let bound = Listener::bind(&"192.0.2.1:0".parse().unwrap(), &ListenOptions::default());
    if takes_any.trim() == "0" {
        assert_kind(bound, ErrorKind::AddrNotAvailable);
    } else {
        bound.unwrap();
    }
}

#[test]
fn a_keepalive_of_a_day_is_refused() {
    let keepalive = |secs| {
        let keepalive = Some(Keepalive::after(Duration::from_secs(secs)));
        let stream = StreamOptions { keepalive, ..StreamOptions::default() };
        ListenOptions { stream, ..ListenOptions::default() }
    };
    let bind = |options| Listener::bind(&"127.0.0.1:0".parse().unwrap(), &options);
    assert_kind(bind(keepalive(32_768)), ErrorKind::InvalidInput);
    bind(keepalive(32_767)).unwrap();
}

#[test]
fn connections_inherit_what_the_listener_was_given() {
    let stream = StreamOptions {
        keepalive: Some(Keepalive {
            idle: Duration::from_millis(41_500),
            interval: Some(Duration::from_millis(6_500)),
            count: Some(3),
        }),
        user_timeout: Some(Duration::from_micros(1_234_500)),
        oob_inline: true,
        receive_buffer: Some(32 << 10),
        send_buffer: Some(16 << 10),
        ..StreamOptions::default()
    };
    let options = ListenOptions { stream, ..ListenOptions::default() };
    let (_client, server) = connected(&mut tcp_listener(&options));
    assert!(is_nonblocking(&server).unwrap());
    assert!(fcntl_getfd(&server).unwrap().contains(FdFlags::CLOEXEC));
    assert!(sockopt::socket_keepalive(&server).unwrap());
    // In whole seconds, rounded up.
    assert_eq!(sockopt::tcp_keepidle(&server).unwrap(), Duration::from_secs(42));
    assert_eq!(sockopt::tcp_keepintvl(&server).unwrap(), Duration::from_secs(7));
    assert_eq!(sockopt::tcp_keepcnt(&server).unwrap(), 3);
    // In milliseconds, rounded up.
    assert_eq!(sockopt::tcp_user_timeout(&server).unwrap(), 1_235);
    assert!(sockopt::socket_oobinline(&server).unwrap());
    assert_eq!(sockopt::socket_recv_buffer_size(&server).unwrap(), 64 << 10);
    assert_eq!(sockopt::socket_send_buffer_size(&server).unwrap(), 32 << 10);
    assert!(TcpStream::try_from(server).unwrap().nodelay().unwrap());

    let stream = StreamOptions { nodelay: false, ..StreamOptions::default() };
    let options = ListenOptions { stream, ..ListenOptions::default() };
    let (_client, server) = connected(&mut tcp_listener(&options));
    assert!(!sockopt::socket_keepalive(&server).unwrap());
    assert!(!sockopt::socket_oobinline(&server).unwrap());
    assert!(!TcpStream::try_from(server).unwrap().nodelay().unwrap());
}

#[test]
fn a_port_is_shared_by_those_who_ask_for_it_and_by_no_others() {
    let sharing = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let one = tcp_listener(&sharing);
    let other = Listener::bind(one.address(), &sharing).unwrap();
    assert_eq!(other.address(), one.address());
    let third = Listener::bind(one.address(), &ListenOptions::default());
    assert_kind(third, ErrorKind::AddrInUse);
}

#[test]
fn the_backlog_bounds_the_queue() {
    let options = ListenOptions { backlog: 3, ..ListenOptions::default() };
    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    let _listener = Listener::bind(&address, &options).unwrap();
    let clients: Vec<Stream> = (0..20).map_while(|_| Stream::connect(&address).ok()).collect();
    // The kernel lets one more in.
    assert_eq!(clients.len(), 4);
}

#[test]
fn a_batch_ends_when_it_is_full_and_the_rest_is_reported_again() {
    let options = ListenOptions { accept_batch_max: 3, ..ListenOptions::default() };
    let mut listener = tcp_listener(&options);
    let _clients = queued(&listener, 7);
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let token = reactor.watch(&listener, 'l', READABLE).unwrap();
    for expected in [3, 3, 1] {
        assert_eq!(wait(&mut reactor)[0].0, token);
        assert_eq!(listener.accept_batch().count(), expected);
        let end = if expected == 3 { BatchEnd::BatchFull } else { BatchEnd::QueueEmpty };
        assert_eq!(listener.batch_end(), Some(end));
    }
    assert_sleeps(&mut reactor);
    assert_eq!(listener.accept_batch().count(), 0);
    assert_eq!(listener.batch_end(), Some(BatchEnd::QueueEmpty));
    assert_eq!(listener.counters(), AcceptCounters { accepted: 7, ..Default::default() });
}

#[test]
fn a_batch_of_none_counts_as_one() {
    let options = ListenOptions { accept_batch_max: 0, ..ListenOptions::default() };
    let mut listener = tcp_listener(&options);
    let _clients = queued(&listener, 2);
    await_readiness(&listener, Interest::IN);
    assert_eq!(listener.accept_batch().count(), 1);
    assert_eq!(listener.accept_batch().count(), 1);
}

#[test]
fn a_batch_that_is_left_early_leaves_the_rest_in_the_queue() {
    let mut listener = tcp_listener(&ListenOptions::default());
    let clients = queued(&listener, 5);
    let peers: Vec<Address> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    let first: Vec<Address> = listener.accept_batch().take(2).map(|one| one.peer).collect();
    assert_eq!(listener.counters().accepted, 2);
    assert_eq!(listener.batch_end(), None);
    let _untouched = listener.accept_batch();
    let rest: Vec<Address> = listener.accept_batch().map(|one| one.peer).collect();
    assert_eq!((&first[..], &rest[..]), peers.split_at(2));
}

#[test]
fn connections_that_were_reset_in_the_queue_do_not_kill_the_listener() {
    let mut listener = tcp_listener(&ListenOptions::default());
    for client in queued(&listener, 3) {
        client.reset_on_close().unwrap();
        close(client);
    }
    // Linux hands them out, and reading tells; a kernel that does not is covered as well.
    for accepted in listener.accept_batch() {
        eventually("the reset is told", || match (&accepted.stream).read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            read => read.unwrap_err().kind() == ErrorKind::ConnectionReset,
        });
    }
    let counters = listener.counters();
    assert_eq!((counters.accepted + counters.aborted, counters.pauses), (3, 0));
    assert_eq!(listener.batch_end(), Some(BatchEnd::QueueEmpty));
    let address = *listener.address();
    assert_serves(&mut listener, &address);
}

#[test]
fn what_a_client_wrote_before_it_was_accepted_arrives() {
    use std::io::Write;
    let mut listener = tcp_listener(&ListenOptions::default());
    let mut clients = queued(&listener, 2);
    for client in &mut clients {
        assert_eq!(client.write(b"early").unwrap(), 5);
    }
    drop(clients);
    let streams: Vec<Stream> = listener.accept_batch().map(|one| one.stream).collect();
    assert_eq!(streams.len(), 2);
    streams.iter().for_each(|stream| assert_receives(stream, b"early"));
}

#[test]
fn counters_of_two_listeners_add_up() {
    let one = AcceptCounters { accepted: 1, aborted: 2, shed: 3, pauses: 4 };
    let other = AcceptCounters { accepted: 10, aborted: 20, shed: 30, pauses: 40 };
    let sum = AcceptCounters { accepted: 11, aborted: 22, shed: 33, pauses: 44 };
    assert_eq!(one + other, sum);
    assert_eq!(one + AcceptCounters::default(), one);
}

#[test]
fn clones_share_the_queue_and_nothing_else() {
    let mut one = tcp_listener(&ListenOptions::default());
    let mut other = one.try_clone().unwrap();
    assert_eq!(other.address(), one.address());
    let _clients = queued(&one, 3);
    assert_eq!(one.accept_batch().take(1).count(), 1);
    assert_eq!(accept(&mut other).peer.inet().unwrap().ip(), Ipv4Addr::LOCALHOST);
    assert_eq!((one.counters().accepted, other.counters().accepted), (1, 1));
    // The socket lives on with the clone.
    close(one);
    accept(&mut other);
    let address = *other.address();
    assert_serves(&mut other, &address);
}

fn shares_its_port(listener: &Listener) -> bool {
    sockopt::socket_reuseport(listener.socket()).unwrap()
}

/// The number of different sockets among these.
fn sockets(listeners: &[Listener]) -> usize {
    let inode = |listener: &Listener| rustix::fs::fstat(listener.socket()).unwrap().st_ino;
    listeners.iter().map(inode).collect::<HashSet<_>>().len()
}

#[test]
fn several_listeners_at_one_port_have_a_queue_each() {
    let any = "127.0.0.1:0".parse().unwrap();
    let listeners = Listener::bind_several(&any, &ListenOptions::default(), 3).unwrap();
    assert_eq!((listeners.len(), sockets(&listeners)), (3, 3));
    assert!(listeners.iter().all(shares_its_port));
    let address = *listeners[0].address();
    assert!(listeners.iter().all(|one| *one.address() == address));
    // They do not join others, unless they are told to.
    let joining = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    for count in [1, 2] {
        let alone = Listener::bind_several(&address, &ListenOptions::default(), count);
        assert_kind(alone, ErrorKind::AddrInUse);
        assert_eq!(Listener::bind_several(&address, &joining, count).unwrap().len(), count);
    }
}

#[test]
fn one_listener_shares_its_port_with_nobody() {
    for count in [0, 1] {
        let any = "127.0.0.1:0".parse().unwrap();
        let listeners = Listener::bind_several(&any, &ListenOptions::default(), count).unwrap();
        assert_eq!(listeners.len(), 1);
        assert!(!shares_its_port(&listeners[0]));
    }
}

#[test]
fn several_listeners_at_a_name_share_one_queue() {
    let unnamed = Address::Unix(UnixAddress::UNNAMED);
    let listeners = Listener::bind_several(&unnamed, &ListenOptions::default(), 3).unwrap();
    assert_eq!((listeners.len(), sockets(&listeners)), (3, 1));
    assert!(listeners.iter().all(|one| one.address() == listeners[0].address()));
}

#[test]
fn an_abstract_name_is_listened_at_and_leaves_nothing_behind() {
    let name = format!("epoll-reactor-{}-listening", std::process::id());
    let address: Address = format!("unix:@{name}").parse().unwrap();
    assert_kind(Stream::connect(&address), ErrorKind::ConnectionRefused);
    let mut listener = Listener::bind(&address, &ListenOptions::default()).unwrap();
    assert_eq!(listener.address(), &address);
    assert_serves(&mut listener, &address);
    assert_kind(Listener::bind(&address, &ListenOptions::default()), ErrorKind::AddrInUse);
    close(listener);
    assert_kind(Stream::connect(&address), ErrorKind::ConnectionRefused);
    assert_serves(&mut Listener::bind(&address, &ListenOptions::default()).unwrap(), &address);
}

#[test]
fn a_unix_socket_without_a_name_is_given_an_abstract_one() {
    let unnamed = Address::Unix(UnixAddress::UNNAMED);
    let mut listener = Listener::bind(&unnamed, &ListenOptions::default()).unwrap();
    let address = *listener.address();
    assert!(matches!(address, Address::Unix(name) if name.as_abstract_name().is_some()));
    assert_serves(&mut listener, &address);
}

#[test]
fn the_number_of_a_listener_is_that_of_what_it_lends() {
    for paused_by in [PausedBy::Listener, PausedBy::Owner] {
        let listener = tcp_listener(&ListenOptions { paused_by, ..ListenOptions::default() });
        assert_eq!(listener.as_raw_fd(), listener.as_fd().as_raw_fd());
        let is_socket = listener.as_raw_fd() == listener.socket().as_raw_fd();
        assert_eq!(is_socket, paused_by == PausedBy::Owner);
        assert!(sockopt::socket_acceptconn(listener.socket()).unwrap());
    }
}
