//! Sources that a shared reactor refuses, and tokens that name nothing in it.

use crate::shared::{TRIGGERS, Told, look, with_ready};
use crate::support::{Common, ready_pair, ready_std_pair};
use epoll_kit_testing::{assert_errno, assert_kind, in_own_process};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Interest, Registration, Watch};
use epoll_sys::EventFd;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

#[test]
fn threads_may_share_it_and_a_worker_may_move_to_one() {
    fn is_shared<T: Send + Sync>() {}
    fn is_send<T: Send>() {}
    is_shared::<SharedReactor<Stream, char>>();
    is_send::<Worker<'_, Stream, char>>();
    // A lease stays on its thread, which the compiler sees to; what it lends may be shared.
    fn lends<'a>(lease: &'a Lease<'_, Stream>) -> &'a Stream {
        lease
    }
    let _ = lends;
}

#[test]
fn a_level_trigger_is_refused_and_the_source_given_back() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let (source, _theirs) = ready_pair();
    for watch in [Watch::level(Interest::IN), Watch::level(Interest::IN).with_wakeup()] {
        let (ours, _keep) = ready_pair();
        let failed = reactor.insert(ours, watch).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
        assert!(failed.error.to_string().contains("level-triggered"), "{failed}");
        (&failed.source).read_exact(&mut [0]).unwrap();
    }
    assert_eq!((reactor.len(), reactor.counters().adds), (0, 0));
    reactor.insert(source, Watch::oneshot(Interest::IN)).unwrap();
}

#[test]
fn a_descriptor_that_blocks_is_refused_unless_it_is_inserted_as_such() {
    let reactor: SharedReactor<UnixStream> = SharedReactor::new().unwrap();
    let (mut source, _theirs) = ready_std_pair();
    for watch in [Watch::edge(Interest::IN), Watch::edge_oneshot(Interest::IN)] {
        for insert in [SharedReactor::insert, SharedReactor::insert_blocking] {
            let failed = insert(&reactor, source, watch).unwrap_err();
            assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
            assert!(failed.error.to_string().contains("non-blocking"), "{failed}");
            source = failed.source;
        }
    }
    let failed = reactor.insert(source, Watch::oneshot(Interest::IN)).unwrap_err();
    assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
    assert!(reactor.is_empty());
    let token = reactor.insert_blocking(failed.source, Watch::oneshot(Interest::IN)).unwrap();
    source = reactor.lease(token).unwrap().remove();
    source.set_nonblocking(true).unwrap();
    reactor.insert(source, Watch::edge(Interest::IN)).unwrap();
}

#[test]
fn what_is_registered_already_is_given_back() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Common> = SharedReactor::new().unwrap();
        let source = Common(Rc::new(ready_std_pair().0));
        source.0.set_nonblocking(true).unwrap();
        let token = reactor.insert(source.clone(), watch(Interest::IN)).unwrap();
        let failed = reactor.insert(source.clone(), watch(Interest::IN)).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::AlreadyExists);
        assert!(Rc::ptr_eq(&failed.source.0, &source.0));
        let watched = reactor.watch(&source, (), Watch::level(Interest::IN));
        assert_kind(watched, ErrorKind::AlreadyExists);
        assert_eq!((reactor.tokens(), reactor.counters().adds), (vec![token], 1));
    }
}

#[test]
fn one_that_is_refused_at_the_end_of_its_first_lease_is_to_be_closed() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Common> = SharedReactor::new().unwrap();
        let source = Common(Rc::new(ready_std_pair().0));
        source.0.set_nonblocking(true).unwrap();
        let first = reactor.insert(source.clone(), watch(Interest::OUT)).unwrap();
        let second = reactor.insert_leased(source, watch(Interest::OUT)).unwrap();
        let token = second.token();
        drop(second);
        assert_eq!((reactor.len(), reactor.counters().adds), (2, 1));
        let mut worker = reactor.worker();
        let mut reported = Vec::new();
        while reported.len() < 2 {
            worker.wait(None).unwrap();
            while let Some(ready) = worker.next_ready() {
                let LeaseReady::Owned(lease) = ready else { continue };
                reported.push((lease.token(), lease.is_unwatched() && lease.close_requested()));
                if lease.is_unwatched() {
                    // The entry of the other one stays.
                    lease.close();
                }
            }
        }
        reported.sort();
        assert_eq!(reported, [(first, false), (token, true)]);
        assert_eq!((reactor.tokens(), reactor.counters().dels), (vec![first], 0));
        assert_eq!(reactor.epoll().interest_list().unwrap().len(), 3);
    }
}

#[test]
fn a_regular_file_is_given_back() {
    let reactor: SharedReactor<File> = SharedReactor::new().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"still open").unwrap();
    let failed = reactor.insert_blocking(file, Watch::oneshot(Interest::IN)).unwrap_err();
    assert_eq!(failed.error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(failed.source.metadata().unwrap().len(), 10);
    let watched = reactor.watch(&failed.source, (), Watch::level(Interest::IN));
    assert_kind(watched, ErrorKind::PermissionDenied);
    assert_eq!((reactor.tokens(), reactor.counters().adds), (vec![], 0));
}

#[test]
fn a_refused_source_leaves_no_report_of_another_behind() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (ours, _theirs) = ready_pair();
    for _ in 0..10 {
        let (level, _keep) = ready_pair();
        reactor.insert(level, Watch::level(Interest::IN)).unwrap_err();
    }
    let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
    assert_eq!(worker.counters().stale, 0);
}

#[test]
fn one_that_gets_no_descriptors_says_so() {
    const NAME: &str = "shared::refusals::one_that_gets_no_descriptors_says_so";
    in_own_process(NAME, || {
        let before = getrlimit(Resource::Nofile);
        let lowest_free = EventFd::new(0).unwrap().as_fd().as_raw_fd();
        let limit = |room: u64| {
            let current = Some(u64::try_from(lowest_free).unwrap() + room);
            setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
        };
        // As documented it takes three.
        for room in [0, 1, 2] {
            limit(room);
            assert_errno(SharedReactor::<Stream>::new().map(drop), Errno::MFILE);
        }
        limit(3);
        SharedReactor::<Stream>::new().unwrap();
        setrlimit(Resource::Nofile, before).unwrap();
    });
}

#[test]
fn a_token_of_a_watched_descriptor_names_no_source() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let (ours, theirs) = ready_pair();
    let watched = reactor.watch(&theirs, (), Watch::level(Interest::IN)).unwrap();
    let token = reactor.insert(ours, Watch::oneshot(Interest::IN)).unwrap();
    assert!(!reactor.contains(watched));
    assert!(reactor.lease(watched).is_none());
    assert!(!reactor.request_close(watched).unwrap());
    assert_kind(reactor.unwatch(token, &theirs), ErrorKind::NotFound);
    let level = Watch::level(Interest::IN);
    assert_kind(reactor.modify_watched(token, &theirs, level), ErrorKind::NotFound);
    assert_eq!((reactor.tokens(), reactor.len()), (vec![token], 1));
}

#[test]
fn a_token_that_is_used_up_names_nothing() {
    let (reactor, token, _theirs) = with_ready(Watch::oneshot(Interest::IN));
    let source = reactor.lease(token).unwrap().remove();
    let successor = reactor.insert(source, Watch::oneshot(Interest::IN)).unwrap();
    assert!(!reactor.contains(token) && reactor.contains(successor));
    assert!(reactor.lease(token).is_none());
    assert!(!reactor.request_close(token).unwrap());
    assert_eq!(look(&mut reactor.worker()), [Told::brought(successor, b"w")]);
}

#[test]
fn a_token_of_another_reactor_names_nothing() {
    let (other, token, _theirs) = with_ready(Watch::oneshot(Interest::IN));
    let (reactor, own, _theirs) = with_ready(Watch::oneshot(Interest::IN));
    let counter = EventFd::new(0).unwrap();
    let foreign = other.watch(&counter, (), Watch::level(Interest::IN)).unwrap();
    let watched = reactor.watch(&counter, (), Watch::level(Interest::IN)).unwrap();
    assert!(reactor.lease(token).is_none() && !reactor.contains(token));
    assert!(!reactor.request_close(token).unwrap() && !reactor.notify(token).unwrap());
    assert!(!reactor.unpark(token) && !reactor.forget(foreign));
    let level = Watch::level(Interest::IN);
    assert_kind(reactor.modify_watched(foreign, &counter, level), ErrorKind::NotFound);
    assert_kind(reactor.park_watched(foreign, &counter), ErrorKind::NotFound);
    assert_kind(reactor.unpark_watched(foreign, &counter), ErrorKind::NotFound);
    assert_kind(reactor.unwatch(foreign, &counter), ErrorKind::NotFound);
    // Nothing has happened to those that have the same slots here.
    assert_eq!(look(&mut reactor.worker()), [Told::brought(own, b"w")]);
    reactor.unwatch(watched, &counter).unwrap();
    assert!(other.contains(token));
}
