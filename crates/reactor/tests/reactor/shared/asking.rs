//! Asking for the close: somebody is told, whoever has the source by then, and told once.

use crate::shared::{StopAtTheEnd, beside_workers, with_ready, with_silent};
use crate::shared::{TRIGGERS, Told, asleep, assert_sleeps, drain, look, next, wait};
use crate::support::ready_pair;
use epoll_kit_testing::eventually;
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Interest, Readiness, Registration, Token, Watch};
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn one_that_is_idle_is_handed_out_to_be_closed() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        assert!(reactor.request_close(token).unwrap());
        assert!(reactor.lease(token).is_none(), "it waits for a worker");
        assert_eq!(wait(&mut worker), [Told::to_close(token)]);
        // Once: who does not close it is not told again.
        assert_sleeps(&mut worker);
        assert!(reactor.contains(token));
    }
}

#[test]
fn one_that_a_worker_holds_is_told_of_after_the_lease() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let [mut holder, mut other] = [reactor.worker(), reactor.worker()];
        holder.wait(None).unwrap();
        let lease = next(&mut holder).unwrap();
        assert!(reactor.request_close(token).unwrap());
        assert!(!lease.close_requested());
        assert_eq!(look(&mut other), []);
        drain(&lease);
        drop(lease);
        assert_eq!(look(&mut holder), [Told::to_close(token)]);
        assert_sleeps(&mut other);
    }
}

#[test]
fn one_that_is_held_by_name_is_told_of_after_the_lease() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        let lease = reactor.lease(token).unwrap();
        assert!(reactor.request_close(token).unwrap());
        assert_eq!(look(&mut worker), []);
        drop(lease);
        assert_eq!(wait(&mut worker), [Told::to_close(token)]);
        assert_sleeps(&mut worker);
    }
}

#[test]
fn one_that_is_gone_is_told_of_to_nobody() {
    let (reactor, token, _theirs) = with_silent(Watch::edge(Interest::IN));
    let mut worker = reactor.worker();
    let lease = reactor.lease(token).unwrap();
    assert!(reactor.request_close(token).unwrap());
    // The question goes with the source, and does not reach its successor.
    let source = lease.remove();
    assert!(!reactor.request_close(token).unwrap());
    let successor = reactor.insert(source, Watch::edge(Interest::IN)).unwrap();
    assert!(!reactor.request_close(token).unwrap());
    assert_sleeps(&mut worker);
    assert!(reactor.contains(successor));
}

#[test]
fn asking_often_before_it_is_told_is_asking_once() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        for _ in 0..5 {
            assert!(reactor.request_close(token).unwrap());
        }
        assert_eq!(wait(&mut worker), [Told::to_close(token)]);
        assert_sleeps(&mut worker);
    }
}

#[test]
fn the_question_and_what_was_reported_come_together() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        let lease = reactor.lease(token).unwrap();
        theirs.write_all(b"last").unwrap();
        assert_eq!(look(&mut worker), []);
        assert!(reactor.request_close(token).unwrap());
        drop(lease);
        let both = Told { close_requested: true, ..Told::brought(token, b"last") };
        assert_eq!(wait(&mut worker), [both]);
        assert_sleeps(&mut worker);
    }
}

/// A source that is never dry is revisited for ever, and must hear of it all the same.
#[test]
fn one_that_is_always_revisited_is_told() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        next(&mut worker).unwrap().revisit(Readiness::IN);
        assert!(reactor.request_close(token).unwrap());
        worker.wait(None).unwrap();
        let mut lease = next(&mut worker).unwrap();
        assert!(lease.close_requested());
        assert_eq!(lease.readiness(), Readiness::IN);
        lease.revisit(Readiness::IN);
        drop(lease);
        worker.wait(None).unwrap();
        assert!(!next(&mut worker).unwrap().close_requested(), "it was told");
    }
}

#[test]
fn one_of_the_threads_that_sleep_is_told() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_silent(watch(Interest::IN));
        let told = AtomicUsize::new(0);
        let work = || {
            let mut worker = reactor.worker();
            while worker.wait(None).unwrap() {
                while let Some(ready) = worker.next_ready() {
                    if let LeaseReady::Owned(lease) = ready {
                        assert!(lease.close_requested());
                        told.fetch_add(1, Ordering::Relaxed);
                        lease.close();
                    }
                }
            }
        };
        thread::scope(|threads| {
            let _stop = StopAtTheEnd(&reactor);
            asleep(threads, 3, work);
            assert!(reactor.request_close(token).unwrap());
            eventually("the source is closed", || reactor.is_empty());
        });
        assert_eq!(told.into_inner(), 1);
    }
}

#[test]
fn a_hundred_that_are_asked_from_several_threads_are_all_closed() {
    const SOURCES: usize = 100;
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..SOURCES).map(|_| ready_pair()).unzip();
        let insert = |ours| reactor.insert(ours, watch(Interest::IN)).unwrap();
        let tokens: Vec<Token> = ours.into_iter().map(insert).collect();
        let closed = AtomicUsize::new(0);
        let serve = |lease: Lease<'_, Stream>| {
            drain(&lease);
            if lease.close_requested() {
                closed.fetch_add(1, Ordering::Relaxed);
                lease.close();
            }
        };
        beside_workers(&reactor, 3, serve, || {
            thread::scope(|threads| {
                for _ in 0..2 {
                    threads.spawn(|| {
                        for (&token, mut peer) in tokens.iter().zip(&theirs) {
                            reactor.request_close(token).unwrap();
                            // It may be closed by now.
                            let _: io::Result<usize> = peer.write(b"more");
                        }
                    });
                }
            });
            eventually("all are closed", || reactor.is_empty());
        });
        assert_eq!(closed.into_inner(), SOURCES);
        assert_eq!(reactor.tokens(), []);
    }
}

#[test]
fn a_holder_is_notified_once_and_of_nothing_else() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        let notified = |worker: &mut Worker<'_, Stream>| {
            assert!(worker.wait(Some(Duration::ZERO)).unwrap());
            let mut told = Vec::new();
            while let Some(ready) = worker.next_ready() {
                if let LeaseReady::Owned(lease) = ready {
                    told.push((lease.is_notified(), lease.close_requested(), lease.readiness()));
                }
            }
            told
        };
        let expected = [(true, false, Readiness::empty())];
        assert!(reactor.notify(token).unwrap());
        assert_eq!(notified(&mut worker), expected);
        assert_eq!(notified(&mut worker), []);
        // While a thread holds it, the next holder hears of it.
        let lease = reactor.lease(token).unwrap();
        assert!(!lease.is_notified());
        assert!(reactor.notify(token).unwrap());
        assert_eq!(notified(&mut worker), []);
        drop(lease);
        assert_eq!(notified(&mut worker), expected);
        // Nothing is armed again for it: the source was armed all the time.
        assert_eq!(reactor.counters().mods, 0);
        reactor.lease(token).unwrap().close();
        assert!(!reactor.notify(token).unwrap());
    }
}
