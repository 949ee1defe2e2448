//! Watched descriptors that were closed before their registration ended: they are not taken for
//! their successors, and an entry that nobody can delete does not keep the loop awake.
//!
//! Tests that count on descriptor numbers run in a process of their own.

use crate::support::{assert_sleeps, look, ready_pair, seen, wait};
use epoll_kit_testing::{assert_kind, in_own_process};
use epoll_reactor::epoll_sys::EventFd;
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor};
use epoll_reactor::{Interest, Reactor, Readiness, Ready, Registration, Watch};
use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const READABLE: Watch = Watch::level(Interest::IN);
/// The documented number of stale events before the reactor replaces its epoll instance.
const STALE_EVENTS_MAX: u64 = 100;

#[test]
fn a_number_that_is_watched_again_ends_the_registration_of_the_closed_one() {
    const NAME: &str =
        "closed_first::a_number_that_is_watched_again_ends_the_registration_of_the_closed_one";
    in_own_process(NAME, || {
        let mut reactor: Reactor<Stream, &str> = Reactor::new().unwrap();
        let closed = EventFd::new(0).unwrap();
        let number = closed.as_fd().as_raw_fd();
        let old = reactor.watch(&closed, "old", READABLE).unwrap();
        drop(closed);
        let successor = EventFd::new(1).unwrap();
        assert_eq!(successor.as_fd().as_raw_fd(), number);
        let new = reactor.watch(&successor, "new", READABLE).unwrap();
        assert_eq!(reactor.len(), 1);
        assert_kind(reactor.modify_watched(old, &successor, READABLE), ErrorKind::NotFound);
        assert_kind(reactor.park_watched(old, &successor), ErrorKind::NotFound);
        assert_kind(reactor.unwatch(old, &successor), ErrorKind::NotFound);
        assert!(!reactor.forget(old));
        assert_eq!(seen(&mut reactor), [new]);
        reactor.unwatch(new, &successor).unwrap();
        assert!(reactor.is_empty());
        // Watched anew it is found anew.
        let again = reactor.watch(&successor, "again", READABLE).unwrap();
        assert_eq!(seen(&mut reactor), [again]);
    });
}

#[test]
fn a_number_that_is_watched_again_and_again_has_one_registration() {
    const NAME: &str =
        "closed_first::a_number_that_is_watched_again_and_again_has_one_registration";
    in_own_process(NAME, || {
        let mut reactor: Reactor<Stream, u32> = Reactor::new().unwrap();
        let mut numbers = HashSet::new();
        for tag in 0..4 {
            let counter = EventFd::new(1).unwrap();
            numbers.insert(counter.as_raw_fd());
            let token = reactor.watch(&counter, tag, READABLE).unwrap();
            assert_eq!((reactor.len(), seen(&mut reactor)), (1, vec![token]));
        }
        assert_eq!(numbers.len(), 1);
    });
}

#[test]
fn a_number_that_an_owned_source_has_ends_the_registration_of_the_closed_one() {
    const NAME: &str =
        "closed_first::a_number_that_an_owned_source_has_ends_the_registration_of_the_closed_one";
    in_own_process(NAME, || {
        let mut reactor: Reactor<EventFd, char> = Reactor::new().unwrap();
        let closed = EventFd::new(0).unwrap();
        let number = closed.as_fd().as_raw_fd();
        let old = reactor.watch(&closed, 'w', READABLE).unwrap();
        drop(closed);
        let source = EventFd::new(1).unwrap();
        assert_eq!(source.as_fd().as_raw_fd(), number);
        let token = reactor.insert(source, READABLE).unwrap();
        assert!(!reactor.forget(old));
        assert_eq!((reactor.len(), seen(&mut reactor)), (1, vec![token]));
    });
}

#[test]
fn a_shared_reactor_does_not_mistake_a_number_either() {
    const NAME: &str = "closed_first::a_shared_reactor_does_not_mistake_a_number_either";
    in_own_process(NAME, || {
        let reactor: SharedReactor<EventFd, &str> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker();
        let closed = EventFd::new(0).unwrap();
        let number = closed.as_fd().as_raw_fd();
        let old = reactor.watch(&closed, "old", READABLE).unwrap();
        drop(closed);
        let successor = EventFd::new(1).unwrap();
        assert_eq!(successor.as_fd().as_raw_fd(), number);
        let new = reactor.watch(&successor, "new", READABLE).unwrap();
        assert_kind(reactor.modify_watched(old, &successor, READABLE), ErrorKind::NotFound);
        assert_kind(reactor.unwatch(old, &successor), ErrorKind::NotFound);
        assert!(worker.wait(None).unwrap());
        let ready = worker.next_ready();
        assert!(matches!(ready, Some(LeaseReady::Watched { tag: "new", .. })), "{ready:?}");
        drop(ready);
        reactor.unwatch(new, &successor).unwrap();

        let old = reactor.watch(&successor, "old", READABLE).unwrap();
        drop(successor);
        let source = EventFd::new(1).unwrap();
        assert_eq!(source.as_fd().as_raw_fd(), number);
        let token = reactor.insert(source, Watch::oneshot(Interest::IN)).unwrap();
        assert!(!reactor.forget(old));
        assert!(worker.wait(None).unwrap());
        let Some(LeaseReady::Owned(lease)) = worker.next_ready() else { panic!("no report") };
        assert_eq!(lease.token(), token);
    });
}

/// Turns until the loop has got rid of an entry, at most as many as it takes.
fn turn_until_it_sleeps(reactor: &mut Reactor<Stream, char>) {
    for _ in 0..STALE_EVENTS_MAX {
        assert_eq!(reactor.counters().rebuilds, 0);
        assert_eq!(look(reactor), []);
    }
    assert_sleeps(reactor);
    assert_eq!((reactor.counters().rebuilds, reactor.counters().stale), (1, STALE_EVENTS_MAX));
}

#[test]
fn an_entry_that_nobody_can_delete_is_got_rid_of() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (watched, _open) = UnixStream::pair().unwrap();
    let clone = watched.try_clone().unwrap();
    let token = reactor.watch(&watched, 'w', Watch::level(Interest::OUT)).unwrap();
    // Others, which live on: an owned source, a parked one, a watched one, a wake.
    let ((edge, mut edge_peer), (parked, mut parked_peer)) =
        (Stream::pair().unwrap(), ready_pair());
    let edge = reactor.insert(edge, Watch::edge(Interest::IN)).unwrap();
    let parked = reactor.insert(parked, READABLE).unwrap();
    reactor.park(parked).unwrap();
    let counter = EventFd::new(0).unwrap();
    let counting = reactor.watch(&counter, 'c', Watch::edge(Interest::IN)).unwrap();

    drop(watched);
    assert!(reactor.forget(token));
    turn_until_it_sleeps(&mut reactor);
    drop(clone);

    edge_peer.write_all(b"x").unwrap();
    assert_eq!(wait(&mut reactor), [(edge, Readiness::IN)]);
    counter.write(1).unwrap();
    assert_eq!(wait(&mut reactor), [(counting, Readiness::IN)]);
    parked_peer.write_all(b"x").unwrap();
    assert_sleeps(&mut reactor);
    reactor.unpark(parked).unwrap();
    assert_eq!(wait(&mut reactor), [(parked, Readiness::IN)]);
    reactor.waker().wake().unwrap();
    reactor.wait(None).unwrap();
    assert!(matches!(reactor.next_ready(), Some(Ready::Owned { .. } | Ready::Woken)));
    assert_eq!(reactor.counters().rebuilds, 1);
}

#[test]
fn a_source_that_was_cloned_although_it_promised_otherwise_is_got_rid_of() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let _clone = ours.as_fd().try_clone_to_owned().unwrap();
    let token = reactor.insert(ours, READABLE).unwrap();
    assert!(reactor.close(token));
    turn_until_it_sleeps(&mut reactor);
}

#[test]
fn a_shared_reactor_gets_rid_of_an_entry_while_threads_wait() {
    let reactor: SharedReactor<Stream, char> = SharedReactor::new().unwrap();
    let (watched, _open) = UnixStream::pair().unwrap();
    let _clone = watched.try_clone().unwrap();
    let stale = reactor.watch(&watched, 'w', Watch::level(Interest::OUT)).unwrap();
    let pairs: Vec<_> = (0..20).map(|_| Stream::pair().unwrap()).collect();
    let (sources, mut peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    for (index, source) in sources.into_iter().enumerate() {
        let trigger = if index % 2 == 0 { Watch::oneshot } else { Watch::edge };
        reactor.insert(source, trigger(Interest::IN)).unwrap();
    }
    let (sender, reports) = mpsc::channel();
    thread::scope(|threads| {
        for _ in 0..3 {
            let (reactor, sender) = (&reactor, sender.clone());
            threads.spawn(move || {
                let mut worker = reactor.worker();
                while worker.wait(None).unwrap() {
                    while let Some(ready) = worker.next_ready() {
                        if let LeaseReady::Owned(lease) = ready {
                            let mut byte = [0];
                            if let Ok(1) = std::io::Read::read(&mut &*lease, &mut byte) {
                                sender.send(byte[0]).unwrap();
                            }
                        }
                    }
                }
            });
        }
        drop(watched);
        assert!(reactor.forget(stale));
        for round in 0..20 {
            for peer in &mut peers {
                peer.write_all(&[round]).unwrap();
            }
            for _ in 0..peers.len() {
                assert_eq!(reports.recv_timeout(Duration::from_secs(20)), Ok(round));
            }
        }
        reactor.stop().unwrap();
    });
    assert!(reactor.counters().rebuilds >= 1);
    // Nobody is kept awake any more.
    let stale = reactor.counters().stale;
    let mut worker = reactor.worker();
    assert!(!worker.wait(Some(Duration::from_millis(20))).unwrap());
    assert_eq!(reactor.counters().stale, stale);
}
