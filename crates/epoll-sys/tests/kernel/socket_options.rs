//! The options of sockets, checked by what the kernel says of them afterwards or does.

use crate::support::{await_readiness, tcp_connected, tcp_listener, tcp_pair};
use epoll_kit_testing::{assert_errno, assert_kind, close, eventually};
use epoll_sys::socket::{self, Address, Family, Keepalive};
use epoll_sys::{EventFd, Interest, is_nonblocking, replace};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use rustix::net::{SendFlags, sockopt};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

fn inet() -> OwnedFd {
    socket::stream(Family::Inet).unwrap()
}

fn unix() -> OwnedFd {
    socket::stream(Family::Unix).unwrap()
}

/// The value of an option for which rustix has no name.
#[track_caller]
fn option(socket: impl AsFd, level: i32, name: i32) -> i32 {
    let (mut value, mut len) = (0_i32, 4);
    let fd = socket.as_fd().as_raw_fd();
    let place = (&raw mut value).cast();
    // SAFETY: `fd` is open; `place` has room for the four bytes that `len` says.
    let result = unsafe { libc::getsockopt(fd, level, name, place, &raw mut len) };
    assert_eq!((result, len), (0, 4), "{}", io::Error::last_os_error());
    value
}

#[test]
fn options_that_only_the_kernel_sees_are_set() {
    let socket = inet();
    socket::set_bind_address_no_port(&socket, true).unwrap();
    assert_eq!(option(&socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT), 1);
    socket::set_bind_address_no_port(&socket, false).unwrap();
    assert_eq!(option(&socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT), 0);

    let (listener, _) = tcp_listener();
    // In whole seconds, rounded up, and from there to a number of retransmissions.
    socket::set_defer_accept(&listener, Duration::from_millis(500)).unwrap();
    assert!(option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT) >= 1);
    socket::set_defer_accept(&listener, Duration::ZERO).unwrap();
    assert_eq!(option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT), 0);
    socket::set_fast_open(&listener, 7).unwrap();
    assert_eq!(option(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN), 7);
    socket::set_fast_open(&listener, u32::MAX).unwrap();
    assert!(option(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN) > 7);

    let udp = socket::datagram(Family::Inet).unwrap();
    socket::set_gro(&udp, true).unwrap();
    assert_eq!(option(&udp, libc::SOL_UDP, libc::UDP_GRO), 1);
    socket::set_gro(&udp, false).unwrap();
    assert_eq!(option(&udp, libc::SOL_UDP, libc::UDP_GRO), 0);
}

#[test]
fn options_with_a_name_are_set() {
    let socket = inet();
    let interval = Some(Duration::from_millis(1_001));
    let keepalive = Keepalive { idle: Duration::ZERO, interval, count: Some(127) };
    socket::set_keepalive(&socket, Some(keepalive)).unwrap();
    assert!(sockopt::socket_keepalive(&socket).unwrap());
    // Zero would be refused.
    assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(1));
    assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), Duration::from_secs(2));
    assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), 127);
    socket::set_keepalive(&socket, None).unwrap();
    assert!(!sockopt::socket_keepalive(&socket).unwrap());
    socket::set_user_timeout(&socket, Duration::from_nanos(1)).unwrap();
    assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 1);
    let udp = socket::datagram(Family::Inet).unwrap();
    socket::set_broadcast(&udp, true).unwrap();
    assert!(sockopt::socket_broadcast(&udp).unwrap());
    // More than an `int` holds is as much as the kernel gives, not what is left of its bits.
    let most = |set: fn(&OwnedFd, usize) -> io::Result<()>, get: fn(&OwnedFd) -> usize| {
        set(&socket, usize::MAX).unwrap();
        let most = get(&socket);
        set(&socket, 4096).unwrap();
        assert!(most > get(&socket));
    };
    most(
        |it, len| socket::set_receive_buffer(it, len),
        |it| sockopt::socket_recv_buffer_size(it).unwrap(),
    );
    most(
        |it, len| socket::set_send_buffer(it, len),
        |it| sockopt::socket_send_buffer_size(it).unwrap(),
    );
}

#[test]
fn values_out_of_range_are_invalid() {
    let socket = inet();
    let second = Duration::from_secs(1);
    for count in [0, 128] {
        let keepalive = Keepalive { count: Some(count), ..Keepalive::after(second) };
        assert_kind(socket::set_keepalive(&socket, Some(keepalive)), ErrorKind::InvalidInput);
    }
    let interval = Some(Duration::from_secs(32_768));
    let keepalive = Keepalive { interval, ..Keepalive::after(second) };
    assert_kind(socket::set_keepalive(&socket, Some(keepalive)), ErrorKind::InvalidInput);
    let longest = Duration::from_millis(i32::MAX.unsigned_abs().into());
    socket::set_user_timeout(&socket, longest).unwrap();
    for too_long in [longest + Duration::from_nanos(1), Duration::MAX] {
        assert_kind(socket::set_user_timeout(&socket, too_long), ErrorKind::InvalidInput);
    }
}

#[test]
fn what_is_no_socket_has_none_of_the_options() {
    let other = EventFd::new(0).unwrap();
    let second = Duration::from_secs(1);
    for refused in [
        socket::set_ipv6_only(&other, true),
        socket::bind_to_device(&other, "lo"),
        socket::set_bind_address_no_port(&other, true),
        socket::set_user_timeout(&other, second),
        socket::set_defer_accept(&other, second),
        socket::set_fast_open(&other, 1),
        socket::set_oob_inline(&other, true),
        socket::set_broadcast(&other, true),
        socket::set_gro(&other, true),
        socket::family(&other).map(drop),
        socket::is_stream(&other).map(drop),
        socket::is_datagram(&other).map(drop),
        socket::is_listening(&other).map(drop),
        socket::is_connected(&other).map(drop),
        socket::peer_address(&other).map(drop),
    ] {
        assert_errno(refused, Errno::NOTSOCK);
    }
}

#[test]
fn a_unix_socket_has_no_options_of_tcp() {
    let second = Duration::from_secs(1);
    for refused in [
        socket::set_user_timeout(unix(), second),
        socket::set_defer_accept(unix(), second),
        socket::set_fast_open(unix(), 1),
        socket::set_keepalive(unix(), Some(Keepalive::after(second))),
        socket::set_bind_address_no_port(unix(), true),
        socket::set_gro(unix(), true),
        socket::set_ipv6_only(unix(), true),
    ] {
        assert_errno(refused, Errno::OPNOTSUPP);
    }
    assert_errno(socket::set_ipv6_only(inet(), true), Errno::NOPROTOOPT);
    assert_errno(socket::set_gro(inet(), true), Errno::NOPROTOOPT);
}

#[test]
fn a_device_is_one_of_this_machine() {
    let socket = inet();
    socket::bind_to_device(&socket, "lo").unwrap();
    assert_errno(socket::bind_to_device(inet(), "no-such"), Errno::NODEV);
    for name in ["a-name-of-16-byt", "a\0b"] {
        assert_kind(socket::bind_to_device(inet(), name), ErrorKind::InvalidInput);
    }
    let loopback = socket::interface_index("lo").unwrap();
    assert_eq!(socket::interface_name(loopback).unwrap(), "lo");
    assert_errno(socket::interface_index("no-such"), Errno::NODEV);
    // No machine has so many.
    assert_errno(socket::interface_name(i32::MAX.unsigned_abs()), Errno::NODEV);
}

#[test]
fn a_socket_tells_what_it_is() {
    let (listener, _) = tcp_listener();
    let udp = socket::datagram(Family::Inet).unwrap();
    let (unix_datagram, _peer) = socket::datagram_pair().unwrap();
    for (socket, family, is_stream, is_listening) in [
        (inet(), Family::Inet, true, false),
        (unix(), Family::Unix, true, false),
        (listener, Family::Inet, true, true),
        (udp, Family::Inet, false, false),
        (unix_datagram, Family::Unix, false, false),
    ] {
        assert_eq!(socket::family(&socket).unwrap(), Some(family));
        assert_eq!(socket::is_stream(&socket).unwrap(), is_stream);
        assert_eq!(socket::is_datagram(&socket).unwrap(), !is_stream);
        assert_eq!(socket::is_listening(&socket).unwrap(), is_listening);
    }
    let netlink = rustix::net::socket(
        rustix::net::AddressFamily::NETLINK,
        rustix::net::SocketType::RAW,
        None,
    );
    assert_eq!(socket::family(netlink.unwrap()).unwrap(), None);
    for (text, family) in
        [("1.2.3.4:5", Family::Inet), ("[::]:5", Family::Inet6), ("unix:@a", Family::Unix)]
    {
        assert_eq!(Family::of(text.parse::<Address>().unwrap()), family);
    }
}

#[test]
fn urgent_data_is_left_among_the_other_bytes_where_that_is_asked_for() {
    for (is_inline, expected) in [(true, &b"!"[..]), (false, b"")] {
        let (ours, theirs) = tcp_pair();
        socket::set_oob_inline(&ours, is_inline).unwrap();
        rustix::net::send(&theirs, b"!", SendFlags::OOB).unwrap();
        await_readiness(&ours, Interest::PRI);
        let mut buffer = [0; 4];
        let read = socket::recv(&ours, &mut buffer);
        assert_eq!(&buffer[..read.unwrap_or(0)], expected);
    }
}

#[test]
fn the_bytes_that_the_peer_has_not_taken_are_counted() {
    for (ours, theirs) in [tcp_pair(), socket::pair().unwrap()] {
        assert_eq!(socket::unsent(&ours).unwrap(), 0);
        while socket::send(&ours, &[0; 1 << 16]).is_ok() {}
        assert!(socket::unsent(&ours).unwrap() > 0);
        let mut buffer = vec![0; 1 << 16];
        eventually("all of it has been taken", || {
            let _ = socket::recv(&theirs, &mut buffer);
            socket::unsent(&ours).unwrap() == 0
        });
    }
    assert_errno(socket::unsent(EventFd::new(0).unwrap()), Errno::NOTTY);
    assert_kind(socket::unsent(tcp_listener().0), ErrorKind::InvalidInput);
}

#[test]
fn a_connection_is_made_or_under_way_or_over() {
    let (listener, address) = tcp_listener();
    let (ours, theirs) = tcp_connected(&listener, &address);
    assert!(socket::is_connected(&ours).unwrap() && socket::is_connected(&theirs).unwrap());
    assert_eq!(socket::peer_address(&ours).unwrap(), Address::from(address));
    assert_kind(socket::is_connected(inet()), ErrorKind::NotConnected);
    assert_kind(socket::peer_address(inet()), ErrorKind::NotConnected);
    // A half-closed one is a connection still, one that was reset is not.
    socket::shutdown(&theirs, Shutdown::Write).unwrap();
    await_readiness(&ours, Interest::RDHUP);
    assert!(socket::is_connected(&ours).unwrap());
    assert!(!socket::has_hung_up(&ours).unwrap());
    socket::set_linger(&theirs, Some(Duration::ZERO)).unwrap();
    close(theirs);
    eventually("the reset is told", || {
        matches!(socket::is_connected(&ours), Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
    });
    assert!(socket::has_hung_up(&ours).unwrap());
    assert_kind(socket::is_connected(&ours), ErrorKind::NotConnected);
}

#[test]
fn a_socket_that_has_connected_to_itself_is_refused() {
    let socket = inet();
    socket::bind(&socket, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let itself = socket::local_address(&socket).unwrap();
    socket::connect(&socket, itself).unwrap();
    await_readiness(&socket, Interest::OUT);
    assert_kind(socket::is_connected(&socket), ErrorKind::ConnectionRefused);
    assert_eq!(socket::peer_address(&socket).unwrap(), itself);
}

#[test]
fn a_listener_that_was_shut_down_has_hung_up() {
    let (tcp, _) = tcp_listener();
    let local = unix();
    socket::bind(&local, socket::UnixAddress::UNNAMED).unwrap();
    socket::listen(&local, 1).unwrap();
    for (listener, errno) in [(tcp, Errno::INVAL), (local, Errno::AGAIN)] {
        assert!(!socket::has_hung_up(&listener).unwrap());
        socket::shutdown(&listener, Shutdown::Both).unwrap();
        assert!(socket::has_hung_up(&listener).unwrap());
        assert!(socket::is_readable(&listener).unwrap());
        assert_errno(socket::accept(&listener), errno);
    }
}

#[test]
fn a_listener_with_a_connection_in_its_queue_is_readable() {
    let (listener, address) = tcp_listener();
    assert!(!socket::is_readable(&listener).unwrap());
    let (_ours, theirs) = tcp_connected(&listener, &address);
    assert!(!socket::is_readable(&listener).unwrap());
    assert!(!socket::is_readable(&theirs).unwrap());
    let waiting = inet();
    // On loopback the handshake is over, or will be soon.
    let _ = socket::connect(&waiting, address);
    eventually("it is queued", || socket::is_readable(&listener).unwrap());
}

#[test]
fn a_descriptor_is_replaced_in_one_step() {
    let (ours, theirs) = socket::pair().unwrap();
    let (mut target, peer) = socket::pair().unwrap();
    let number = target.as_raw_fd();
    replace(&mut target, &ours).unwrap();
    assert_eq!(target.as_raw_fd(), number);
    assert!(fcntl_getfd(&target).unwrap().contains(FdFlags::CLOEXEC));
    assert!(is_nonblocking(&target).unwrap());
    eventually("what it was is closed", || socket::has_hung_up(&peer).unwrap());
    socket::send(&target, b"a").unwrap();
    assert_eq!(socket::recv(&theirs, &mut [0; 2]).unwrap(), 1);
}
