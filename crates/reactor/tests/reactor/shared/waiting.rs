//! A wait of a worker ends when there is something for this thread, or when the time is over.

use crate::shared::{StopAtTheEnd, TRIGGERS, asleep, next, wait, with_silent};
use crate::support::ready_pair;
use epoll_kit_testing::{DEADLINE, before_the_deadline, eventually};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor};
use epoll_reactor::{Interest, Readiness, Registration, Watch};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The kernel may report a source before the thread that inserts it has let go of it: then the event is
/// left for that thread, and must not end the wait.
#[test]
fn it_does_not_end_for_a_source_that_is_still_being_inserted() {
    const ROUNDS: usize = 1500;
    for trigger in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let (insert, inserted) = mpsc::channel();
        let mut early = 0;
        thread::scope(|threads| {
            let reactor = &reactor;
            threads.spawn(move || {
                let mut peers = Vec::new();
                for () in inserted {
                    let (ours, theirs) = ready_pair();
                    reactor.insert(ours, trigger(Interest::IN)).unwrap();
                    peers.push(theirs);
                    peers.drain(..peers.len().saturating_sub(8));
                }
            });
            let mut worker = reactor.worker();
            for round in 0..ROUNDS {
                insert.send(()).unwrap();
                let deadline = Instant::now() + DEADLINE;
                while reactor.counters().adds == round as u64 || !reactor.is_empty() {
                    worker.wait(Some(DEADLINE)).unwrap();
                    assert!(Instant::now() < deadline, "round {round}: the source is not reported");
                    let mut reports = 0;
                    while let Some(ready) = worker.next_ready() {
                        reports += 1;
                        if let LeaseReady::Owned(lease) = ready {
                            lease.close();
                        }
                    }
                    early += usize::from(reports == 0);
                }
            }
            drop(insert);
        });
        assert_eq!(early, 0, "of {ROUNDS} rounds");
    }
}

#[test]
fn no_thread_wakes_for_a_source_before_the_first_lease_of_it_ends() {
    for trigger in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker();
        let (ours, _theirs) = ready_pair();
        let mut lease = reactor.insert_leased(ours, trigger(Interest::OUT)).unwrap();
        lease.set_interest(Interest::IN).unwrap();
        worker.wait(Some(Duration::ZERO)).unwrap();
        assert!(worker.next_ready().is_none());
        assert_eq!((reactor.counters().events, reactor.counters().adds), (0, 0));
        drop(lease);
        worker.wait(None).unwrap();
        let counters = reactor.counters();
        assert_eq!((counters.events, counters.adds, counters.mods), (1, 1, 0), "one call for both");
        assert_eq!(next(&mut worker).unwrap().readiness(), Readiness::IN);
        assert_eq!(reactor.counters().wakes, 0);
    }
}

#[test]
fn one_that_is_woken_for_the_queue_serves_it_in_that_turn() {
    let (reactor, token, _theirs) = with_silent(Watch::oneshot(Interest::IN));
    thread::scope(|threads| {
        let reactor = &reactor;
        let running = asleep(threads, 1, || {
            let mut worker = reactor.worker();
            worker.wait(None).unwrap();
            let mut is_notified = false;
            while let Some(ready) = worker.next_ready() {
                is_notified |= matches!(ready, LeaseReady::Owned(lease) if lease.is_notified());
            }
            (is_notified, worker.counters().waits)
        });
        assert!(reactor.notify(token).unwrap());
        let told: Vec<_> = running.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(told, [(true, 1)]);
    });
}

/// Sources that are handed out again wait in a queue for whichever worker comes first. A wait must not end
/// for one that another worker takes.
#[test]
fn it_does_not_end_for_a_source_that_another_worker_takes() {
    const SOURCES: usize = 4;
    const REVISITS: usize = 20_000;
    for trigger in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let (ours, _theirs): (Vec<_>, Vec<_>) = (0..SOURCES).map(|_| ready_pair()).unzip();
        for ours in ours {
            reactor.insert(ours, trigger(Interest::IN)).unwrap();
        }
        let (served, early) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|threads| {
            let _stop = StopAtTheEnd(&reactor);
            for _ in 0..SOURCES {
                threads.spawn(|| {
                    let mut worker = reactor.worker();
                    while worker.wait(None).unwrap() {
                        let mut reports = 0;
                        while let Some(ready) = worker.next_ready() {
                            reports += 1;
                            let LeaseReady::Owned(mut lease) = ready else { continue };
                            if served.fetch_add(1, Relaxed) < REVISITS {
                                lease.revisit(Readiness::IN);
                            } else {
                                lease.close();
                            }
                        }
                        early.fetch_add(usize::from(reports == 0), Relaxed);
                    }
                });
            }
            eventually("all revisits are served", || reactor.is_empty());
        });
        assert_eq!(early.into_inner(), 0, "of {REVISITS} reports");
    }
}

#[test]
fn what_a_wait_has_ended_for_is_handed_on_by_a_worker_that_is_dropped() {
    for trigger in TRIGGERS {
        let (reactor, token, _theirs) = with_silent(trigger(Interest::IN));
        let [mut one, mut other] = [reactor.worker(), reactor.worker()];
        reactor.lease(token).unwrap().revisit(Readiness::IN);
        assert!(one.wait(None).unwrap());
        // The wake was the first, and the source is what the next one ends for.
        assert!(matches!(one.next_ready(), Some(LeaseReady::Woken)));
        assert!(one.wait(None).unwrap());
        drop(one);
        let told = wait(&mut other);
        assert_eq!((told.len(), told[0].token, told[0].readiness), (1, token, Readiness::IN));
    }
}

/// A worker serves what it hands out again itself, one source after the other, so a second one is for a
/// thread that sleeps.
#[test]
fn a_thread_that_sleeps_is_woken_for_the_second_source_that_is_handed_out_again() {
    for trigger in TRIGGERS {
        before_the_deadline(move || {
            let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
            let (ours, _theirs): (Vec<_>, Vec<_>) = (0..2).map(|_| ready_pair()).unzip();
            for ours in ours {
                reactor.insert(ours, trigger(Interest::IN)).unwrap();
            }
            let mut busy = reactor.worker();
            assert!(busy.wait(None).unwrap());
            thread::scope(|threads| {
                let running = asleep(threads, 1, || wait(&mut reactor.worker()).len());
                for _ in 0..2 {
                    next(&mut busy).unwrap().revisit(Readiness::IN);
                }
                for thread in running {
                    assert!(thread.join().unwrap() > 0);
                }
            });
        });
    }
}
