//! Descriptors that live elsewhere, watched under a tag: reported to whoever waits, leased by nobody.

use crate::shared::{StopAtTheEnd, TRIGGERS, Trigger, asleep};
use crate::support::{drain, ready_pair, ready_std_pair};
use epoll_kit_testing::{DEADLINE, assert_kind};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Interest, Readiness, Registration, Token, Watch};
use epoll_sys::EventFd;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

type Tagged = SharedReactor<Stream, char>;

/// The reports of a turn that only looks.
#[track_caller]
fn look(worker: &mut Worker<'_, Stream, char>) -> Vec<(Token, char, Readiness)> {
    assert!(worker.wait(Some(Duration::ZERO)).unwrap());
    let mut told = Vec::new();
    while let Some(ready) = worker.next_ready() {
        match ready {
            LeaseReady::Watched { token, tag, readiness } => told.push((token, tag, readiness)),
            other => panic!("{other:?}"),
        }
    }
    told
}

#[test]
fn in_a_short_batch_it_comes_before_sources_in_its_order() {
    let reactor: Tagged = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let mut theirs = Vec::new();
    for _ in 0..2 {
        let (source, peer) = ready_pair();
        reactor.insert(source, Watch::edge(Interest::IN)).unwrap();
        theirs.push(peer);
    }
    let elsewhere = [EventFd::new(1).unwrap(), EventFd::new(1).unwrap()];
    for (eventfd, tag) in elsewhere.iter().zip(['a', 'b']) {
        reactor.watch(eventfd, tag, Watch::oneshot(Interest::IN)).unwrap();
    }
    assert!(worker.wait(Some(Duration::ZERO)).unwrap());
    let mut told = Vec::new();
    while let Some(ready) = worker.next_ready() {
        told.push(match ready {
            LeaseReady::Watched { tag, .. } => tag,
            LeaseReady::Owned(_) => 'o',
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(told, ['a', 'b', 'o', 'o']);
}

#[test]
fn it_is_reported_with_its_tag_as_its_trigger_says() {
    // Whether a report comes again while it is ready.
    let watches: [(Trigger, bool); 4] = [
        (Watch::level, true),
        (Watch::edge, false),
        (Watch::oneshot, false),
        (Watch::edge_oneshot, false),
    ];
    for (watch, comes_again) in watches {
        let reactor: Tagged = SharedReactor::new().unwrap();
        let [mut one, mut other] = [reactor.worker(), reactor.worker()];
        let (elsewhere, mut theirs) = ready_pair();
        let token = reactor.watch(&elsewhere, 'w', watch(Interest::IN)).unwrap();
        let report = (token, 'w', Readiness::IN);
        assert_eq!(look(&mut one), [report]);
        assert_eq!(look(&mut other), vec![report; usize::from(comes_again)]);
        assert_eq!(reactor.len(), 0, "it is not owned");

        drain(&elsewhere);
        theirs.write_all(b"more").unwrap();
        let is_armed = !watch(Interest::IN).is_oneshot();
        assert_eq!(look(&mut one), vec![report; usize::from(is_armed)]);
        reactor.modify_watched(token, &elsewhere, watch(Interest::IN)).unwrap();
        assert_eq!(look(&mut other), [report]);
        assert_eq!((reactor.counters().adds, reactor.counters().mods), (1, 1));
    }
}

#[test]
fn it_is_watched_for_something_else_and_no_more() {
    let reactor: Tagged = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (elsewhere, _theirs) = ready_pair();
    let token = reactor.watch(&elsewhere, 'w', Watch::level(Interest::IN)).unwrap();
    reactor.modify_watched(token, &elsewhere, Watch::edge(Interest::OUT)).unwrap();
    assert_eq!(look(&mut worker), [(token, 'w', Readiness::OUT)]);
    assert_eq!(look(&mut worker), []);
    reactor.unwatch(token, &elsewhere).unwrap();
    assert_eq!(reactor.epoll().interest_list().unwrap().len(), 2);
    assert_kind(reactor.unwatch(token, &elsewhere), ErrorKind::NotFound);
    let level = Watch::level(Interest::IN);
    assert_kind(reactor.modify_watched(token, &elsewhere, level), ErrorKind::NotFound);
    assert_eq!((reactor.counters().mods, reactor.counters().dels), (1, 1));
    // It is as it was, and may come back under another name.
    let again = reactor.watch(&elsewhere, 'a', level).unwrap();
    assert_ne!(again, token);
    assert_eq!(look(&mut worker), [(again, 'a', Readiness::IN)]);
}

#[test]
fn another_descriptor_under_its_name_is_refused() {
    let reactor: Tagged = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (elsewhere, theirs) = ready_pair();
    let level = Watch::level(Interest::IN);
    let token = reactor.watch(&elsewhere, 'w', level).unwrap();
    assert_kind(reactor.unwatch(token, &theirs), ErrorKind::NotFound);
    assert_kind(reactor.modify_watched(token, &theirs, level), ErrorKind::NotFound);
    assert_eq!(look(&mut worker), [(token, 'w', Readiness::IN)]);
    assert_eq!((reactor.counters().mods, reactor.counters().dels), (0, 0));
}

#[test]
fn a_descriptor_that_blocks_is_refused_with_an_edge() {
    let reactor: Tagged = SharedReactor::new().unwrap();
    let (elsewhere, _theirs) = ready_std_pair();
    let edge = Watch::edge(Interest::IN);
    assert_kind(reactor.watch(&elsewhere, 'w', edge), ErrorKind::InvalidInput);
    let token = reactor.watch(&elsewhere, 'w', Watch::oneshot(Interest::IN)).unwrap();
    assert_kind(reactor.modify_watched(token, &elsewhere, edge), ErrorKind::InvalidInput);
    assert_eq!((reactor.counters().adds, reactor.counters().mods), (1, 0));
    assert_eq!(look(&mut reactor.worker()), [(token, 'w', Readiness::IN)]);
}

#[test]
fn an_event_that_was_fetched_before_the_end_is_stale() {
    let reactor: Tagged = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (elsewhere, _theirs) = ready_pair();
    let edge = Watch::edge(Interest::IN);
    let token = reactor.watch(&elsewhere, 'w', edge).unwrap();
    assert!(worker.wait(Some(DEADLINE)).unwrap());
    reactor.unwatch(token, &elsewhere).unwrap();
    let (new, _keep) = Stream::pair().unwrap();
    let successor = reactor.watch(&new, 'n', edge).unwrap();
    assert_ne!(successor, token);
    assert!(worker.next_ready().is_none());
    assert_eq!(worker.counters().stale, 1);
    assert_eq!(look(&mut worker), []);
}

#[test]
fn tags_and_sources_do_not_get_into_each_others_way() {
    let reactor: Tagged = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (ours, _theirs) = ready_pair();
    let (elsewhere, _their_elsewhere) = ready_pair();
    let owned = reactor.insert(ours, Watch::oneshot(Interest::IN)).unwrap();
    let watched = reactor.watch(&elsewhere, 'w', Watch::edge(Interest::IN)).unwrap();
    assert_ne!(owned, watched);
    assert!(worker.wait(Some(DEADLINE)).unwrap());
    let mut told = Vec::new();
    while let Some(ready) = worker.next_ready() {
        told.push(match ready {
            LeaseReady::Owned(lease) => {
                drain(&lease);
                lease.token()
            }
            LeaseReady::Watched { token, tag, .. } => {
                assert_eq!(tag, 'w');
                token
            }
            LeaseReady::Woken => panic!("nobody used the waker"),
        });
    }
    told.sort();
    let mut expected = [owned, watched];
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!((reactor.tokens(), reactor.len()), (vec![owned], 1));
}

/// Descriptors come and go from a thread that never waits, while three wait.
#[test]
fn descriptors_come_and_go_while_others_wait() {
    const ROUNDS: u32 = 100;
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream, u32> = SharedReactor::new().unwrap();
        let (send, told) = mpsc::channel();
        let work = || {
            let mut worker = reactor.worker();
            while worker.wait(None).unwrap() {
                while let Some(ready) = worker.next_ready() {
                    let LeaseReady::Watched { token, tag, .. } = ready else { panic!("{ready:?}") };
                    send.send((token, tag)).unwrap();
                }
            }
        };
        thread::scope(|threads| {
            let _stop = StopAtTheEnd(&reactor);
            asleep(threads, 3, work);
            for round in 0..ROUNDS {
                let eventfd = EventFd::new(0).unwrap();
                let token = reactor.watch(&eventfd, round, watch(Interest::IN)).unwrap();
                eventfd.write(1).unwrap();
                assert_eq!(told.recv_timeout(DEADLINE).unwrap(), (token, round));
                reactor.unwatch(token, eventfd.as_fd()).unwrap();
            }
        });
        assert!(told.try_recv().is_err());
    }
}

#[test]
fn a_closed_one_is_forgotten_once() {
    let reactor: Tagged = SharedReactor::new().unwrap();
    let (counter, open) = (EventFd::new(1).unwrap(), EventFd::new(1).unwrap());
    let closed = reactor.watch(&counter, 'c', Watch::level(Interest::IN)).unwrap();
    let token = reactor.watch(&open, 'o', Watch::level(Interest::IN)).unwrap();
    let owned = reactor.insert(Stream::pair().unwrap().0, Watch::edge(Interest::IN)).unwrap();
    drop(counter);
    assert!(!reactor.forget(owned));
    assert!(reactor.forget(closed));
    assert!(!reactor.forget(closed));
    let tags: Vec<_> = {
        let mut worker = reactor.worker();
        assert!(worker.wait(Some(Duration::ZERO)).unwrap());
        let mut tags = Vec::new();
        while let Some(ready) = worker.next_ready() {
            if let LeaseReady::Watched { tag, .. } = ready {
                tags.push(tag);
            }
        }
        tags
    };
    assert_eq!(tags, ['o']);
    reactor.unwatch(token, &open).unwrap();
    assert!(reactor.contains(owned));
}

#[test]
fn an_event_that_is_skipped_leaves_its_place_to_the_next() {
    let reactor: Tagged = SharedReactor::new().unwrap();
    let mut worker = reactor.worker_with_batch_max(16);
    let [(one, mut one_peer), (other, mut other_peer)] =
        [Stream::pair().unwrap(), Stream::pair().unwrap()];
    let one = reactor.insert(one, Watch::oneshot(Interest::IN)).unwrap();
    let other = reactor.insert(other, Watch::oneshot(Interest::IN)).unwrap();
    let counter = EventFd::new(0).unwrap();
    reactor.watch(&counter, 'c', Watch::edge(Interest::IN)).unwrap();
    // In this order they come.
    one_peer.write_all(b"1").unwrap();
    counter.write(1).unwrap();
    other_peer.write_all(b"2").unwrap();
    assert!(worker.wait(Some(Duration::ZERO)).unwrap());
    // The first of them is in use when the worker looks again.
    let lease = reactor.lease(one).unwrap();
    assert!(worker.wait(Some(Duration::ZERO)).unwrap());
    assert!(matches!(worker.next_ready(), Some(LeaseReady::Watched { tag: 'c', .. })));
    match worker.next_ready() {
        Some(LeaseReady::Owned(lease)) => {
            assert_eq!((lease.token(), drain(&lease)), (other, b"2".to_vec()));
        }
        ready => panic!("{ready:?}"),
    }
    drop(lease);
    assert!(worker.wait(Some(DEADLINE)).unwrap());
    let mut told = Vec::new();
    while let Some(ready) = worker.next_ready() {
        if let LeaseReady::Owned(lease) = ready {
            told.push((lease.token(), drain(&lease)));
        }
    }
    assert_eq!(told, [(one, b"1".to_vec())]);
}
