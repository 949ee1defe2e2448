//! Tests of leases: nobody else is told of the source while a lease lasts, and its end arms it again.

use crate::shared::{
    TRIGGERS, Told, assert_sleeps, drain, look, next, read, rest, with_ready, with_silent,
};
use crate::support::ready_pair;
use epoll_reactor::net::Stream;
use epoll_reactor::shared::SharedReactor;
use epoll_reactor::{Interest, Readiness, Registration, Source, Token, Trigger, Watch};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

#[test]
fn a_source_that_is_ready_when_it_is_inserted_is_reported() {
    for watch in TRIGGERS {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
        assert_sleeps(&mut worker);
    }
}

#[test]
fn a_leased_source_is_reported_to_nobody_until_the_lease_ends() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_ready(watch(Interest::IN));
        let [mut holder, mut other] = [reactor.worker(), reactor.worker()];
        holder.wait(None).unwrap();
        let lease = next(&mut holder).unwrap();
        assert_eq!(drain(&lease), b"w");
        for _ in 0..3 {
            theirs.write_all(b"more").unwrap();
            assert_eq!(look(&mut other), []);
        }
        // One-shot is silent; the edge comes and is noted.
        let is_edge = watch(Interest::IN).trigger() == Trigger::Edge;
        assert_eq!(other.counters().events, if is_edge { 3 } else { 0 });
        drop(lease);
        // Whoever looks next is told, whether the kernel reports it or the note does.
        let told = look(&mut other);
        assert_eq!(told, [Told::brought(token, b"moremoremore")]);
        assert_eq!(look(&mut holder), []);
        assert_sleeps(&mut other);
        assert_eq!(reactor.counters().stale, 0);
    }
}

#[test]
fn a_report_costs_one_modification_with_one_shot_and_none_with_an_edge() {
    const ROUNDS: u64 = 50;
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_silent(watch(Interest::IN));
        let mut worker = reactor.worker();
        for _ in 0..ROUNDS {
            theirs.write_all(b"word").unwrap();
            assert_eq!(look(&mut worker), [Told::brought(token, b"word")]);
        }
        let mods = if watch(Interest::IN).is_oneshot() { ROUNDS } else { 0 };
        let counters = reactor.counters();
        assert_eq!((counters.mods, counters.adds, counters.dels), (mods, 1, 0));
        assert_eq!((counters.events, counters.waits), (ROUNDS, ROUNDS));
        assert_eq!(worker.counters().mods, 0, "what is in common is counted in common");
    }
}

#[test]
fn the_kernel_watches_what_was_asked_for_from_the_end_of_the_lease_on() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker();
        let (ours, _theirs) = ready_pair();
        let number = ours.as_fd().as_raw_fd();
        let bits = || {
            let list = reactor.epoll().interest_list().unwrap();
            list.iter().find(|entry| entry.fd == number).unwrap().events
        };
        let token = reactor.insert(ours, watch(Interest::IN)).unwrap();
        assert_eq!(bits(), watch(Interest::IN).bits());
        worker.wait(None).unwrap();
        let mut lease = next(&mut worker).unwrap();
        if watch(Interest::IN).is_oneshot() {
            assert_eq!(Interest::from_bits_truncate(bits()), Interest::empty());
        }
        drain(&lease);
        lease.set_interest(Interest::OUT).unwrap();
        // Changed twice and told to the kernel once.
        lease.set_interest(Interest::IN | Interest::OUT).unwrap();
        assert_eq!(reactor.counters().mods, 0);
        drop(lease);
        assert_eq!(reactor.counters().mods, 1);
        assert_eq!(bits(), watch(Interest::IN | Interest::OUT).bits());
        let told = look(&mut worker);
        assert_eq!((told[0].token, told[0].readiness), (token, Readiness::OUT));
    }
}

#[test]
fn an_interest_that_does_not_change_costs_nothing_more() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker();
        let (ours, _theirs) = ready_pair();
        reactor.insert(ours, watch(Interest::IN)).unwrap();
        worker.wait(None).unwrap();
        let mut lease = next(&mut worker).unwrap();
        drain(&lease);
        lease.set_interest(Interest::IN).unwrap();
        drop(lease);
        assert_eq!(reactor.counters().mods, u64::from(watch(Interest::IN).is_oneshot()));
        assert_sleeps(&mut worker);
    }
}

#[test]
fn an_interest_in_nothing_keeps_the_source_quiet() {
    for watch in TRIGGERS {
        let (reactor, token, mut theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        reactor.lease(token).unwrap().set_interest(Interest::empty()).unwrap();
        // It was armed, so nothing had to be noted or handed out.
        assert_eq!(look(&mut worker), []);
        theirs.write_all(b"x").unwrap();
        assert_eq!(look(&mut worker), []);
        reactor.lease(token).unwrap().set_interest(Interest::IN).unwrap();
        assert_eq!(look(&mut worker), [Told::brought(token, b"wx")]);
    }
}

#[test]
fn a_handler_that_returns_early_loses_nothing() {
    for watch in [Watch::oneshot, Watch::edge_oneshot] {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let mut worker = reactor.worker();
        for _ in 0..5 {
            worker.wait(None).unwrap();
            let lease = next(&mut worker).unwrap();
            assert_eq!((lease.token(), lease.readiness()), (token, Readiness::IN));
            drop(lease);
            assert!(next(&mut worker).is_none());
        }
        assert_eq!(look(&mut worker), [Told::brought(token, b"w")]);
    }
}

#[test]
fn a_source_is_changed_through_its_lease() {
    struct Counted {
        stream: Stream,
        words: u32,
    }
    impl AsFd for Counted {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.stream.as_fd()
        }
    }
    impl Source for Counted {
        fn is_nonblocking(&self) -> bool {
            true
        }
    }
    let reactor: SharedReactor<Counted> = SharedReactor::new().unwrap();
    let [mut one, mut other] = [reactor.worker(), reactor.worker()];
    let (stream, mut theirs) = ready_pair();
    let source = Counted { stream, words: 0 };
    let token = reactor.insert(source, Watch::oneshot(Interest::IN)).unwrap();
    for _ in 0..4 {
        for worker in [&mut one, &mut other] {
            worker.wait(None).unwrap();
            let mut lease = next(worker).unwrap();
            lease.stream.read_exact(&mut [0]).unwrap();
            lease.words += 1;
            drop(lease);
            theirs.write_all(b"w").unwrap();
        }
    }
    assert_eq!(reactor.lease(token).unwrap().words, 8);
}

#[test]
fn a_batch_gives_one_lease_after_the_other() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker_with_batch_max(8);
        let pairs = [(); 5].map(|()| ready_pair());
        let (ours, _theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let insert = |ours| reactor.insert(ours, watch(Interest::IN)).unwrap();
        let tokens: Vec<Token> = ours.into_iter().map(insert).collect();
        assert!(worker.wait(None).unwrap());
        let first = read(next(&mut worker).unwrap());
        // A wait before the batch is empty does not ask the kernel.
        assert!(worker.wait(None).unwrap());
        assert_eq!(worker.counters().waits, 1);
        let mut told = rest(&mut worker);
        told.push(first);
        told.sort_by_key(|told| told.token);
        let expected: Vec<Told> = tokens.iter().map(|&token| Told::brought(token, b"w")).collect();
        assert_eq!(told, expected);
        assert_eq!(reactor.counters().batch_max, 5);
    }
}

#[test]
fn a_wait_takes_no_more_than_its_batch_holds() {
    for (batch_max, most) in [(0, 1), (1, 1), (3, 3), (64, 5)] {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker_with_batch_max(batch_max);
        let pairs = [(); 5].map(|()| ready_pair());
        let (ours, _theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for ours in ours {
            reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
        }
        let mut left = 5;
        while left > 0 {
            let expected = most.min(left);
            assert_eq!(look(&mut worker).len(), expected);
            left -= expected;
        }
        assert_eq!(worker.counters().batch_max, most as u64);
    }
}

#[test]
fn a_source_with_another_descriptor_by_now_is_to_be_closed() {
    let (reactor, token, _theirs) = with_ready(Watch::oneshot(Interest::IN));
    let mut worker = reactor.worker();
    let (other, _keep) = Stream::pair().unwrap();
    worker.wait(None).unwrap();
    let mut lease = next(&mut worker).unwrap();
    let former = std::mem::replace(&mut *lease, other);
    drop(lease);
    // It cannot be armed, and nobody would ever hear of it again.
    let told = look(&mut worker);
    assert_eq!(told, [Told::to_close(token)]);
    worker.wait(Some(Duration::ZERO)).unwrap();
    next(&mut worker).unwrap().close();
    drop(former);
    assert_sleeps(&mut worker);
    assert!(reactor.is_empty());
}

#[test]
fn an_interest_that_the_kernel_has_refused_is_tried_again_by_the_next_lease() {
    let (reactor, token, _theirs) = with_ready(Watch::edge(Interest::IN));
    let mut worker = reactor.worker();
    let (other, _keep) = Stream::pair().unwrap();
    worker.wait(None).unwrap();
    let mut lease = next(&mut worker).unwrap();
    let former = std::mem::replace(&mut *lease, other);
    lease.set_interest(Interest::IN | Interest::OUT).unwrap();
    drop(lease);
    worker.wait(Some(Duration::ZERO)).unwrap();
    let mut lease = next(&mut worker).unwrap();
    assert!(lease.is_unwatched());
    *lease = former;
    drop(lease);
    let both = Readiness::IN | Readiness::OUT;
    assert_eq!(look(&mut worker), [Told { readiness: both, ..Told::brought(token, b"w") }]);
}
