//! Epoll descriptors are watched with an edge trigger although they do not say that they are
//! non-blocking: nobody reads them. A socket that blocks is refused.

use crate::nesting::loops::is_readable;
use crate::support::{error_of, ready_pair, ready_std_pair, seen};
use calloop::generic::Generic;
use epoll_kit_testing::assert_kind;
use epoll_reactor::epoll_sys::Epoll;
use epoll_reactor::net::Stream;
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Interest, NoSource, Reactor, Registration, Watch};
use mio::unix::SourceFd;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

const EDGE: Watch = Watch::edge(Interest::IN);
const EDGES: [Watch; 2] = [EDGE, Watch::edge_oneshot(Interest::IN)];

#[track_caller]
fn assert_watched(inner: impl AsFd) {
    for watch in EDGES {
        let mut outer: Reactor<NoSource, &str> = Reactor::new().unwrap();
        let token = outer.watch(&inner, "inner", watch).unwrap();
        assert_eq!(seen(&mut outer), [token]);
        // As a tag for threads that share a loop.
        let outer: SharedReactor<Stream, &str> = SharedReactor::new().unwrap();
        outer.watch(&inner, "inner", watch).unwrap();
        assert!(is_readable(&outer));
    }
}

#[track_caller]
fn assert_owned(mut inner: OwnedFd) {
    for watch in EDGES {
        let mut outer: Reactor<OwnedFd> = Reactor::new().unwrap();
        let token = outer.insert(inner, watch).unwrap();
        assert_eq!(seen(&mut outer), [token]);
        inner = outer.remove(token).unwrap();
        let outer: SharedReactor<OwnedFd> = SharedReactor::new().unwrap();
        let token = outer.insert(inner, watch).unwrap();
        assert!(is_readable(&outer));
        inner = outer.lease(token).unwrap().remove();
    }
}

#[test]
fn a_reactor_is_watched_and_owned_with_an_edge_trigger() {
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let source = inner.insert(ours, EDGE).unwrap();
    assert_watched(&inner);
    assert_owned(inner.as_fd().try_clone_to_owned().unwrap());
    let mut outer: Reactor<Reactor<Stream>> = Reactor::new().unwrap();
    let token = outer.insert(inner, EDGE).unwrap();
    assert_eq!(seen(&mut outer), [token]);
    assert_eq!(seen(&mut outer[token]), [source]);
}

#[test]
fn a_shared_reactor_is_watched_with_an_edge_trigger() {
    let inner: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    inner.insert(ours, EDGE).unwrap();
    assert_watched(&inner);
}

#[test]
fn an_epoll_instance_is_watched_and_owned_with_an_edge_trigger() {
    let inner = Epoll::new().unwrap();
    let (ours, _theirs) = ready_pair();
    inner.add(&ours, 0, EDGE).unwrap();
    assert_watched(&inner);
    assert_owned(inner.as_fd().try_clone_to_owned().unwrap());
    let mut outer: Reactor<Epoll> = Reactor::new().unwrap();
    let token = outer.insert(inner, EDGE).unwrap();
    assert_eq!(seen(&mut outer), [token]);
}

#[test]
fn the_pollers_of_other_crates_are_watched_with_an_edge_trigger() {
    let (ours, _theirs) = ready_pair();
    let number = ours.as_fd().as_raw_fd();
    let poll = mio::Poll::new().unwrap();
    let readable = mio::Interest::READABLE;
    poll.registry().register(&mut SourceFd(&number), mio::Token(0), readable).unwrap();
    assert_watched(poll.registry());
    assert_owned(poll.registry().as_fd().try_clone_to_owned().unwrap());

    let (ours, _theirs) = ready_pair();
    let source = Generic::new(ours, calloop::Interest::READ, calloop::Mode::Level);
    let inner = calloop::EventLoop::<()>::try_new().unwrap();
    inner.handle().insert_source(source, |_, _, ()| Ok(calloop::PostAction::Continue)).unwrap();
    assert_watched(&inner);
    assert_owned(inner.as_fd().try_clone_to_owned().unwrap());
}

#[test]
fn reactors_nest_five_deep() {
    let mut chain: Vec<Reactor<NoSource>> = vec![Reactor::watch_only().unwrap()];
    for depth in 2..=5 {
        let mut outer: Reactor<NoSource> = Reactor::watch_only().unwrap();
        outer.watch(chain.last().unwrap(), (), EDGE).unwrap();
        chain.push(outer);
        assert_eq!(chain.len(), depth);
    }
    let waker = chain[0].waker();
    waker.wake().unwrap();
    assert!(chain.iter().all(is_readable), "the wake is seen at the outermost");
    let mut too_deep: Reactor<NoSource> = Reactor::watch_only().unwrap();
    let refused = too_deep.watch(chain.last().unwrap(), (), EDGE).unwrap_err();
    let errno = rustix::io::Errno::from_io_error(&refused);
    assert!(matches!(errno, Some(rustix::io::Errno::LOOP | rustix::io::Errno::INVAL)), "{refused}");
    assert!(too_deep.is_empty());
}

#[test]
fn a_socket_that_blocks_is_refused_with_an_edge_trigger() {
    let (ours, _theirs) = ready_std_pair();
    for watch in EDGES {
        let mut outer: Reactor<UnixStream> = Reactor::new().unwrap();
        assert_kind(outer.watch(&ours, (), watch), ErrorKind::InvalidInput);
        assert_kind(
            error_of(outer.insert(ours.try_clone().unwrap(), watch)),
            ErrorKind::InvalidInput,
        );
        assert!(outer.is_empty());
        let outer: SharedReactor<UnixStream> = SharedReactor::new().unwrap();
        assert_kind(outer.watch(&ours, (), watch), ErrorKind::InvalidInput);
        assert_kind(
            error_of(outer.insert(ours.try_clone().unwrap(), watch)),
            ErrorKind::InvalidInput,
        );
        assert!(outer.is_empty());
    }
}
