//! Threads that sleep in a wait: what ends it, for one of them or for all, and what does not.

use crate::shared::{
    StopAtTheEnd, TRIGGERS, Told, asleep, beside_workers, look, next, read, wait, with_ready, work,
};
use crate::support::{drain, ready_pair};
use epoll_kit_testing::{DEADLINE, before_the_deadline, eventually};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor};
use epoll_reactor::{Interest, Readiness, Registration, Token, Watch};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_stop_ends_every_wait() {
    let ended = before_the_deadline(|| {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let goes_on = thread::scope(|threads| {
            let running = asleep(threads, 10, || reactor.worker().wait(None).unwrap());
            assert!(!reactor.is_stopped());
            reactor.stop().unwrap();
            let joined = running.into_iter().map(|thread| thread.join().unwrap());
            joined.collect::<Vec<bool>>()
        });
        // Those that wait later, in whatever way, do not sleep either.
        let mut worker = reactor.worker();
        assert!(!worker.wait(None).unwrap());
        assert!(!worker.wait(Some(Duration::MAX)).unwrap());
        assert!(!reactor.worker_with_batch_max(1).wait(None).unwrap());
        assert!(worker.next_ready().is_none(), "the stop is nothing to hand out");
        reactor.stop().unwrap();
        assert!(reactor.is_stopped() && !worker.wait(None).unwrap());
        goes_on
    });
    assert_eq!(ended, [false; 10]);
}

#[test]
fn a_stop_comes_before_sources_that_are_ready() {
    for watch in TRIGGERS {
        before_the_deadline(move || {
            let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
            let (ours, _theirs): (Vec<_>, Vec<_>) = (0..8).map(|_| ready_pair()).unzip();
            for ours in ours {
                reactor.insert(ours, watch(Interest::IN)).unwrap();
            }
            // One in the middle of a batch, and others that have not begun.
            let mut busy = reactor.worker();
            assert!(busy.wait(None).unwrap());
            drain(&next(&mut busy).unwrap());
            reactor.stop().unwrap();
            assert!(!busy.wait(None).unwrap());
            for batch_max in [1, 4, 64] {
                assert!(!reactor.worker_with_batch_max(batch_max).wait(None).unwrap());
            }
            assert_eq!(reactor.len(), 8);
        });
    }
}

#[test]
fn a_stop_during_traffic_ends_all() {
    for watch in TRIGGERS {
        before_the_deadline(move || {
            let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
            let (ours, theirs): (Vec<_>, Vec<_>) = (0..8).map(|_| ready_pair()).unzip();
            for ours in ours {
                reactor.insert(ours, watch(Interest::IN)).unwrap();
            }
            let served = AtomicUsize::new(0);
            // Both ends are served here, so each word travels for ever.
            for theirs in theirs {
                reactor.insert(theirs, watch(Interest::IN)).unwrap();
            }
            let serve = |mut lease: Lease<'_, Stream>| {
                let words = drain(&lease);
                // The other end may be closed by then.
                let _ = lease.write(&words);
                served.fetch_add(1, Ordering::Relaxed);
            };
            beside_workers(&reactor, 3, serve, || {
                eventually("words travel", || served.load(Ordering::Relaxed) > 1000);
            });
        });
    }
}

#[test]
fn a_wake_ends_the_wait_of_one() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let (send, woken) = mpsc::channel();
    let work = || {
        let mut worker = reactor.worker();
        let mut wakes = 0;
        while worker.wait(None).unwrap() {
            while let Some(ready) = worker.next_ready() {
                assert!(matches!(ready, LeaseReady::Woken));
                wakes += 1;
                send.send(()).unwrap();
            }
        }
        wakes
    };
    thread::scope(|threads| {
        let _stop = StopAtTheEnd(&reactor);
        let running = asleep(threads, 3, work);
        let waker = reactor.waker();
        for wakes in 1..=20 {
            assert!(woken.try_recv().is_err());
            waker.wake().unwrap();
            woken.recv_timeout(DEADLINE).unwrap();
            assert_eq!(reactor.counters().wakes, wakes);
        }
        reactor.stop().unwrap();
        let wakes: u64 = running.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!((wakes, reactor.counters().wakes), (20, 20));
    });
}

#[test]
fn a_wait_that_is_over_says_so_no_earlier_than_asked_for() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    for micros in [1, 50, 100, 999, 1000, 1001, 1500, 2500].repeat(5) {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        assert!(worker.wait(Some(timeout)).unwrap());
        assert!(start.elapsed() >= timeout, "{micros} us took {:?}", start.elapsed());
        assert!(worker.next_ready().is_none());
    }
}

#[test]
fn a_timeout_of_any_length_is_taken() {
    before_the_deadline(|| {
        let (reactor, token, _theirs) = with_ready(Watch::oneshot(Interest::IN));
        let mut worker = reactor.worker();
        let days = [1, 25, 1 << 20, 1 << 40].map(|days| Duration::from_secs(days * 86_400));
        for timeout in days.into_iter().chain([Duration::MAX]) {
            assert!(worker.wait(Some(timeout)).unwrap());
            let lease = next(&mut worker).unwrap();
            assert_eq!((lease.token(), lease.readiness()), (token, Readiness::IN));
        }
    });
}

/// Sources come, are asked for, leased, and go, from a thread that never waits, while three wait.
#[test]
fn sources_come_and_go_while_others_wait() {
    const ROUNDS: usize = 100;
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let work = || {
            let mut worker = reactor.worker();
            while worker.wait(None).unwrap() {
                while let Some(ready) = worker.next_ready() {
                    let LeaseReady::Owned(mut lease) = ready else { continue };
                    if lease.close_requested() {
                        lease.close();
                        continue;
                    }
                    let words = drain(&lease);
                    lease.write_all(&words).unwrap();
                }
            }
        };
        thread::scope(|threads| {
            let _stop = StopAtTheEnd(&reactor);
            asleep(threads, 3, work);
            for round in 0..ROUNDS {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                theirs.set_read_timeout(Some(DEADLINE)).unwrap();
                let ours: Stream = ours.try_into().unwrap();
                let token = reactor.insert(ours, watch(Interest::IN)).unwrap();
                theirs.write_all(b"word").unwrap();
                let mut echo = [0; 4];
                theirs.read_exact(&mut echo).unwrap();
                assert_eq!(&echo, b"word");
                if round % 2 == 0 {
                    assert!(reactor.request_close(token).unwrap());
                } else {
                    let mut lease = None;
                    eventually("its handler has ended", || {
                        lease = reactor.lease(token);
                        lease.is_some()
                    });
                    drop(lease.unwrap().remove());
                }
                assert_eq!(theirs.read(&mut echo).unwrap(), 0);
                eventually("it is gone", || !reactor.contains(token));
            }
            assert!(reactor.is_empty());
        });
        assert_eq!(reactor.counters().adds, ROUNDS as u64);
    }
}

#[test]
fn of_several_that_sleep_each_report_reaches_one() {
    const SOURCES: usize = 20;
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let pairs = (0..SOURCES).map(|_| Stream::pair().unwrap());
        let (ours, theirs): (Vec<_>, Vec<_>) = pairs.unzip();
        let insert = |ours| reactor.insert(ours, watch(Interest::IN)).unwrap();
        let tokens: Vec<Token> = ours.into_iter().map(insert).collect();
        let (send, told) = mpsc::channel();
        let run = || work(&reactor, |lease| send.send(read(lease)).unwrap());
        thread::scope(|threads| {
            let _stop = StopAtTheEnd(&reactor);
            asleep(threads, 3, run);
            for (&token, mut peer) in tokens.iter().zip(&theirs) {
                peer.write_all(b"w").unwrap();
                let report = told.recv_timeout(DEADLINE).unwrap();
                assert_eq!(report, Told::brought(token, b"w"));
            }
            assert!(told.try_recv().is_err());
        });
    }
}

#[test]
fn workers_of_one_thread_do_not_hide_anything_from_each_other() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut workers = [(); 3].map(|()| reactor.worker());
        let (ours, mut theirs) = Stream::pair().unwrap();
        let token = reactor.insert(ours, watch(Interest::IN)).unwrap();
        for round in 0..9 {
            theirs.write_all(b"w").unwrap();
            assert_eq!(wait(&mut workers[round % 3]), [Told::brought(token, b"w")]);
        }
        for worker in &mut workers {
            assert_eq!(look(worker), []);
        }
    }
}
