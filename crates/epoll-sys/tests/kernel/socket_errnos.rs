//! Every error that the documentation of the socket calls names, provoked.
//!
//! Missing are the errors of `accept` that the network would have to cause, `EAFNOSUPPORT`, for which
//! another kernel would be needed, and a congestion control that only some may choose: which one that
//! is, if any, is up to the system. `EMFILE` is in `errnos`.

use crate::support::{await_readiness, on_own_thread, tcp_listener, tcp_pair, wait, without};
use epoll_kit_testing::{assert_errno, assert_kind, close};
use epoll_sys::socket::{self, Address, Family, Keepalive, UnixAddress};
use epoll_sys::{Epoll, EventFd, Interest, Readiness, Signal, SignalFd, SignalSet, Watch};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn inet() -> OwnedFd {
    socket::stream(Family::Inet).unwrap()
}

fn unix() -> OwnedFd {
    socket::stream(Family::Unix).unwrap()
}

fn bind_unix(socket: impl AsFd, path: &Path) -> io::Result<()> {
    socket::bind(socket, Address::unix(path)?)
}

fn connect_unix(socket: impl AsFd, path: &Path) -> io::Result<()> {
    socket::connect(socket, Address::unix(path)?)
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn binding_to_an_address_that_is_taken_is_in_use() {
    let (_listener, taken) = tcp_listener();
    assert_kind(socket::bind(inet(), taken), ErrorKind::AddrInUse);
}

#[test]
fn binding_to_an_address_of_another_machine_is_not_available() {
    // TEST-NET-1: no machine has it.
    assert_kind(socket::bind(inet(), address("192.0.2.1:0")), ErrorKind::AddrNotAvailable);
}

#[test]
fn binding_to_a_privileged_port_is_permission_denied() {
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if start.trim().parse::<u16>().unwrap() > 1 {
        let bind = || socket::bind(inet(), address("127.0.0.1:1"));
        assert_kind(without(CapabilitySet::NET_BIND_SERVICE, bind), ErrorKind::PermissionDenied);
    }
}

#[test]
fn binding_twice_is_invalid() {
    let socket = inet();
    socket::bind(&socket, address("127.0.0.1:0")).unwrap();
    assert_kind(socket::bind(&socket, address("127.0.0.1:0")), ErrorKind::InvalidInput);

    let folder = tempfile::tempdir().unwrap();
    let socket = unix();
    bind_unix(&socket, &folder.path().join("first")).unwrap();
    let second = bind_unix(&socket, &folder.path().join("second"));
    assert_kind(second, ErrorKind::InvalidInput);
}

#[test]
fn binding_to_a_path_that_exists_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    fs::write(&path, "").unwrap();
    assert_kind(bind_unix(unix(), &path), ErrorKind::AddrInUse);
}

#[test]
fn binding_in_a_directory_that_does_not_exist_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/socket");
    assert_kind(bind_unix(unix(), &path), ErrorKind::NotFound);
}

#[test]
fn binding_in_a_directory_that_is_not_writable_is_permission_denied() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let path = folder.path().join("socket");
    let bind = move || bind_unix(unix(), &path);
    assert_kind(without(CapabilitySet::DAC_OVERRIDE, bind), ErrorKind::PermissionDenied);
}

#[test]
fn a_path_may_be_107_bytes_long_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = |len: usize| {
        let name_len = len - folder.path().as_os_str().len() - 1;
        folder.path().join("x".repeat(name_len))
    };
    let listener = unix();
    bind_unix(&listener, &path(107)).unwrap();
    socket::listen(&listener, 1).unwrap();
    connect_unix(unix(), &path(107)).unwrap();
    std::os::unix::net::UnixStream::connect(path(107)).unwrap();
    let error = Address::unix(path(108)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "the name of a UNIX socket has at most 107 bytes, not 108");
}

#[test]
fn a_path_of_108_bytes_that_a_peer_has_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let name_len = 108 - folder.path().as_os_str().len() - 1;
    let path = folder.path().join("x".repeat(name_len));
    let peer = unix();
    rustix::net::bind(&peer, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    let told = socket::local_address(&peer).unwrap();
    assert_eq!(told.as_path(), Some(&*path));

    let listener = unix();
    let listening = Address::unix(folder.path().join("listener")).unwrap();
    socket::bind(&listener, listening).unwrap();
    socket::listen(&listener, 1).unwrap();
    socket::connect(&peer, listening).unwrap();
    let (accepted, from) = socket::accept(&listener).unwrap();
    assert_eq!((from, socket::peer_address(&accepted).unwrap()), (told, told));
}

#[test]
fn a_path_with_a_nul_byte_is_invalid() {
    let path = Path::new("/tmp/a\0b");
    assert_kind(bind_unix(unix(), path), ErrorKind::InvalidInput);
}

#[test]
fn connecting_begins_and_then_is_done_or_refused() {
    let (_listener, listening) = tcp_listener();
    let socket = inet();
    socket::connect(&socket, listening).unwrap();
    await_readiness(&socket, Interest::OUT);
    assert!(socket::take_error(&socket).unwrap().is_none());

    let socket = refused_connection();
    let error = socket::take_error(&socket).unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    let socket = refused_connection();
    let again = socket::connect(&socket, listening);
    assert_kind(again, ErrorKind::ConnectionRefused);
}

/// A socket that has tried to connect to a port on which nobody listens.
fn refused_connection() -> OwnedFd {
    // Bound, so that nobody else gets it meanwhile, and not listening.
    let bound = inet();
    socket::bind(&bound, address("127.0.0.1:0")).unwrap();
    let nobody = socket::local_address(&bound).unwrap();
    let socket = inet();
    socket::connect(&socket, nobody).unwrap();
    await_readiness(&socket, Interest::OUT);
    socket
}

#[test]
fn connecting_where_there_is_no_way_is_network_unreachable() {
    // TCP has no way to a group, whether or not the machine has a route to it.
    let group = address("224.0.0.1:9");
    assert_kind(socket::connect(inet(), group), ErrorKind::NetworkUnreachable);
}

#[test]
fn connecting_to_a_path_fails_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    assert_kind(connect_unix(unix(), &path), ErrorKind::NotFound);
    let bound = unix();
    bind_unix(&bound, &path).unwrap();
    assert_kind(connect_unix(unix(), &path), ErrorKind::ConnectionRefused);
    close(bound);
    assert_kind(connect_unix(unix(), &path), ErrorKind::ConnectionRefused);
}

#[test]
fn connecting_to_a_path_whose_queue_is_full_would_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = unix();
    bind_unix(&listener, &path).unwrap();
    socket::listen(&listener, 1).unwrap();
    let clients: Vec<_> = (0..8).map(|_| unix()).collect();
    let full = clients.iter().find_map(|client| connect_unix(client, &path).err());
    assert_eq!(full.unwrap().kind(), ErrorKind::WouldBlock);

    let (_, peer) = socket::accept(&listener).unwrap();
    assert_eq!(peer, Address::Unix(UnixAddress::UNNAMED));
    connect_unix(unix(), &path).unwrap();
}

#[test]
fn listening_on_a_port_that_another_socket_listens_on_is_in_use() {
    let [first, second] = [inet(), inet()];
    for socket in [&first, &second] {
        socket::set_reuse_address(socket, true).unwrap();
    }
    socket::bind(&first, address("127.0.0.1:0")).unwrap();
    let shared = socket::local_address(&first).unwrap();
    socket::bind(&second, shared).unwrap();
    socket::listen(&first, 1).unwrap();
    assert_kind(socket::listen(&second, 1), ErrorKind::AddrInUse);
}

#[test]
fn accepting_from_an_empty_queue_would_block() {
    let (listener, _) = tcp_listener();
    assert_kind(socket::accept(&listener), ErrorKind::WouldBlock);
}

#[test]
fn accepting_from_a_socket_that_does_not_listen_is_invalid() {
    assert_kind(socket::accept(inet()), ErrorKind::InvalidInput);
    let (ours, _theirs) = tcp_pair();
    assert_kind(socket::accept(&ours), ErrorKind::InvalidInput);
}

#[test]
fn an_empty_socket_would_block_its_reader_and_a_full_one_its_writer() {
    for (ours, _theirs) in [socket::pair().unwrap(), tcp_pair()] {
        assert_kind(socket::recv(&ours, &mut [0]), ErrorKind::WouldBlock);
        assert_kind(fill(&ours), ErrorKind::WouldBlock);
    }
}

/// Writes until the socket takes no more, and says why.
fn fill(socket: &OwnedFd) -> io::Result<usize> {
    let chunk = vec![0; 1 << 16];
    // 1 GiB: no buffer is that large.
    (0..1 << 14).map(|_| socket::send(socket, &chunk)).find(Result::is_err).unwrap()
}

/// A TCP socket that its peer has reset, with the error still to be taken.
fn reset_connection() -> OwnedFd {
    let (ours, theirs) = tcp_pair();
    let epoll = Epoll::new().unwrap();
    epoll.add(&ours, 0, Watch::edge(Interest::empty())).unwrap();
    socket::set_linger(&theirs, Some(Duration::ZERO)).unwrap();
    close(theirs);
    assert!(wait(&epoll)[0].readiness.contains(Readiness::ERR));
    ours
}

#[test]
fn a_reset_connection_tells_its_reader_or_its_writer() {
    assert_kind(socket::recv(reset_connection(), &mut [0]), ErrorKind::ConnectionReset);
    assert_kind(socket::send(reset_connection(), b"a"), ErrorKind::ConnectionReset);
}

#[test]
fn closing_with_unread_data_resets_the_connection() {
    let (ours, theirs) = tcp_pair();
    socket::send(&ours, b"unread").unwrap();
    await_readiness(&theirs, Interest::IN);
    close(theirs);
    await_readiness(&ours, Interest::IN);
    assert_kind(socket::recv(&ours, &mut [0]), ErrorKind::ConnectionReset);
}

#[test]
fn writing_where_nobody_reads_is_a_broken_pipe_without_a_signal() {
    on_own_thread(|| {
        // A blocked signal stays pending even where the process ignores it, as Rust's do.
        let set = SignalSet::from_iter([Signal::PIPE]);
        let _guard = set.block().unwrap();
        let (ours, theirs) = socket::pair().unwrap();
        close(theirs);
        assert_kind(socket::send(&ours, b"a"), ErrorKind::BrokenPipe);
        assert!(!SignalSet::pending().unwrap().contains(Signal::PIPE));

        // Another way to write does raise it, so it would have been seen.
        assert_eq!(rustix::io::write(&ours, b"a"), Err(Errno::PIPE));
        assert!(SignalSet::pending().unwrap().contains(Signal::PIPE));
        assert_eq!(SignalFd::new(&set).unwrap().read().unwrap().signal, Signal::PIPE);
    });
}

#[test]
fn writing_after_the_own_shutdown_is_a_broken_pipe() {
    let (ours, _theirs) = tcp_pair();
    socket::shutdown(&ours, Shutdown::Write).unwrap();
    assert_kind(socket::send(&ours, b"a"), ErrorKind::BrokenPipe);
}

#[test]
fn shutting_down_what_is_not_connected_is_not_connected() {
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        assert_kind(socket::shutdown(inet(), how), ErrorKind::NotConnected);
        assert_kind(socket::shutdown(reset_connection(), how), ErrorKind::NotConnected);
    }
}

#[test]
fn what_is_no_socket_has_neither_address_nor_options() {
    let other = EventFd::new(0).unwrap();
    assert_errno(socket::local_address(&other), Errno::NOTSOCK);
    assert_errno(socket::take_error(&other), Errno::NOTSOCK);
    for option in [
        socket::set_reuse_address(&other, true),
        socket::set_reuse_port(&other, true),
        socket::set_nodelay(&other, true),
        socket::set_congestion(&other, "cubic"),
        socket::set_keepalive(&other, None),
        socket::set_keepalive(&other, Some(Keepalive::after(Duration::from_secs(1)))),
        socket::set_receive_buffer(&other, 1),
        socket::set_send_buffer(&other, 1),
        socket::set_linger(&other, None),
    ] {
        assert_errno(option, Errno::NOTSOCK);
    }
}

#[test]
fn a_unix_socket_has_no_delay_to_turn_off() {
    assert_errno(socket::set_nodelay(unix(), true), Errno::OPNOTSUPP);
}

#[test]
fn congestion_control_has_a_name_that_the_kernel_knows() {
    // Part of every kernel, and allowed to everybody unless the system says otherwise.
    socket::set_congestion(inet(), "reno").unwrap();
    assert_kind(socket::set_congestion(inet(), "no-such"), ErrorKind::NotFound);
    assert_kind(socket::set_congestion(inet(), ""), ErrorKind::InvalidInput);
    assert_errno(socket::set_congestion(unix(), "reno"), Errno::OPNOTSUPP);
}

#[test]
fn keepalive_waits_at_most_32767_seconds() {
    let socket = inet();
    let keepalive = |idle| socket::set_keepalive(&socket, Some(Keepalive::after(idle)));
    keepalive(Duration::from_secs(32_767)).unwrap();
    for idle in [Duration::from_millis(32_767_001), Duration::MAX] {
        assert_kind(keepalive(idle), ErrorKind::InvalidInput);
    }
}

#[test]
fn what_counts_no_unread_bytes_says_so() {
    assert_errno(socket::unread(EventFd::new(0).unwrap()), Errno::NOTTY);
}
