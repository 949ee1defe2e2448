//! Waking a reactor from other threads: no wake is lost, none is told twice, and none costs a turn
//! more than it has to.

use crate::support::ready_pair;
use epoll_kit_testing::{DEADLINE, before_the_deadline, eventually, sleeps_in_a_wait};
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Ready, Waker, Watch};
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Returns the number of wakes in a turn with timeout zero. Other reports must not come.
#[track_caller]
fn wakes(reactor: &mut Reactor<Stream>) -> usize {
    reactor.wait(Some(Duration::ZERO)).unwrap();
    left_wakes(reactor)
}

/// Returns the number of wakes that are left in this turn.
#[track_caller]
fn left_wakes(reactor: &mut Reactor<Stream>) -> usize {
    let mut count = 0;
    while let Some(ready) = reactor.next_ready() {
        assert!(matches!(ready, Ready::Woken), "{ready:?}");
        count += 1;
    }
    count
}

/// A reactor in a thread of its own that is asleep in a wait without end; the receiver gets how
/// many wakes ended it.
fn asleep() -> (Waker, mpsc::Receiver<usize>) {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let waker = reactor.waker();
    let (send_id, id) = mpsc::channel();
    let (send, woken) = mpsc::channel();
    thread::spawn(move || {
        send_id.send(rustix::thread::gettid()).unwrap();
        reactor.wait(None).unwrap();
        send.send(left_wakes(&mut reactor)).unwrap();
    });
    let tid = id.recv_timeout(DEADLINE).unwrap().as_raw_nonzero().get();
    eventually("the thread sleeps", || sleeps_in_a_wait(process::id(), tid));
    (waker, woken)
}

#[test]
fn a_wake_from_another_thread_ends_a_wait() {
    let (waker, woken) = asleep();
    assert!(woken.try_recv().is_err());
    waker.wake().unwrap();
    assert_eq!(woken.recv_timeout(DEADLINE).unwrap(), 1);
}

#[test]
fn a_wake_before_the_wait_ends_it() {
    let woken = before_the_deadline(|| {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        reactor.waker().wake().unwrap();
        reactor.wait(None).unwrap();
        left_wakes(&mut reactor)
    });
    assert_eq!(woken, 1);
}

#[test]
fn a_thousand_wakes_are_one() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (waker, clone) = (reactor.waker(), reactor.waker().clone());
    for _ in 0..500 {
        waker.wake().unwrap();
        clone.wake().unwrap();
    }
    assert_eq!(wakes(&mut reactor), 1);
    assert_eq!(wakes(&mut reactor), 0);
    assert_eq!((reactor.counters().wakes, reactor.counters().events), (1, 1));
}

#[test]
fn a_wake_before_the_report_belongs_to_it() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let waker = reactor.waker();
    waker.wake().unwrap();
    reactor.wait(None).unwrap();
    waker.wake().unwrap();
    assert_eq!(left_wakes(&mut reactor), 1);
    assert_eq!(wakes(&mut reactor), 0);
}

#[test]
fn a_wake_after_the_report_is_told_in_the_next_turn() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let waker = reactor.waker();
    waker.wake().unwrap();
    for turns in 1..=100 {
        reactor.wait(Some(Duration::ZERO)).unwrap();
        assert!(matches!(reactor.next_ready(), Some(Ready::Woken)), "lost after {turns} turns");
        // While the report is handled: what it announces may have been missed by its handler.
        waker.wake().unwrap();
        assert!(reactor.next_ready().is_none());
        assert_eq!(reactor.counters().wakes, turns);
    }
}

#[test]
fn a_message_that_is_followed_by_a_wake_is_always_seen() {
    const THREADS: usize = 4;
    const MESSAGES: usize = 10_000;
    let counts = before_the_deadline(|| {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let (send, messages) = mpsc::channel();
        for thread in 0..THREADS {
            let (send, waker) = (send.clone(), reactor.waker());
            thread::spawn(move || {
                for message in 0..MESSAGES {
                    send.send((thread, message)).unwrap();
                    waker.wake().unwrap();
                }
            });
        }
        let mut counts = [0; THREADS];
        while counts != [MESSAGES; THREADS] {
            reactor.wait(None).unwrap();
            while let Some(ready) = reactor.next_ready() {
                assert!(matches!(ready, Ready::Woken));
                for (thread, message) in messages.try_iter() {
                    assert_eq!(message, counts[thread]);
                    counts[thread] += 1;
                }
            }
        }
        counts
    });
    assert_eq!(counts, [MESSAGES; THREADS]);
}

#[test]
fn a_waker_that_outlives_its_reactor_does_nothing() {
    let reactor: Reactor<Stream> = Reactor::new().unwrap();
    let waker = reactor.waker();
    waker.wake().unwrap();
    drop(reactor);
    for _ in 0..3 {
        waker.wake().unwrap();
        waker.clone().wake().unwrap();
    }
}

#[test]
fn nothing_spins_after_a_wake() {
    const NAP: Duration = Duration::from_millis(20);
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let waker = reactor.waker();
    for _ in 0..3 {
        waker.wake().unwrap();
        assert_eq!(wakes(&mut reactor), 1);
        let waits = reactor.counters().waits;
        for turns in 1..=10 {
            assert_eq!(wakes(&mut reactor), 0);
            assert_eq!(reactor.counters().waits, waits + turns);
        }
        let start = Instant::now();
        reactor.wait(Some(NAP)).unwrap();
        assert!(reactor.next_ready().is_none());
        assert!(start.elapsed() >= NAP, "the wait did not sleep");
    }
}

#[test]
fn a_wake_takes_nothing_from_the_other_reports_of_its_turn() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    reactor.waker().wake().unwrap();
    reactor.wait(None).unwrap();
    let (mut woken, mut owned) = (0, Vec::new());
    while let Some(ready) = reactor.next_ready() {
        match ready {
            Ready::Woken => woken += 1,
            Ready::Owned { token, .. } => owned.push(token),
            Ready::Watched { .. } => panic!("{ready:?}"),
        }
    }
    assert_eq!((woken, owned), (1, vec![token]));
}

#[test]
fn a_waker_wakes_its_own_reactor_only() {
    let mut reactors = [(); 2].map(|()| Reactor::<Stream>::new().unwrap());
    reactors[1].waker().wake().unwrap();
    assert_eq!(wakes(&mut reactors[0]), 0);
    assert_eq!(wakes(&mut reactors[1]), 1);
}

#[test]
fn a_wake_is_no_source_that_could_be_revisited() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    reactor.waker().wake().unwrap();
    reactor.wait(None).unwrap();
    assert!(matches!(reactor.next_ready(), Some(Ready::Woken)));
    let token = reactor.last_reported().unwrap();
    assert!(!reactor.revisit(token, epoll_reactor::Readiness::IN));
    reactor.wait(Some(Duration::ZERO)).unwrap();
    assert!(reactor.next_ready().is_none());
    assert_eq!(reactor.counters().wakes, 1);
}
