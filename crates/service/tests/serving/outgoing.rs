//! Outgoing connections.

use crate::script::World;
use crate::support::{closed, for_every_mode, serve};
use epoll_service::{ThreadStats, Timeouts};
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::time::Duration;

pub(crate) fn both_ends_see_a_connection_from_its_opening_to_its_close() {
    for_every_mode(|signals, config| {
        let world = World::default();
        let peers = TcpListener::bind("127.0.0.1:0").unwrap();
        world.state().target = Some(peers.local_addr().unwrap().into());
        let ended = serve(signals, &config, &world, move |running| {
            let mut client = running.client();
            client.say("connect outgoing");
            let (peer, _) = peers.accept().unwrap();
            running.world.await_note("outgoing open");
            drop(peer);
            running.world.await_note("outgoing close PeerClosed");
            client.assert_alive();
            client.end();
            running.world.await_note("accepted close PeerClosed");
        });
        assert_eq!(closed(&ended, "peer-closed"), 2);
    });
}

pub(crate) fn a_refused_one_is_told_to_its_protocol_and_counted() {
    for_every_mode(|signals, config| {
        let world = World::default();
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ended = serve(signals, &config, &world, move |running| {
            let mut client = running.client();
            // One that is refused after a while, and one that is refused at once.
            let nobody = "unix:@epoll-kit nobody listens here".parse().unwrap();
            for (name, target) in [("late", unused.into()), ("at once", nobody)] {
                running.world.state().target = Some(target);
                client.say(&format!("connect {name}"));
                let refused = format!("{name} close ConnectFailed(ConnectionRefused)");
                running.world.await_note(&refused);
                client.assert_alive();
                assert_eq!(running.world.count(&format!("{name} open")), 0);
            }
        });
        assert_eq!(closed(&ended, "connect-failed"), 2);
        assert_eq!(ThreadStats::sum(&ended.threads).stats.opened, 3);
    });
}

/// Returns a listener whose queue is full, and what fills it.
pub(crate) fn black_hole() -> (rustix::fd::OwnedFd, std::net::SocketAddr, Vec<rustix::fd::OwnedFd>)
{
    use rustix::net::{
        AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
    };
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
    };
    let listener = socket();
    bind(&listener, &any).unwrap();
    listen(&listener, 0).unwrap();
    let address = getsockname(&listener).unwrap().try_into().unwrap();
    let fill = (0..4).map(|_| {
        let one = socket();
        // It is being established, or waits for ever.
        let _ = connect(&one, &address);
        one
    });
    let fill = fill.collect();
    (listener, address, fill)
}

pub(crate) fn one_that_is_never_answered_times_out() {
    for_every_mode(|signals, config| {
        let world = World::default();
        let (_listener, address, _fill) = black_hole();
        world.state().target = Some(address.into());
        let connect = Some(Duration::from_millis(100));
        let timeouts = Timeouts { connect, ..config.timeouts };
        let config = epoll_service::Config { timeouts, ..config };
        let ended = serve(signals, &config, &world, |running| {
            let mut client = running.client();
            client.say("connect outgoing");
            running.world.await_note("outgoing close ConnectFailed(TimedOut)");
            client.assert_alive();
        });
        assert_eq!(closed(&ended, "connect-timed-out"), 1);
    });
}

pub(crate) fn one_beyond_the_limit_is_told_to_its_protocol() {
    for_every_mode(|signals, config| {
        let world = World::default();
        let peers = TcpListener::bind("127.0.0.1:0").unwrap();
        world.state().target = Some(peers.local_addr().unwrap().into());
        let config = epoll_service::Config { connections_max: NonZeroU32::new(1), ..config };
        serve(signals, &config, &world, |running| {
            let mut client = running.client();
            client.say("connect outgoing");
            running.world.await_note("outgoing close ConnectFailed(QuotaExceeded)");
            client.assert_alive();
        });
    });
}
