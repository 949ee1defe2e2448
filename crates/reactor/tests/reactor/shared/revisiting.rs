//! Sources that give way and are handed out again: soon, after the others, and no oftener than asked for.

use crate::shared::{
    TRIGGERS, Told, assert_sleeps, beside_workers, drain, look, next, rest, wait, with_ready,
    with_silent,
};
use crate::support::ready_pair;
use epoll_kit_testing::{DEADLINE, before_the_deadline, eventually};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, SharedReactor};
use epoll_reactor::{Interest, Readiness, Registration, Token, Watch};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

#[test]
fn what_was_left_behind_is_read_by_revisits_without_sleep() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        let sent: Vec<u8> = (0..200).collect();
        theirs.write_all(&sent).unwrap();
        let mut received = Vec::new();
        while received.len() < sent.len() {
            // A wait without end: it must not sleep.
            assert!(worker.wait(None).unwrap());
            let mut lease = next(&mut worker).unwrap();
            assert_eq!((lease.token(), lease.readiness()), (token, Readiness::IN));
            let mut byte = [0];
            lease.read_exact(&mut byte).unwrap();
            received.extend(byte);
            if received.len() < sent.len() {
                lease.revisit(Readiness::IN);
            }
            drop(lease);
            assert!(next(&mut worker).is_none());
        }
        assert_eq!(received, sent);
        let counters = reactor.counters();
        assert_eq!((counters.waits, counters.events, counters.revisits), (200, 1, 199));
        // One-shot is armed once, when the revisits are over.
        assert_eq!(counters.mods, u64::from(watch(Interest::IN).is_oneshot()));
        assert_sleeps(&mut worker);
    }
}

#[test]
fn a_source_that_is_to_be_revisited_is_nobodys() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        next(&mut worker).unwrap().revisit(Readiness::IN);
        assert!(reactor.lease(token).is_none());
        assert!(reactor.contains(token) && reactor.len() == 1);
        assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
        assert!(reactor.lease(token).is_some());
    }
}

#[test]
fn the_batch_comes_first_and_then_the_revisits_in_the_order_asked_for() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (silent, _keep): (Vec<_>, Vec<_>) = (0..3).map(|_| Stream::pair().unwrap()).unzip();
    let insert = |ours| reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    let silent: Vec<Token> = silent.into_iter().map(insert).collect();
    let (ours, _theirs) = ready_pair();
    let ready = insert(ours);
    for index in [2, 0, 1] {
        reactor.lease(silent[index]).unwrap().revisit(Readiness::IN);
    }
    let tokens: Vec<Token> = look(&mut worker).iter().map(|told| told.token).collect();
    assert_eq!(tokens, [ready, silent[2], silent[0], silent[1]]);
    assert_sleeps(&mut worker);
}

#[test]
fn what_comes_until_the_revisit_is_told_with_it() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        for _ in 0..10 {
            reactor.lease(token).unwrap().revisit(Readiness::OUT);
            theirs.write_all(b"w").unwrap();
            let both = Readiness::IN | Readiness::OUT;
            assert_eq!(wait(&mut worker), [Told { readiness: both, ..Told::brought(token, b"w") }]);
            assert_sleeps(&mut worker);
        }
    }
}

#[test]
fn asking_twice_is_asking_once() {
    let (reactor, token, _theirs) = with_ready(Watch::edge(Interest::IN));
    let mut worker = reactor.worker();
    worker.wait(None).unwrap();
    let mut lease = next(&mut worker).unwrap();
    for readiness in [Readiness::IN, Readiness::empty(), Readiness::IN, Readiness::PRI] {
        lease.revisit(readiness);
    }
    drop(lease);
    let told = look(&mut worker);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].token, told[0].readiness), (token, Readiness::IN | Readiness::PRI));
    assert_sleeps(&mut worker);
}

#[test]
fn nothing_comes_of_a_revisit_for_nothing() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        let mut lease = next(&mut worker).unwrap();
        drain(&lease);
        lease.revisit(Readiness::empty());
        drop(lease);
        assert_sleeps(&mut worker);
        assert!(reactor.lease(token).is_some());
    }
}

#[test]
fn a_new_interest_holds_when_the_revisits_are_over() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        let mut lease = next(&mut worker).unwrap();
        lease.set_interest(Interest::OUT).unwrap();
        lease.revisit(Readiness::IN);
        drop(lease);
        let told = wait(&mut worker);
        assert_eq!((told[0].token, told[0].bytes.as_slice()), (token, b"w".as_slice()));
        // It can be written to, as the kernel says by then or has said already.
        if !told[0].readiness.contains(Readiness::OUT) {
            assert_eq!(look(&mut worker)[0].readiness, Readiness::OUT);
        }
    }
}

#[test]
fn the_worker_whose_wait_ends_for_a_revisit_has_it() {
    for watch in TRIGGERS {
        for takes_first in [false, true] {
            let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
            let [mut one, mut other] = [reactor.worker(), reactor.worker()];
            one.wait(None).unwrap();
            next(&mut one).unwrap().revisit(Readiness::IN);
            if takes_first {
                assert!(one.wait(None).unwrap());
                assert_sleeps(&mut other);
                assert_eq!(rest(&mut one), [Told::brought(token, b"w")]);
            } else {
                assert_eq!(look(&mut other), [Told::brought(token, b"w")]);
            }
            assert_sleeps(&mut one);
        }
    }
}

#[test]
fn a_revisit_by_name_wakes_a_thread_that_sleeps() {
    for watch in TRIGGERS {
        let told = before_the_deadline(move || {
            let (reactor, token, _theirs) = with_ready(watch(Interest::empty()));
            thread::scope(|threads| {
                let running = super::asleep(threads, 1, || {
                    let mut worker = reactor.worker();
                    wait(&mut worker)
                });
                reactor.lease(token).unwrap().revisit(Readiness::IN);
                let mut told = running.into_iter().flat_map(|thread| thread.join().unwrap());
                told.next() == Some(Told::brought(token, b"w"))
            })
        });
        assert!(told);
    }
}

/// The most that a flood may send, so that a test which fails comes to an end.
const FLOOD_MAX: usize = 256 << 20;

/// A source that always has something to read keeps neither worker from its neighbour.
#[test]
fn a_flood_that_never_ends_does_not_keep_its_neighbours_waiting() {
    const ROUNDS: usize = 100;
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let (flooded, mut flooding) = UnixStream::pair().unwrap();
        flooding.set_write_timeout(Some(DEADLINE)).unwrap();
        let flood = reactor.insert(flooded.try_into().unwrap(), watch(Interest::IN)).unwrap();
        let is_over = AtomicBool::new(false);
        let read = AtomicUsize::new(0);
        let serve = |mut lease: Lease<'_, Stream>| {
            let mut buffer = [0; 512];
            if lease.token() == flood {
                match lease.read(&mut buffer) {
                    Ok(0) => return lease.close(),
                    Ok(len) => drop(read.fetch_add(len, Ordering::Relaxed)),
                    Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                return lease.revisit(Readiness::IN);
            }
            let words = drain(&lease);
            lease.write_all(&words).unwrap();
        };
        beside_workers(&reactor, 2, serve, || {
            thread::scope(|threads| {
                threads.spawn(|| {
                    let mut written = 0;
                    while written < FLOOD_MAX && !is_over.load(Ordering::Relaxed) {
                        written += flooding.write(&[0; 16 << 10]).unwrap();
                    }
                    drop(flooding);
                });
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                theirs.set_read_timeout(Some(DEADLINE)).unwrap();
                reactor.insert(ours.try_into().unwrap(), watch(Interest::IN)).unwrap();
                eventually("the flood has come", || read.load(Ordering::Relaxed) > 0);
                for round in 0..ROUNDS {
                    theirs.write_all(b"word").unwrap();
                    let mut echo = [0; 4];
                    let echoed = theirs.read_exact(&mut echo);
                    is_over.fetch_or(echoed.is_err() || round + 1 == ROUNDS, Ordering::Relaxed);
                    echoed.unwrap();
                    assert_eq!(&echo, b"word");
                }
            });
        });
    }
}
