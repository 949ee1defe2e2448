//! The end of a silence: whoever asks for it, and whenever, it is not lost, and what holds then is
//! reported once.

use crate::parking::tcp_pair;
use crate::shared::{
    StopAtTheEnd, TRIGGERS, Told, asleep, assert_sleeps, look, next, read, rest, wait, with_ready,
    with_silent, work,
};
use crate::support::ready_pair;
use epoll_kit_testing::{before_the_deadline, eventually};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, SharedReactor};
use epoll_reactor::{Interest, Readiness, Registration, Token, Watch};
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

#[test]
fn it_may_come_before_the_lease_has_ended() {
    for trigger in TRIGGERS {
        for is_parked_first in [false, true] {
            let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
            let mut worker = reactor.worker();
            worker.wait(None).unwrap();
            let mut lease = next(&mut worker).unwrap();
            if is_parked_first {
                lease.park().unwrap();
            }
            // The other thread is quick: the answer is there before its handler has returned.
            thread::scope(|threads| drop(threads.spawn(|| assert!(reactor.unpark(token)))));
            lease.park().unwrap();
            drop(lease);
            assert_eq!(rest(&mut worker), []);
            assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
            assert_sleeps(&mut worker);
        }
    }
}

#[test]
fn it_may_come_when_the_lease_has_ended_and_twice() {
    for trigger in TRIGGERS {
        for times in [1, 2, 5] {
            let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
            let mut worker = reactor.worker();
            worker.wait(None).unwrap();
            next(&mut worker).unwrap().park().unwrap();
            (0..times).for_each(|_| assert!(reactor.unpark(token)));
            assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
            assert_sleeps(&mut worker);
        }
    }
}

#[test]
fn one_that_is_not_parked_stays_as_it_is() {
    for trigger in TRIGGERS {
        let (reactor, token, mut theirs) = with_silent(trigger(Interest::IN));
        let mut worker = reactor.worker();
        assert!(reactor.unpark(token));
        // While a thread holds it.
        let lease = reactor.lease(token).unwrap();
        assert!(reactor.unpark(token));
        drop(lease);
        let counters = reactor.counters();
        assert_eq!((counters.adds, counters.mods, counters.dels), (1, 0, 0));
        assert_sleeps(&mut worker);
        theirs.write_all(b"x").unwrap();
        assert_eq!(look(&mut worker), [Told::brought(token, b"x")]);
        // What was asked for before is not kept for a later silence.
        reactor.lease(token).unwrap().park().unwrap();
        theirs.write_all(b"y").unwrap();
        assert_sleeps(&mut worker);
    }
}

#[test]
fn a_token_that_names_no_source_is_told_so() {
    let (reactor, token, _theirs) = with_silent(Watch::edge(Interest::IN));
    let (other, foreign, _others) = with_silent(Watch::edge(Interest::IN));
    other.lease(foreign).unwrap().park().unwrap();
    assert!(!reactor.unpark(foreign));
    reactor.lease(token).unwrap().close();
    assert!(!reactor.unpark(token));
}

#[test]
fn an_interest_of_a_later_lease_ends_the_silence() {
    for trigger in TRIGGERS {
        for interest in [Interest::IN, Interest::OUT] {
            let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
            let mut worker = reactor.worker();
            worker.wait(None).unwrap();
            next(&mut worker).unwrap().park().unwrap();
            assert_sleeps(&mut worker);
            reactor.lease(token).unwrap().set_interest(interest).unwrap();
            let told = look(&mut worker);
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].readiness.bits(), interest.bits());
            assert_eq!((told[0].token, &*told[0].bytes), (token, b"w".as_slice()));
        }
    }
}

#[test]
fn a_later_lease_ends_the_silence() {
    for trigger in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
        let mut worker = reactor.worker();
        reactor.lease(token).unwrap().park().unwrap();
        assert_sleeps(&mut worker);
        reactor.lease(token).unwrap().unpark().unwrap();
        assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
        // And the lease that has parked it, as if it had not.
        let mut lease = reactor.lease(token).unwrap();
        lease.park().unwrap();
        lease.unpark().unwrap();
        let counters = reactor.counters();
        drop(lease);
        let after = reactor.counters();
        assert_eq!(
            (after.adds, after.mods, after.dels),
            (counters.adds, counters.mods, counters.dels)
        );
    }
}

#[test]
fn the_last_word_of_a_lease_counts() {
    for trigger in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        let mut lease = next(&mut worker).unwrap();
        lease.set_interest(Interest::OUT).unwrap();
        lease.park().unwrap();
        drop(lease);
        assert_sleeps(&mut worker);
        // The interest is that of the lease that parked it.
        assert!(reactor.unpark(token));
        worker.wait(None).unwrap();
        let mut lease = next(&mut worker).unwrap();
        assert_eq!(lease.readiness(), Readiness::OUT);
        lease.park().unwrap();
        lease.set_interest(Interest::IN).unwrap();
        drop(lease);
        assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
    }
}

#[test]
fn it_reaches_a_source_that_waits_to_be_handed_out_for_a_request() {
    for trigger in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        next(&mut worker).unwrap().park().unwrap();
        assert!(reactor.notify(token).unwrap());
        assert!(reactor.unpark(token));
        let mut told = Vec::new();
        eventually("both are told", || {
            worker.wait(Some(epoll_kit_testing::DEADLINE)).unwrap();
            while let Some(ready) = worker.next_ready() {
                if let epoll_reactor::shared::LeaseReady::Owned(lease) = ready {
                    told.push((lease.is_notified(), lease.readiness()));
                }
            }
            told.len() == 2
        });
        assert_eq!(told, [(true, Readiness::empty()), (false, Readiness::IN)]);
    }
}

#[test]
fn it_is_told_together_with_a_request_that_comes_while_the_source_is_held() {
    for trigger in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
        let [mut holder, mut other] = [reactor.worker(), reactor.worker()];
        holder.wait(None).unwrap();
        let mut lease = next(&mut holder).unwrap();
        assert!(reactor.unpark(token));
        assert!(reactor.request_close(token).unwrap());
        lease.park().unwrap();
        drop(lease);
        let told = wait(&mut other);
        assert!(told[0].close_requested, "{told:?}");
        // It is armed as well, and may be told of both at once.
        if told[0].bytes.is_empty() {
            assert_eq!(look(&mut other), [Told::brought(token, b"w")]);
        }
        assert_sleeps(&mut other);
    }
}

#[test]
fn a_thread_that_sleeps_is_woken_for_what_holds_when_the_silence_ends() {
    for trigger in TRIGGERS {
        before_the_deadline(move || {
            let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
            reactor.lease(token).unwrap().park().unwrap();
            thread::scope(|threads| {
                let running = asleep(threads, 1, || wait(&mut reactor.worker()));
                assert!(reactor.unpark(token));
                for thread in running {
                    assert_eq!(thread.join().unwrap(), [Told::brought(token, b"w")]);
                }
            });
        });
    }
}

#[test]
fn an_end_that_came_in_the_silence_is_reported_after_it() {
    for trigger in TRIGGERS {
        let (ours, mut theirs) = tcp_pair();
        theirs.write_all(b"last").unwrap();
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut lease = reactor.insert_leased(ours, trigger(Interest::IN)).unwrap();
        lease.park().unwrap();
        let token = lease.token();
        drop(lease);
        drop(theirs);
        assert!(reactor.unpark(token));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        let told = read(next(&mut worker).unwrap());
        assert_eq!(told, Told::brought(token, b"last"));
    }
}

/// Bytes that are sent in a test, one at a time.
const BYTES: usize = if cfg!(debug_assertions) { 3000 } else { 30_000 };

/// Two workers serve; one source in three of their leases is parked and unparked by a thread of its own,
/// and another thread parks and unparks by name all the time.
#[test]
fn parking_from_every_side_loses_no_byte() {
    for trigger in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let (ours, mut theirs) = Stream::pair().unwrap();
        let token = reactor.insert(ours, trigger(Interest::IN)).unwrap();
        let (received, leases, is_over) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let (parked, unpark) = mpsc::channel::<Token>();
        let serve = |mut lease: Lease<'_, Stream>, parked: &mpsc::Sender<Token>| {
            let mut buffer = [0; 64];
            loop {
                match lease.read(&mut buffer) {
                    Ok(0) => return lease.close(),
                    Ok(len) => drop(received.fetch_add(len, Ordering::Relaxed)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            if leases.fetch_add(1, Ordering::Relaxed) % 3 == 0 {
                // The other thread may be quicker than the end of this lease.
                parked.send(lease.token()).unwrap();
                lease.park().unwrap();
            }
        };
        thread::scope(|threads| {
            let _stop = StopAtTheEnd(&reactor);
            for parked in [parked.clone(), parked] {
                let (serve, reactor) = (&serve, &reactor);
                threads.spawn(move || work(reactor, |lease| serve(lease, &parked)));
            }
            let unparking = &reactor;
            threads.spawn(move || {
                for token in unpark {
                    assert!(unparking.unpark(token));
                }
            });
            let by_name = threads.spawn(|| {
                let mut parked = 0;
                while !is_over.load(Ordering::Relaxed) {
                    if let Some(mut lease) = reactor.lease(token) {
                        lease.park().unwrap();
                        drop(lease);
                        parked += 1;
                    }
                    reactor.unpark(token);
                    thread::yield_now();
                }
                parked
            });
            for sent in 1..=BYTES {
                theirs.write_all(b"x").unwrap();
                if sent % 10 == 0 {
                    eventually("all is read", || received.load(Ordering::Relaxed) == sent);
                }
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(by_name.join().unwrap() > 0);
        });
        assert_eq!(received.into_inner(), BYTES);
    }
}

/// A job of a thread pool: its source is parked for as long as it takes, and its peer waits for the
/// answer.
#[test]
fn a_conversation_by_way_of_parked_jobs_goes_on_to_its_end() {
    const ROUNDS: u8 = 200;
    for trigger in TRIGGERS {
        before_the_deadline(move || {
            let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
            let (ours, theirs) = ready_pair();
            let mut theirs =
                std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(theirs));
            theirs.set_nonblocking(false).unwrap();
            reactor.insert(ours, trigger(Interest::IN)).unwrap();
            let (jobs, queue) = mpsc::channel::<(Token, u8)>();
            thread::scope(|threads| {
                let _stop = StopAtTheEnd(&reactor);
                let reactor = &reactor;
                for jobs in [jobs.clone(), jobs] {
                    threads.spawn(move || {
                        work(reactor, |mut lease| {
                            let mut byte = [0];
                            match lease.read(&mut byte) {
                                Ok(len) => {
                                    assert_eq!(len, 1);
                                    lease.park().unwrap();
                                    jobs.send((lease.token(), byte[0])).unwrap();
                                }
                                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                            }
                        });
                    });
                }
                threads.spawn(move || {
                    for (token, job) in queue {
                        // The handler may not have let go of it yet.
                        let mut lease = loop {
                            match reactor.lease(token) {
                                Some(lease) => break lease,
                                None => thread::yield_now(),
                            }
                        };
                        assert_eq!(lease.write(&[job.wrapping_add(1)]).unwrap(), 1);
                        drop(lease);
                        assert!(reactor.unpark(token));
                    }
                });
                let mut answer = [0];
                theirs.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [b'x']);
                for round in 0..ROUNDS {
                    theirs.write_all(&[round]).unwrap();
                    theirs.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, [round + 1]);
                }
            });
        });
    }
}
