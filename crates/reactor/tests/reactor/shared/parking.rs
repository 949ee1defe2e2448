//! Parked sources that threads share: no wait ends for one, whatever its peer does, and what was
//! fetched before is handed out to nobody.

use crate::parking::{PEERS, act, expected, tcp_pair};
use crate::shared::{
    TRIGGERS, Told, Trigger, assert_sleeps, look, next, rest, wait, with, with_ready, with_silent,
};
use epoll_kit_testing::{close, eventually};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Interest, Readiness, Registration, Token, Watch};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// The caller that parked a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The handler of a report.
    Handler,
    /// The holder of a lease that was taken by its token.
    Token,
    /// The caller that inserted it.
    Insertion,
}

const WAYS: [By; 3] = [By::Handler, By::Token, By::Insertion];

/// A reactor with a parked source, which has a byte to read if a handler parked it.
fn parked(
    (ours, mut theirs): (Stream, Stream),
    watch: Watch,
    by: By,
) -> (SharedReactor<Stream>, Token, Stream) {
    if by == By::Insertion {
        let reactor = SharedReactor::new().unwrap();
        let mut lease = reactor.insert_leased(ours, watch).unwrap();
        lease.park().unwrap();
        let token = lease.token();
        drop(lease);
        return (reactor, token, theirs);
    }
    if by == By::Handler {
        theirs.write_all(b"w").unwrap();
    }
    let (reactor, token, theirs) = with((ours, theirs), watch);
    match by {
        By::Handler => {
            let mut worker = reactor.worker();
            worker.wait(None).unwrap();
            next(&mut worker).unwrap().park().unwrap();
        }
        _ => reactor.lease(token).unwrap().park().unwrap(),
    }
    (reactor, token, theirs)
}

/// The reports of a turn that only looks, without reading anything.
fn readiness(worker: &mut Worker<'_, Stream>) -> Vec<(Token, Readiness)> {
    worker.wait(Some(Duration::ZERO)).unwrap();
    let mut told = Vec::new();
    while let Some(lease) = next(worker) {
        told.push((lease.token(), lease.readiness()));
    }
    told
}

#[track_caller]
fn assert_parked(reactor: &SharedReactor<Stream>, worker: &mut Worker<'_, Stream>) {
    let before = reactor.counters();
    assert_sleeps(worker);
    let after = reactor.counters();
    assert_eq!((after.events, after.wakes), (before.events, before.wakes), "the kernel was silent");
    let calls = |counters: epoll_reactor::Counters| (counters.adds, counters.mods, counters.dels);
    assert_eq!(calls(after), calls(before));
}

#[test]
fn no_wait_ends_for_a_parked_source_whatever_its_peer_does() {
    for trigger in TRIGGERS {
        for peer in PEERS {
            for by in WAYS {
                let watch = trigger(Interest::IN | Interest::RDHUP);
                let (reactor, token, theirs) = parked(tcp_pair(), watch, by);
                let mut worker = reactor.worker();
                let open = act(peer, theirs);
                assert_parked(&reactor, &mut worker);

                assert!(reactor.unpark(token));
                let what = format!("{watch:?} {peer:?} {by:?}");
                assert_eq!(readiness(&mut worker), [(token, expected(peer))], "{what}");
                drop(open);
            }
        }
    }
}

#[test]
fn parking_costs_a_call_unless_the_source_is_silent_already() {
    for trigger in TRIGGERS {
        for by in WAYS {
            let (reactor, token, _theirs) =
                parked(Stream::pair().unwrap(), trigger(Interest::IN), by);
            // Only a report disarms.
            let is_disarmed = trigger(Interest::IN).is_oneshot() && by == By::Handler;
            let calls = || {
                let counters = reactor.counters();
                (counters.adds, counters.mods, counters.dels)
            };
            let (silent, armed) = match by {
                // It was not added yet.
                By::Insertion => ((0, 0, 0), (1, 0, 0)),
                _ if is_disarmed => ((1, 0, 0), (1, 1, 0)),
                _ => ((1, 0, 1), (2, 0, 1)),
            };
            assert_eq!(calls(), silent, "{by:?}");
            // Parked again, it stays what it is.
            reactor.lease(token).unwrap().park().unwrap();
            drop(reactor.lease(token).unwrap());
            assert_eq!(calls(), silent);
            assert!(reactor.unpark(token));
            assert!(reactor.unpark(token));
            assert_eq!(calls(), armed, "{by:?}");
        }
    }
}

#[test]
fn an_event_that_another_worker_fetched_before_is_not_handed_out() {
    for trigger in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
        let [mut fetched, mut other] = [reactor.worker(), reactor.worker()];
        assert!(fetched.wait(None).unwrap());
        reactor.lease(token).unwrap().park().unwrap();
        assert!(next(&mut fetched).is_none());
        assert!(reactor.lease(token).is_some(), "it was given back");
        assert_parked(&reactor, &mut fetched);
        assert_parked(&reactor, &mut other);
        assert!(reactor.unpark(token));
        assert_eq!(readiness(&mut other), [(token, Readiness::IN)]);
    }
}

#[test]
fn an_event_that_comes_while_its_handler_parks_is_not_handed_out() {
    for trigger in [Watch::edge, Watch::edge_oneshot] {
        let (reactor, token, mut theirs) = with_ready(trigger(Interest::IN));
        let [mut holder, mut other] = [reactor.worker(), reactor.worker()];
        assert!(holder.wait(None).unwrap());
        let mut lease = next(&mut holder).unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!(look(&mut other), [], "it is left for the holder");
        lease.park().unwrap();
        drop(lease);
        assert_eq!(rest(&mut holder), []);
        assert_parked(&reactor, &mut holder);
        assert_parked(&reactor, &mut other);
        assert!(reactor.unpark(token));
        assert_eq!(look(&mut other), [Told::brought(token, b"wx")], "once, for both");
        assert_eq!(look(&mut holder), []);
    }
}

#[test]
fn a_worker_that_is_dropped_hands_on_no_event_of_a_parked_source() {
    for trigger in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
        let mut fetched = reactor.worker();
        assert!(fetched.wait(None).unwrap());
        reactor.lease(token).unwrap().park().unwrap();
        drop(fetched);
        assert_parked(&reactor, &mut reactor.worker());
        assert!(reactor.unpark(token));
        assert_eq!(readiness(&mut reactor.worker()), [(token, Readiness::IN)]);
    }
}

/// A request to a parked source.
type Ask = fn(&SharedReactor<Stream>, Token) -> bool;

/// Each with what the lease says of it: whether it is notified, and whether it is to be closed.
const ASKS: [(Ask, [bool; 2]); 2] = [
    (|reactor, token| reactor.notify(token).unwrap(), [true, false]),
    (|reactor, token| reactor.request_close(token).unwrap(), [false, true]),
];

/// The requests and the readiness of a worker's next lease. A wake may come before.
#[track_caller]
fn asked(worker: &mut Worker<'_, Stream>) -> ([bool; 2], Readiness) {
    loop {
        if let Some(ready) = worker.next_ready() {
            match ready {
                LeaseReady::Owned(lease) => {
                    return ([lease.is_notified(), lease.close_requested()], lease.readiness());
                }
                LeaseReady::Woken => continue,
                LeaseReady::Watched { .. } => panic!("nothing is watched"),
            }
        }
        let waits = worker.counters().waits;
        assert!(worker.wait(Some(Duration::ZERO)).unwrap());
        assert!(waits < 100, "nothing is handed out");
    }
}

#[test]
fn a_request_reaches_a_parked_source_once_and_it_stays_parked() {
    for trigger in TRIGGERS {
        for (ask, said) in ASKS {
            for by in WAYS {
                let (reactor, token, mut theirs) =
                    parked(Stream::pair().unwrap(), trigger(Interest::IN), by);
                theirs.write_all(b"x").unwrap();
                let mut worker = reactor.worker();
                for _ in 0..3 {
                    assert!(ask(&reactor, token));
                    assert!(ask(&reactor, token), "asking twice is asking once");
                    assert!(worker.wait(None).unwrap());
                    assert_eq!(asked(&mut worker), (said, Readiness::empty()));
                    // The wake that brought it may be told after it.
                    assert_eq!(rest(&mut worker), []);
                    worker.wait(Some(Duration::ZERO)).unwrap();
                    assert_eq!(rest(&mut worker), []);
                    assert_parked(&reactor, &mut worker);
                }
                assert!(reactor.unpark(token));
                assert_eq!(readiness(&mut worker), [(token, Readiness::IN)]);
            }
        }
    }
}

#[test]
fn a_request_brings_no_readiness_that_was_fetched_before() {
    for trigger in TRIGGERS {
        for (ask, said) in ASKS {
            let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
            let [mut fetched, mut other] = [reactor.worker(), reactor.worker()];
            assert!(fetched.wait(None).unwrap());
            reactor.lease(token).unwrap().park().unwrap();
            assert!(ask(&reactor, token));
            // The source is held for the request, so the event is left for its next holder.
            assert!(next(&mut fetched).is_none());
            assert!(other.wait(None).unwrap());
            assert_eq!(asked(&mut other), (said, Readiness::empty()));
            assert_eq!(rest(&mut other), []);
            assert!(reactor.unpark(token));
            assert_eq!(wait(&mut other)[0].readiness, Readiness::IN);
        }
    }
}

#[test]
fn a_request_to_the_holder_that_parks_is_told_once() {
    for trigger in TRIGGERS {
        for (ask, said) in ASKS {
            let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
            let mut worker = reactor.worker();
            assert!(worker.wait(None).unwrap());
            let mut lease = next(&mut worker).unwrap();
            assert!(ask(&reactor, token));
            lease.park().unwrap();
            drop(lease);
            assert!(next(&mut worker).is_none());
            assert!(worker.wait(None).unwrap());
            assert_eq!(asked(&mut worker), (said, Readiness::empty()));
            assert_eq!(rest(&mut worker), []);
            assert_parked(&reactor, &mut worker);
        }
    }
}

/// A park drops a revisit that was requested before it, and a revisit requested afterwards comes once, as
/// with a reactor of one thread.
#[test]
fn a_revisit_before_the_park_is_dropped_and_one_after_it_comes_once() {
    for trigger in TRIGGERS {
        let (reactor, token, mut theirs) = with_ready(trigger(Interest::IN));
        let mut worker = reactor.worker();
        assert!(worker.wait(None).unwrap());
        let mut lease = next(&mut worker).unwrap();
        lease.revisit(Readiness::IN);
        lease.park().unwrap();
        drop(lease);
        assert_parked(&reactor, &mut worker);
        let mut lease = reactor.lease(token).unwrap();
        lease.revisit(Readiness::OUT);
        lease.park().unwrap();
        drop(lease);
        // A lease by token wakes a worker for it.
        assert!(worker.wait(None).unwrap());
        let told = rest(&mut worker);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].token, told[0].readiness), (token, Readiness::OUT));
        // Its byte was read.
        assert!(reactor.contains(token));
        assert_parked(&reactor, &mut worker);
        assert!(reactor.unpark(token));
        theirs.write_all(b"x").unwrap();
        assert_eq!(readiness(&mut worker), [(token, Readiness::IN)]);
    }
}

#[test]
fn a_parked_source_is_removed_and_closed_like_any_other() {
    for trigger in TRIGGERS {
        for by in WAYS {
            let (reactor, token, mut theirs) =
                parked(Stream::pair().unwrap(), trigger(Interest::IN), by);
            let dels = reactor.counters().dels;
            let source = reactor.lease(token).unwrap().remove();
            // One that was disarmed still has an entry.
            let is_disarmed = trigger(Interest::IN).is_oneshot() && by == By::Handler;
            assert_eq!(reactor.counters().dels, dels + u64::from(is_disarmed));
            assert!(!reactor.unpark(token) && !reactor.contains(token));
            assert_eq!(reactor.epoll().interest_list().unwrap().len(), 2, "the reactor's own");

            // Neither the source nor its slot is parked any more.
            let mut worker = reactor.worker();
            let token = reactor.insert(source, trigger(Interest::IN)).unwrap();
            theirs.write_all(b"x").unwrap();
            assert_eq!(readiness(&mut worker), [(token, Readiness::IN)]);

            reactor.lease(token).unwrap().park().unwrap();
            close_parked(&reactor, token);
            assert!(reactor.is_empty());
            eventually("the peer hears of it", || !matches!((&theirs).read(&mut [0]), Ok(1)));
            assert_parked(&reactor, &mut worker);
        }
    }
}

fn close_parked(reactor: &SharedReactor<Stream>, token: Token) {
    close(reactor.lease(token).unwrap().remove());
}

#[test]
fn a_parked_source_is_closed_by_the_worker_that_is_asked_to() {
    for trigger in TRIGGERS {
        let (reactor, token, theirs) = parked(tcp_pair(), trigger(Interest::IN), By::Handler);
        drop(theirs);
        let mut worker = reactor.worker();
        assert!(reactor.request_close(token).unwrap());
        while reactor.contains(token) {
            assert!(worker.wait(None).unwrap());
            while let Some(ready) = worker.next_ready() {
                if let LeaseReady::Owned(lease) = ready {
                    assert!(lease.close_requested());
                    lease.close();
                }
            }
        }
        assert!(!reactor.unpark(token));
        assert_parked(&reactor, &mut worker);
    }
}

#[test]
fn a_source_whose_handler_parks_it_and_panics_is_to_be_closed() {
    for trigger in TRIGGERS {
        let (reactor, _, _theirs) = with_ready(trigger(Interest::IN));
        let mut worker = reactor.worker();
        assert!(worker.wait(None).unwrap());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            next(&mut worker).unwrap().park().unwrap();
            let mut lease = reactor.lease(reactor.tokens()[0]).unwrap();
            lease.park().unwrap();
            resume_unwind(Box::new("a handler that panics"));
        }));
        assert!(panicked.is_err());
        assert!(worker.wait(None).unwrap());
        assert_eq!(asked(&mut worker), ([false, true], Readiness::empty()));
    }
}

#[test]
fn a_new_instance_does_not_watch_what_is_parked() {
    for trigger in TRIGGERS {
        for by in WAYS {
            let (reactor, token, mut theirs) =
                parked(Stream::pair().unwrap(), trigger(Interest::IN), by);
            theirs.write_all(b"x").unwrap();
            reactor.rebuild().unwrap();
            let mut worker = reactor.worker();
            assert_parked(&reactor, &mut worker);
            assert_eq!(reactor.epoll().interest_list().unwrap().len(), 2, "the reactor's own");
            assert!(reactor.unpark(token));
            assert_eq!(readiness(&mut worker), [(token, Readiness::IN)]);
        }
    }
}

#[test]
fn a_new_instance_that_comes_while_a_source_is_held_watches_it_unless_it_is_parked() {
    for trigger in TRIGGERS {
        for is_parked in [false, true] {
            let (reactor, token, _theirs) = with_ready(trigger(Interest::IN));
            let mut worker = reactor.worker();
            let mut lease = reactor.lease(token).unwrap();
            reactor.rebuild().unwrap();
            if is_parked {
                lease.park().unwrap();
            }
            drop(lease);
            let own = if is_parked { 0 } else { 1 };
            assert_eq!(reactor.epoll().interest_list().unwrap().len(), 2 + own);
            if is_parked {
                // The threads that waited for the former instance are told to wait for the new one.
                assert_eq!(readiness(&mut worker), []);
                assert_parked(&reactor, &mut worker);
                assert!(reactor.unpark(token));
            }
            assert_eq!(readiness(&mut worker), [(token, Readiness::IN)]);
        }
    }
}

#[test]
fn a_watched_descriptor_can_be_parked_while_a_worker_has_its_event() {
    let triggers: [Trigger; 4] = [Watch::level, Watch::edge, Watch::oneshot, Watch::edge_oneshot];
    for trigger in triggers {
        let (ours, theirs) = crate::support::ready_pair();
        let reactor: SharedReactor<Stream, char> = SharedReactor::new().unwrap();
        let token = reactor.watch(&ours, 'w', trigger(Interest::IN)).unwrap();
        let mut worker = reactor.worker();
        assert!(worker.wait(None).unwrap());
        reactor.park_watched(token, &ours).unwrap();
        assert!(worker.next_ready().is_none());
        drop(theirs);
        worker.wait(Some(Duration::from_millis(10))).unwrap();
        assert!(worker.next_ready().is_none());
        reactor.unpark_watched(token, &ours).unwrap();
        assert!(worker.wait(None).unwrap());
        let ready = worker.next_ready();
        assert!(matches!(ready, Some(LeaseReady::Watched { tag: 'w', .. })), "{ready:?}");
    }
}

#[test]
fn a_silent_source_is_parked_and_unparked_without_a_report() {
    for trigger in TRIGGERS {
        let (reactor, token, mut theirs) = with_silent(trigger(Interest::IN));
        let mut worker = reactor.worker();
        for _ in 0..3 {
            reactor.lease(token).unwrap().park().unwrap();
            assert!(reactor.unpark(token));
            assert_sleeps(&mut worker);
        }
        theirs.write_all(b"x").unwrap();
        assert_eq!(readiness(&mut worker), [(token, Readiness::IN)]);
    }
}
