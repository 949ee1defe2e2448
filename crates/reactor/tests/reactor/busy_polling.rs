//! Busy polling: what a wait does before it sleeps, for one thread and for those that share.

use crate::support::{assert_sleeps, drain, look, ready_pair, reports, wait};
use epoll_kit_testing::{DEADLINE, before_the_deadline};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Counters, Interest, Reactor, Readiness, Token, Watch};
use std::io::Write;
use std::thread;
use std::time::Duration;

/// Longer than any test, so that a wait that slept, or that saw nothing while it looked, would be found out.
const FOR_EVER: Option<Duration> = Some(Duration::MAX);

/// Short beside how long [`assert_sleeps`] waits.
const SHORT: Option<Duration> = Some(Duration::from_millis(1));

/// Returns a reactor with a source whose peer has sent a byte.
fn with_ready(time: Option<Duration>) -> (Reactor<Stream>, Token, Stream) {
    let mut reactor = Reactor::new().unwrap();
    reactor.set_busy_polling(time);
    let (ours, theirs) = ready_pair();
    let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    (reactor, token, theirs)
}

/// Returns the number of waits that may have slept.
fn sleeps(counters: Counters) -> u64 {
    counters.waits - counters.spins
}

#[test]
fn a_wait_looks_for_a_while_and_then_sleeps() {
    let (mut reactor, _, _theirs) = with_ready(SHORT);
    wait(&mut reactor);
    assert_eq!(reactor.counters().spins, 0, "nothing was there before");
    assert_sleeps(&mut reactor);
    let counters = reactor.counters();
    assert!(counters.spins > 0 && sleeps(counters) >= 2, "{counters:?}");
}

#[test]
fn a_wait_after_one_that_brought_nothing_sleeps_at_once() {
    let (mut reactor, _, _theirs) = with_ready(SHORT);
    wait(&mut reactor);
    assert_sleeps(&mut reactor);
    let before = reactor.counters().spins;
    assert_sleeps(&mut reactor);
    assert_eq!(reactor.counters().spins, before);
}

#[test]
fn one_that_only_looks_does_not_end_what_follows() {
    let (mut reactor, _, _theirs) = with_ready(SHORT);
    wait(&mut reactor);
    for _ in 0..3 {
        assert_eq!(look(&mut reactor), []);
    }
    assert_eq!(reactor.counters().spins, 0);
    assert_sleeps(&mut reactor);
    assert!(reactor.counters().spins > 0);
}

#[test]
fn without_busy_polling_no_wait_looks() {
    for time in [None, Some(Duration::ZERO)] {
        let (mut reactor, _, _theirs) = with_ready(FOR_EVER);
        reactor.set_busy_polling(time);
        wait(&mut reactor);
        assert_sleeps(&mut reactor);
        assert_eq!(reactor.counters().spins, 0);
    }
}

#[test]
fn a_wait_that_only_looks_does_so_once() {
    let (mut reactor, _, _theirs) = with_ready(FOR_EVER);
    wait(&mut reactor);
    let before = reactor.counters();
    assert_eq!(look(&mut reactor), []);
    assert_eq!(reactor.counters(), Counters { waits: before.waits + 1, ..before });
}

#[test]
fn what_comes_while_it_looks_is_reported_without_a_sleep() {
    before_the_deadline(|| {
        let (mut reactor, token, mut theirs) = with_ready(FOR_EVER);
        wait(&mut reactor);
        let before = sleeps(reactor.counters());
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(5));
                theirs.write_all(b"w").unwrap();
                theirs
            });
            reactor.wait(None).unwrap();
        });
        assert_eq!(reports(&mut reactor)[0].0, token);
        let waker = reactor.waker();
        thread::scope(|scope| {
            scope.spawn(move || waker.wake().unwrap());
            reactor.wait(None).unwrap();
        });
        assert!(reactor.next_ready().is_some());
        assert_eq!(sleeps(reactor.counters()), before);
    });
}

#[test]
fn a_source_that_is_revisited_is_not_kept_waiting() {
    before_the_deadline(|| {
        let (mut reactor, token, _theirs) = with_ready(FOR_EVER);
        for _ in 0..3 {
            wait(&mut reactor);
            reactor.revisit(token, Readiness::IN);
        }
        assert_eq!(reactor.counters().spins, 0);
    });
}

#[test]
fn a_turn_with_nothing_but_a_revisit_was_busy() {
    let (mut reactor, token, _theirs) = with_ready(SHORT);
    wait(&mut reactor);
    reactor.revisit(token, Readiness::IN);
    wait(&mut reactor);
    assert_eq!(reactor.counters().spins, 0);
    assert_sleeps(&mut reactor);
    assert!(reactor.counters().spins > 0);
}

#[test]
fn a_new_instance_is_polled_as_the_former_one() {
    let (mut reactor, _, _theirs) = with_ready(SHORT);
    reactor.rebuild().unwrap();
    wait(&mut reactor);
    assert_sleeps(&mut reactor);
    assert!(reactor.counters().spins > 0);
}

/// Takes the reports of a turn, and returns how many sources were among them.
fn take(worker: &mut Worker<'_, Stream>) -> usize {
    let mut count = 0;
    while let Some(ready) = worker.next_ready() {
        if let LeaseReady::Owned(source) = ready {
            drain(&source);
            count += 1;
        }
    }
    count
}

/// Makes a worker wait that polls busily, after a turn with a report, and calls `then` meanwhile.
fn while_a_worker_waits(
    time: Option<Duration>,
    then: impl FnOnce(&SharedReactor<Stream>, Token, &mut Stream) + Send + 'static,
) -> (bool, Counters) {
    before_the_deadline(move || {
        let mut reactor = SharedReactor::new().unwrap();
        reactor.set_busy_polling(time);
        let (ours, mut theirs) = ready_pair();
        let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
        let mut worker = reactor.worker();
        assert!(worker.wait(Some(DEADLINE)).unwrap());
        assert_eq!(take(&mut worker), 1);
        let before = sleeps(worker.counters());
        let goes_on = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(5));
                then(&reactor, token, &mut theirs);
            });
            worker.wait(None).unwrap()
        });
        if goes_on {
            assert!(worker.next_ready().is_some());
        }
        let counters = worker.counters();
        (goes_on, Counters { waits: counters.waits - before, ..counters })
    })
}

#[test]
fn what_comes_while_a_worker_looks_is_reported_without_a_sleep() {
    let (goes_on, counters) =
        while_a_worker_waits(FOR_EVER, |_, _, theirs| theirs.write_all(b"w").unwrap());
    assert!(goes_on && counters.spins > 0 && sleeps(counters) == 0, "{counters:?}");
    let (goes_on, counters) =
        while_a_worker_waits(FOR_EVER, |reactor, _, _| reactor.waker().wake().unwrap());
    assert!(goes_on && counters.spins > 0 && sleeps(counters) == 0, "{counters:?}");
    let (goes_on, counters) =
        while_a_worker_waits(FOR_EVER, |reactor, token, _| assert!(reactor.notify(token).is_ok()));
    assert!(goes_on && counters.spins > 0 && sleeps(counters) == 0, "{counters:?}");
}

#[test]
fn a_stop_ends_a_worker_that_looks() {
    let (goes_on, counters) =
        while_a_worker_waits(FOR_EVER, |reactor, _, _| reactor.stop().unwrap());
    assert!(!goes_on && sleeps(counters) == 0, "{counters:?}");
}

#[test]
fn without_busy_polling_no_worker_looks() {
    for time in [None, Some(Duration::ZERO)] {
        let (_, counters) =
            while_a_worker_waits(time, |_, _, theirs| theirs.write_all(b"w").unwrap());
        assert_eq!((counters.spins, sleeps(counters)), (0, 1));
    }
}

#[test]
fn a_worker_looks_for_a_while_after_a_turn_with_reports_and_then_sleeps() {
    let mut reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    reactor.set_busy_polling(SHORT);
    let mut worker = reactor.worker();
    let nap = |worker: &mut Worker<'_, Stream>| {
        let before = worker.counters();
        assert!(worker.wait(Some(Duration::from_millis(20))).unwrap());
        let after = worker.counters();
        (after.spins - before.spins, sleeps(after) - sleeps(before))
    };
    let (spins, slept) = nap(&mut worker);
    assert!(spins == 0 && slept > 0, "nothing was there before");
    reactor.waker().wake().unwrap();
    assert!(worker.wait(Some(DEADLINE)).unwrap());
    take(&mut worker);
    // What only looks does not end it.
    assert!(worker.wait(Some(Duration::ZERO)).unwrap());
    let (spins, slept) = nap(&mut worker);
    assert!(spins > 0 && slept > 0);
    let (spins, slept) = nap(&mut worker);
    assert!(spins == 0 && slept > 0, "the last one brought nothing");
}
