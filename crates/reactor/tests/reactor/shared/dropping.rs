//! Workers that end with something undone: another one gets it.

use crate::shared::{
    TRIGGERS, Told, Trigger, asleep, assert_sleeps, look, next, rest, wait, with_ready,
};
use crate::support::ready_pair;
use epoll_kit_testing::{DEADLINE, before_the_deadline};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Interest, Readiness, Registration, Token, Watch};
use std::thread;
use std::time::Duration;

/// Returns the reports of the next turns, in the order of the sources.
#[track_caller]
fn told_of(reactor: &SharedReactor<Stream>, count: usize) -> Vec<Told> {
    let mut worker = reactor.worker();
    let mut told = wait(&mut worker);
    while told.len() < count {
        told.extend(wait(&mut worker));
    }
    assert_sleeps(&mut worker);
    told.sort_by_key(|told| told.token);
    told
}

#[test]
fn what_it_had_fetched_goes_to_another() {
    for watch in TRIGGERS {
        for handled in 0..=3 {
            let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
            let pairs = [(); 4].map(|()| ready_pair());
            let (ours, _theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let insert = |ours| reactor.insert(ours, watch(Interest::IN)).unwrap();
            let mut left: Vec<Token> = ours.into_iter().map(insert).collect();
            let mut worker = reactor.worker();
            assert!(worker.wait(None).unwrap());
            for _ in 0..handled {
                let token = super::read(next(&mut worker).unwrap()).token;
                left.retain(|&other| other != token);
            }
            assert_eq!(worker.counters().events, 4);
            drop(worker);
            left.sort();
            let expected: Vec<Told> =
                left.iter().map(|&token| Told::brought(token, b"w")).collect();
            assert_eq!(told_of(&reactor, left.len()), expected);
            // What it did is counted when it is gone.
            assert!(reactor.counters().events >= 4);
        }
    }
}

/// A worker fetches a report, does `before` and ends: another one, which sleeps, is told.
#[track_caller]
fn wakes_one_that_sleeps(before: fn(&mut Worker<'_, Stream>)) {
    for watch in TRIGGERS {
        let told = before_the_deadline(move || {
            let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
            let mut ending = reactor.worker();
            ending.wait(None).unwrap();
            thread::scope(|threads| {
                let running = asleep(threads, 1, || wait(&mut reactor.worker()));
                before(&mut ending);
                drop(ending);
                let mut told = running.into_iter().flat_map(|thread| thread.join().unwrap());
                told.next() == Some(Told::brought(token, b"w"))
            })
        });
        assert!(told);
    }
}

#[test]
fn what_it_had_fetched_wakes_one_that_sleeps() {
    wakes_one_that_sleeps(|_| ());
}

#[test]
fn what_had_gone_meanwhile_is_stale() {
    let (reactor, token, _theirs) = with_ready(Watch::edge(Interest::IN));
    let mut ending = reactor.worker();
    ending.wait(None).unwrap();
    reactor.lease(token).unwrap().close();
    drop(ending);
    assert_eq!(reactor.counters().stale, 1);
    assert_sleeps(&mut reactor.worker());
}

#[test]
fn what_was_leased_meanwhile_comes_after_the_lease() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut ending = reactor.worker();
        ending.wait(None).unwrap();
        let lease = reactor.lease(token).unwrap();
        drop(ending);
        let mut worker = reactor.worker();
        assert_eq!(look(&mut worker), []);
        drop(lease);
        assert_eq!(wait(&mut worker), [Told::brought(token, b"w")]);
    }
}

#[test]
fn a_source_that_it_was_to_be_handed_again_goes_to_another() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut ending = reactor.worker();
        ending.wait(None).unwrap();
        next(&mut ending).unwrap().revisit(Readiness::IN);
        // In the middle of the turn that was to bring it.
        assert!(ending.wait(None).unwrap());
        drop(ending);
        assert_eq!(told_of(&reactor, 1), [Told::brought(token, b"w")]);
    }
}

#[test]
fn a_source_that_it_was_to_be_handed_again_wakes_one_that_sleeps() {
    wakes_one_that_sleeps(|ending| next(ending).unwrap().revisit(Readiness::IN));
}

#[test]
fn a_wake_that_it_had_fetched_goes_to_another() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let mut ending = reactor.worker();
    reactor.waker().wake().unwrap();
    assert!(ending.wait(Some(DEADLINE)).unwrap());
    drop(ending);
    let mut worker = reactor.worker();
    assert!(worker.wait(Some(DEADLINE)).unwrap());
    assert!(matches!(worker.next_ready(), Some(LeaseReady::Woken)));
    assert!(worker.next_ready().is_none());
    assert_sleeps(&mut worker);
    // And the next wake is not taken for one that is on its way.
    reactor.waker().wake().unwrap();
    assert!(worker.wait(Some(DEADLINE)).unwrap());
    assert!(matches!(worker.next_ready(), Some(LeaseReady::Woken)));
}

#[test]
fn a_report_of_a_watched_descriptor_goes_to_another() {
    for watch in TRIGGERS.into_iter().chain([Watch::level as Trigger]) {
        let reactor: SharedReactor<Stream, char> = SharedReactor::new().unwrap();
        let (elsewhere, _theirs) = ready_pair();
        let token = reactor.watch(&elsewhere, 'w', watch(Interest::IN)).unwrap();
        let mut ending = reactor.worker();
        assert!(ending.wait(Some(DEADLINE)).unwrap());
        assert_eq!(ending.counters().events, 1);
        drop(ending);
        let mut worker = reactor.worker();
        let mut told = 0;
        for _ in 0..2 {
            assert!(worker.wait(Some(Duration::ZERO)).unwrap());
            while let Some(ready) = worker.next_ready() {
                match ready {
                    LeaseReady::Watched { token: told_of, tag: 'w', readiness } => {
                        assert_eq!((told_of, readiness), (token, Readiness::IN));
                        told += 1;
                    }
                    LeaseReady::Woken => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        // With a level trigger the kernel repeats what the worker has left.
        let is_level = watch(Interest::IN) == Watch::level(Interest::IN);
        assert!(told == 1 || (is_level && told > 1), "told {told} times");
    }
}

#[test]
fn a_report_of_what_is_not_watched_any_more_is_stale() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let (elsewhere, _theirs) = ready_pair();
    let token = reactor.watch(&elsewhere, (), Watch::edge(Interest::IN)).unwrap();
    let mut ending = reactor.worker();
    assert!(ending.wait(Some(DEADLINE)).unwrap());
    drop(ending);
    reactor.unwatch(token, &elsewhere).unwrap();
    let (ours, _their_ours) = ready_pair();
    let owned = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    // It keeps nothing from what comes after it.
    let mut worker = reactor.worker();
    reactor.request_close(owned).unwrap();
    let expected = Told { close_requested: true, ..Told::brought(owned, b"w") };
    assert_eq!(wait(&mut worker), [expected]);
    assert_eq!(reactor.counters().stale, 1);
}

#[test]
fn the_stop_that_it_had_fetched_is_not_stale() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let mut ending = reactor.worker();
    reactor.stop().unwrap();
    assert!(!ending.wait(None).unwrap());
    drop(ending);
    assert_eq!(reactor.counters().stale, 0);
}

#[test]
fn one_with_nothing_undone_wakes_nobody() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    reactor.insert(ours, Watch::oneshot(Interest::IN)).unwrap();
    let mut worker = reactor.worker();
    for _ in 0..10 {
        drop(reactor.worker());
        let mut ending = reactor.worker();
        assert!(ending.wait(Some(Duration::ZERO)).unwrap());
        rest(&mut ending);
        drop(ending);
    }
    assert_sleeps(&mut worker);
    assert_eq!(reactor.counters().wakes, 0);
}
