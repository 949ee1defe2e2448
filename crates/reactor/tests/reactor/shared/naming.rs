//! Sources by name: leased for something else than their readiness, found, counted, removed, closed.

use crate::shared::{TRIGGERS, Told, assert_sleeps, drain, look, next, with_ready, with_silent};
use crate::support::ready_std_pair;
use epoll_kit_testing::{close, while_no_process_starts};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Interest, Readiness, Registration, Token, Watch};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

#[test]
fn a_source_is_leased_by_name_once_at_a_time() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        let lease = reactor.lease(token).unwrap();
        assert_eq!((lease.token(), lease.readiness()), (token, Readiness::empty()));
        assert!(!lease.close_requested());
        assert!(reactor.lease(token).is_none(), "it is in somebody's hands");
        assert!(reactor.contains(token));
        drop(lease);
        drop(reactor.lease(token).unwrap());
        // It came and went without a word to the kernel or to a worker.
        assert_sleeps(&mut worker);
        assert_eq!((reactor.counters().mods, reactor.counters().events), (0, 0));
    }
}

#[test]
fn what_a_worker_holds_cannot_be_leased_by_name() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        let lease = next(&mut worker).unwrap();
        assert!(reactor.lease(token).is_none());
        assert!(reactor.contains(token) && reactor.tokens() == [token]);
        drop(lease);
        assert!(reactor.lease(token).is_some());
    }
}

#[test]
fn what_is_reported_during_a_lease_by_name_comes_after_it() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        for _ in 0..3 {
            let lease = reactor.lease(token).unwrap();
            theirs.write_all(b"word").unwrap();
            assert_eq!(look(&mut worker), []);
            drop(lease);
            assert_eq!(look(&mut worker), [Told::brought(token, b"word")]);
            assert_sleeps(&mut worker);
        }
        let mods = if watch(Interest::IN).is_oneshot() { 3 } else { 0 };
        assert_eq!(reactor.counters().mods, mods);
    }
}

#[test]
fn what_was_reported_and_read_during_a_lease_by_name_is_a_report_of_nothing() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        let lease = reactor.lease(token).unwrap();
        theirs.write_all(b"word").unwrap();
        assert_eq!(look(&mut worker), []);
        assert_eq!(drain(&lease), b"word");
        drop(lease);
        assert_eq!(look(&mut worker), [Told::brought(token, b"")]);
        // One-shot or not, it is watched as before.
        theirs.write_all(b"next").unwrap();
        assert_eq!(look(&mut worker), [Told::brought(token, b"next")]);
    }
}

#[test]
fn a_report_that_a_worker_has_fetched_waits_for_a_lease_by_name() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        let lease = reactor.lease(token).unwrap();
        assert!(next(&mut worker).is_none());
        drop(lease);
        assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
        assert_sleeps(&mut worker);
    }
}

#[test]
fn removing_gives_the_source_back_and_ends_its_reports() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        let source = next(&mut worker).unwrap().remove();
        assert!(reactor.lease(token).is_none() && !reactor.contains(token));
        assert_eq!((reactor.len(), reactor.tokens()), (0, vec![]));
        theirs.write_all(b"more").unwrap();
        assert_sleeps(&mut worker);
        assert_eq!(reactor.counters().dels, 1);
        // The two of the reactor itself are what the kernel watches.
        assert_eq!(reactor.epoll().interest_list().unwrap().len(), 2);
        assert_eq!(drain(&source), b"wmore");

        let again = reactor.insert(source, watch(Interest::IN)).unwrap();
        assert_ne!(again, token);
        let source = reactor.lease(again).unwrap().remove();
        assert_eq!(drain(&source), b"");
    }
}

#[test]
fn closing_deletes_an_unshared_source_too_as_other_threads_may_be_looking_at_it() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_ready(watch(Interest::IN));
        {
            let _guard = while_no_process_starts();
            reactor.lease(token).unwrap().close();
            assert_eq!(reactor.epoll().interest_list().unwrap().len(), 2);
        }
        assert_eq!(reactor.counters().dels, 1);
        assert!(!reactor.contains(token) && reactor.is_empty());
        // The peer hears of it: what was not read is a reset.
        assert!(!matches!(theirs.read(&mut [0]), Ok(1)));
        assert_sleeps(&mut reactor.worker());
    }
}

#[test]
fn closing_a_source_that_may_be_shared_deletes_it_first() {
    let reactor: SharedReactor<UnixStream> = SharedReactor::new().unwrap();
    let (ours, mut theirs) = ready_std_pair();
    let clone = ours.try_clone().unwrap();
    ours.set_nonblocking(true).unwrap();
    let token = reactor.insert(ours, Watch::oneshot(Interest::IN)).unwrap();
    reactor.lease(token).unwrap().close();
    assert_eq!(reactor.counters().dels, 1);
    assert_eq!(reactor.epoll().interest_list().unwrap().len(), 2);
    theirs.write_all(b"x").unwrap();
    let mut worker = reactor.worker();
    assert!(worker.wait(Some(std::time::Duration::ZERO)).unwrap());
    assert!(next(&mut worker).is_none());
    assert_eq!((worker.counters().events, worker.counters().stale), (0, 0));
    close(clone);
}

#[test]
fn tokens_and_len_are_of_the_sources_that_there_are() {
    // More than the first chunk of slots holds, and than the second.
    const SOURCES: usize = 300;
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    assert!(reactor.is_empty() && reactor.tokens().is_empty());
    let (ours, _theirs): (Vec<_>, Vec<_>) = (0..SOURCES).map(|_| Stream::pair().unwrap()).unzip();
    let insert = |ours| reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    let mut tokens: Vec<Token> = ours.into_iter().map(insert).collect();
    tokens.sort();
    let listed = || {
        let mut tokens = reactor.tokens();
        tokens.sort();
        let slots = 0..reactor.slots();
        let mut by_slot: Vec<_> = slots.filter_map(|slot| reactor.token_at(slot)).collect();
        by_slot.sort();
        assert_eq!(by_slot, tokens);
        tokens
    };
    assert_eq!((reactor.len(), listed()), (SOURCES, tokens.clone()));
    for &token in tokens.iter().step_by(3) {
        reactor.lease(token).unwrap().close();
    }
    let mut index = 0..;
    tokens.retain(|_| index.next().is_none_or(|index: usize| index % 3 != 0));
    assert_eq!((reactor.len(), listed()), (tokens.len(), tokens.clone()));
    assert!(tokens.iter().all(|&token| reactor.contains(token)));
    assert!(format!("{reactor:?}").contains("sources: 200"));
    assert_eq!((reactor.slots(), reactor.token_at(SOURCES)), (SOURCES, None));
    assert_eq!(reactor.token_at(usize::MAX), None);
}

#[test]
fn its_sources_are_dropped_with_it() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let (ours, mut theirs) = Stream::pair().unwrap();
    reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    close(reactor);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
}
