//! Handlers that panic: their source is to be closed, and nothing else notices.

use crate::shared::{
    TRIGGERS, Told, beside_workers, drain, look, next, wait, with_ready, with_silent,
};
use crate::support::ready_pair;
use epoll_kit_testing::{DEADLINE, eventually};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, SharedReactor, Worker};
use epoll_reactor::{Interest, Readiness, Registration, Watch};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The payload of the panics in these handlers.
struct Deliberate;

/// Panics with the lease in hand, after `before`, and goes on as a program does that catches it.
#[track_caller]
fn panic_over(worker: &mut Worker<'_, Stream>, before: impl FnOnce(&mut Lease<'_, Stream>)) {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let mut lease = next(worker).unwrap();
        before(&mut lease);
        panic_any(Deliberate);
    }));
    assert!(caught.unwrap_err().is::<Deliberate>());
}

#[test]
fn the_next_holder_close_requested() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        panic_over(&mut worker, |lease| assert_eq!(drain(lease), b"w"));
        assert!(reactor.lease(token).is_none(), "nobody takes it for a sound one");
        assert_eq!(look(&mut worker), [Told::to_close(token)]);
        // It is told, and its handler decides: this one went on with it.
        theirs.write_all(b"x").unwrap();
        assert_eq!(look(&mut worker), [Told::brought(token, b"x")]);
    }
}

#[test]
fn what_is_unread_comes_with_the_question() {
    for watch in [Watch::oneshot, Watch::edge_oneshot] {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        panic_over(&mut worker, |_| ());
        let expected = Told { close_requested: true, ..Told::brought(token, b"w") };
        assert_eq!(look(&mut worker), [expected]);
    }
}

#[test]
fn a_handler_that_had_asked_for_a_revisit_is_no_exception() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        worker.wait(None).unwrap();
        panic_over(&mut worker, |lease| lease.revisit(Readiness::IN));
        let expected = Told { close_requested: true, ..Told::brought(token, b"w") };
        assert_eq!(look(&mut worker), [expected]);
        assert_eq!(look(&mut worker), []);
    }
}

#[test]
fn a_lease_by_name_is_no_exception() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _lease = reactor.lease(token).unwrap();
            panic_any(Deliberate);
        }));
        assert!(caught.unwrap_err().is::<Deliberate>());
        assert_eq!(wait(&mut worker), [Told::to_close(token)]);
    }
}

#[test]
fn the_rest_of_the_batch_goes_on() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker();
        let pairs = [(); 3].map(|()| ready_pair());
        let (ours, _theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for ours in ours {
            reactor.insert(ours, watch(Interest::IN)).unwrap();
        }
        worker.wait(None).unwrap();
        panic_over(&mut worker, |lease| assert_eq!(drain(lease), b"w"));
        for _ in 0..2 {
            assert_eq!(drain(&next(&mut worker).unwrap()), b"w");
        }
        assert!(next(&mut worker).is_none());
        let told = look(&mut worker);
        assert!(told.len() == 1 && told[0].close_requested, "{told:?}");
    }
}

/// The thread ends with the panic, and the others go on with what it had.
#[test]
fn a_thread_that_a_panic_ends_leaves_nothing_behind() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let pairs = [(); 3].map(|()| ready_pair());
        let (ours, _theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for ours in ours {
            reactor.insert(ours, watch(Interest::IN)).unwrap();
        }
        let ended = thread::scope(|threads| {
            let dying = threads.spawn(|| {
                let mut worker = reactor.worker();
                worker.wait(None).unwrap();
                let lease = next(&mut worker).unwrap();
                drain(&lease);
                panic_any(Deliberate);
            });
            dying.join().unwrap_err()
        });
        assert!(ended.is::<Deliberate>());
        let mut worker = reactor.worker();
        let mut told = wait(&mut worker);
        while told.len() < 3 {
            told.extend(wait(&mut worker));
        }
        let asked = told.iter().filter(|told| told.close_requested).count();
        let brought = told.iter().filter(|told| told.bytes == b"w").count();
        assert_eq!((asked, brought), (1, 2), "{told:?}");
    }
}

/// Every fourth word makes its handler panic; its connection is closed, and all others are echoed.
#[test]
fn connections_whose_handlers_panic_end_and_the_others_go_on() {
    const CONNECTIONS: u8 = 32;
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let panics = AtomicUsize::new(0);
        let serve = |lease: Lease<'_, Stream>| {
            if lease.close_requested() {
                return lease.close();
            }
            let caught = catch_unwind(AssertUnwindSafe(move || {
                let words = drain(&lease);
                if words.iter().any(|word| word % 4 == 0) {
                    panic_any(Deliberate);
                }
                (&*lease).write_all(&words).unwrap();
            }));
            if let Err(payload) = caught {
                assert!(payload.is::<Deliberate>());
                panics.fetch_add(1, Ordering::Relaxed);
            }
        };
        beside_workers(&reactor, 3, serve, || {
            let peers: Vec<UnixStream> = (0..CONNECTIONS)
                .map(|_| {
                    let (ours, theirs) = UnixStream::pair().unwrap();
                    theirs.set_read_timeout(Some(DEADLINE)).unwrap();
                    reactor.insert(ours.try_into().unwrap(), watch(Interest::IN)).unwrap();
                    theirs
                })
                .collect();
            for (word, mut peer) in (0..).zip(&peers) {
                peer.write_all(&[word]).unwrap();
            }
            for (word, mut peer) in (0..).zip(&peers) {
                let mut echo = Vec::new();
                let mut byte = [0];
                if peer.read(&mut byte).unwrap() == 1 {
                    echo.push(byte[0]);
                }
                let expected = if word % 4 == 0 { vec![] } else { vec![word] };
                assert_eq!(echo, expected);
            }
            let left = usize::from(CONNECTIONS / 4 * 3);
            eventually("the others are left", || reactor.len() == left);
        });
        assert_eq!(panics.into_inner(), usize::from(CONNECTIONS / 4));
    }
}
