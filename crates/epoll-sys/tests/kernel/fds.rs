//! The flags of every descriptor that is made here, what the kernel shows of an interest list, and
//! what accepted sockets inherit. Timers are in `timers`.

use crate::support::{look, tcp_connected, tcp_listener, without};
use epoll_kit_testing::close;
use epoll_sys::socket::{Address, Keepalive, UnixAddress};
use epoll_sys::{
    Boottime, BusyPoll, Epoll, EventFd, ExclusiveInterest, ExclusiveWatch, Interest, InterestEntry,
    Pipe, Realtime, Signal, SignalFd, SignalSet, TimerFd, Watch, is_nonblocking, set_nonblocking,
    socket,
};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::sockopt;
use rustix::pipe::PipeFlags;
use rustix::thread::CapabilitySet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// `EPOLLERR | EPOLLHUP`, which the kernel adds to every interest.
const ALWAYS: u32 = 0x18;

#[test]
fn the_raw_number_of_a_descriptor_is_that_of_the_borrowed_one() {
    let (epoll, counter) = (Epoll::new().unwrap(), EventFd::new(0).unwrap());
    let timer = TimerFd::new().unwrap();
    assert_eq!(epoll.as_raw_fd(), epoll.as_fd().as_raw_fd());
    assert_eq!(counter.as_raw_fd(), counter.as_fd().as_raw_fd());
    assert_eq!(timer.as_raw_fd(), timer.as_fd().as_raw_fd());
}

/// One of each kind that is non-blocking.
fn nonblocking() -> Vec<(&'static str, OwnedFd)> {
    let set = SignalSet::from_iter([Signal::USR1]);
    let signals = SignalFd::new(&set).unwrap();
    let (left, right) = socket::pair().unwrap();
    let (listener, address) = tcp_listener();
    let (client, accepted) = tcp_connected(&listener, &address);
    let (reader, writer) = Pipe::new().unwrap().into();
    vec![
        ("eventfd", EventFd::new(0).unwrap().into()),
        ("semaphore", EventFd::semaphore(0).unwrap().into()),
        ("monotonic timer", TimerFd::new().unwrap().into()),
        ("boottime timer", TimerFd::with_clock(Boottime).unwrap().into()),
        ("realtime timer", TimerFd::with_clock(Realtime).unwrap().into()),
        // A duplicate shares the status flags; its own close-on-exec flag proves nothing.
        ("signalfd", signals.as_fd().try_clone_to_owned().unwrap()),
        ("left of a pair", left),
        ("right of a pair", right),
        ("listener", listener),
        ("client", client),
        ("accepted", accepted),
        ("reader of a pipe", reader),
        ("writer of a pipe", writer),
        ("unix", socket::stream(socket::Family::Unix).unwrap()),
        ("datagram", socket::datagram(socket::Family::Inet).unwrap()),
        ("datagram of a pair", socket::datagram_pair().unwrap().0),
        ("left of a pair for packets", socket::packet_pair().unwrap().0),
        ("right of a pair for packets", socket::packet_pair().unwrap().1),
    ]
}

fn closes_on_exec(fd: impl AsFd) -> bool {
    fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
}

#[test]
fn every_descriptor_closes_on_exec() {
    assert!(closes_on_exec(Epoll::new().unwrap()));
    assert!(closes_on_exec(SignalFd::new(&SignalSet::empty()).unwrap()));
    for (name, fd) in nonblocking() {
        assert!(closes_on_exec(fd), "{name}");
    }
}

#[test]
fn every_descriptor_that_is_read_or_written_is_nonblocking() {
    for (name, fd) in nonblocking() {
        assert!(is_nonblocking(fd).unwrap(), "{name}");
    }
}

#[test]
fn a_descriptor_of_others_is_made_nonblocking_for_all_who_share_it() {
    let (reader, _writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let duplicate = reader.try_clone().unwrap();
    assert!(!is_nonblocking(&reader).unwrap());
    set_nonblocking(&reader).unwrap();
    assert!(is_nonblocking(&duplicate).unwrap());
}

#[track_caller]
fn only_entry(epoll: &Epoll) -> InterestEntry {
    let entries = epoll.interest_list().unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0]
}

#[test]
fn the_interest_list_shows_what_was_added_and_modified() {
    let (epoll, source) = (Epoll::new().unwrap(), EventFd::new(0).unwrap());
    assert!(epoll.interest_list().unwrap().is_empty());
    let fd = source.as_fd().as_raw_fd();

    let watch = Watch::level(Interest::IN | Interest::RDHUP);
    epoll.add(&source, u64::MAX, watch).unwrap();
    let expected = InterestEntry { fd, events: watch.bits() | ALWAYS, data: u64::MAX };
    assert_eq!(only_entry(&epoll), expected);

    let watch = Watch::edge_oneshot(Interest::OUT | Interest::PRI);
    epoll.modify(&source, 0x1_0000_002a, watch).unwrap();
    let expected = InterestEntry { fd, events: watch.bits() | ALWAYS, data: 0x1_0000_002a };
    assert_eq!(only_entry(&epoll), expected);

    epoll.delete(&source).unwrap();
    assert!(epoll.interest_list().unwrap().is_empty());
}

#[test]
fn the_interest_list_shows_a_reported_oneshot_source_without_interest() {
    for watch in [Watch::oneshot(Interest::IN), Watch::edge_oneshot(Interest::IN)] {
        let (epoll, source) = (Epoll::new().unwrap(), EventFd::new(1).unwrap());
        epoll.add(&source, 7, watch).unwrap();
        assert_eq!(look(&epoll).len(), 1);
        let trigger_alone = watch.with_interest(Interest::empty()).bits() & !ALWAYS;
        assert_eq!(only_entry(&epoll).events, trigger_alone, "{watch:?}");
        assert_eq!(only_entry(&epoll).data, 7);

        epoll.modify(&source, 7, watch).unwrap();
        assert_eq!(only_entry(&epoll).events, watch.bits() | ALWAYS, "{watch:?}");
    }
}

#[test]
fn the_interest_list_shows_an_exclusive_source() {
    let (epoll, source) = (Epoll::new().unwrap(), EventFd::new(0).unwrap());
    let watch = ExclusiveWatch::edge(ExclusiveInterest::IN);
    epoll.add_exclusive(&source, 7, watch).unwrap();
    assert_eq!(only_entry(&epoll).events, watch.bits() | ALWAYS);
}

#[test]
fn closing_the_last_descriptor_takes_a_source_off_the_list() {
    let (epoll, source) = (Epoll::new().unwrap(), EventFd::new(1).unwrap());
    epoll.add(&source, 7, Watch::level(Interest::IN)).unwrap();
    close(source);
    assert!(epoll.interest_list().unwrap().is_empty());
    assert!(look(&epoll).is_empty());
}

#[test]
fn keeping_the_system_awake_is_dropped_silently_without_the_capability() {
    without(CapabilitySet::BLOCK_SUSPEND, || {
        let (epoll, source) = (Epoll::new().unwrap(), EventFd::new(0).unwrap());
        let watch = Watch::level(Interest::IN);
        epoll.add(&source, 0, watch.with_wakeup()).unwrap();
        assert_eq!(only_entry(&epoll).events, watch.bits() | ALWAYS);
    });
}

#[test]
fn busy_poll_parameters_come_back() {
    let epoll = Epoll::new().unwrap();
    // The errors of kernels that cannot are in `errnos`.
    let Ok(before) = epoll.busy_poll() else { return };
    assert_eq!((before.usecs, before.prefer), (0, false));
    for params in
        [BusyPoll { usecs: 50, budget: 32, prefer: true }, BusyPoll { prefer: false, ..before }]
    {
        epoll.set_busy_poll(params).unwrap();
        assert_eq!(epoll.busy_poll().unwrap(), params);
    }
}

#[test]
fn a_counter_gives_its_sum_and_starts_again() {
    let counter = EventFd::new(5).unwrap();
    counter.write(2).unwrap();
    assert_eq!(counter.read().unwrap(), 7);
    counter.write(u64::MAX - 1).unwrap();
    assert_eq!(counter.read().unwrap(), u64::MAX - 1);
    counter.write(1).unwrap();
    assert_eq!(counter.read().unwrap(), 1);
}

#[test]
fn a_semaphore_gives_one_at_a_time() {
    let semaphore = EventFd::semaphore(1).unwrap();
    semaphore.write(2).unwrap();
    for _ in 0..3 {
        assert_eq!(semaphore.read().unwrap(), 1);
    }
    semaphore.read().unwrap_err();
}

#[test]
fn an_accepted_socket_inherits_the_options_of_its_listener() {
    let (listener, address) = tcp_listener();
    socket::set_nodelay(&listener, true).unwrap();
    let keepalive = Keepalive::after(Duration::from_millis(41_500));
    socket::set_keepalive(&listener, Some(keepalive)).unwrap();
    socket::set_receive_buffer(&listener, 20_000).unwrap();
    socket::set_send_buffer(&listener, 30_000).unwrap();

    let (client, accepted) = tcp_connected(&listener, &address);
    assert!(sockopt::tcp_nodelay(&accepted).unwrap());
    assert!(sockopt::socket_keepalive(&accepted).unwrap());
    // Whole seconds, rounded up.
    assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), Duration::from_secs(42));
    // The kernel doubles what it is asked for.
    assert_eq!(sockopt::socket_recv_buffer_size(&accepted).unwrap(), 40_000);
    assert_eq!(sockopt::socket_send_buffer_size(&accepted).unwrap(), 60_000);

    assert!(!sockopt::tcp_nodelay(&client).unwrap());
    assert!(!sockopt::socket_keepalive(&client).unwrap());
}

#[test]
fn an_accepted_socket_is_nonblocking_by_itself_and_not_by_its_listener() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(!is_nonblocking(&listener).unwrap());
    let (accepted, _) = socket::accept(&listener).unwrap();
    assert!(is_nonblocking(&accepted).unwrap());
}

#[test]
fn the_address_of_the_peer_comes_with_an_accepted_socket() {
    let (listener, address) = tcp_listener();
    let client = std::net::TcpStream::connect(address).unwrap();
    let (accepted, peer) = socket::accept(&listener).unwrap();
    assert_eq!(peer.inet(), client.local_addr().ok());
    assert_eq!(socket::local_address(&accepted).unwrap().inet(), Some(address));
    assert_eq!(socket::peer_address(&accepted).unwrap(), peer);
    let unnamed = socket::local_address(socket::pair().unwrap().0).unwrap();
    assert_eq!(unnamed, Address::Unix(UnixAddress::UNNAMED));
}

#[test]
fn unread_bytes_are_counted() {
    let (ours, theirs) = socket::pair().unwrap();
    assert_eq!(socket::unread(&ours).unwrap(), 0);
    socket::send(&theirs, b"seven b").unwrap();
    assert_eq!(socket::unread(&ours).unwrap(), 7);
}

#[test]
fn several_listeners_share_a_port_when_all_of_them_allow_it() {
    let [first, second] = [(); 2].map(|()| socket::stream(socket::Family::Inet).unwrap());
    for socket in [&first, &second] {
        socket::set_reuse_port(socket, true).unwrap();
    }
    socket::bind(&first, "127.0.0.1:0".parse::<Address>().unwrap()).unwrap();
    let shared = socket::local_address(&first).unwrap();
    socket::bind(&second, shared).unwrap();
    socket::listen(&first, 1).unwrap();
    socket::listen(&second, 1).unwrap();
}
