//! Events of sources that have gone: counted, and handed to nobody, least of all to the source that has
//! the descriptor's number and the slot by now.

use crate::shared::{TRIGGERS, Told, Trigger, assert_sleeps, look, next, rest, with_ready};
use crate::support::{ready_pair, ready_std_pair};
use epoll_kit_testing::in_own_process;
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor};
use epoll_reactor::{Interest, Registration, Token, Watch};
use rustix::io::fcntl_dupfd_cloexec;
use std::collections::HashSet;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The slot of a token, without its generation.
fn slot(token: Token) -> String {
    format!("{token:?}").split('.').next().unwrap().to_owned()
}

/// Ends a source with `end` while a worker has its event in the batch, and gives its number and slot to a new
/// one.
#[track_caller]
fn a_successor_hears_nothing(watch: Trigger, end: fn(Lease<'_, Stream>)) {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (ours, _theirs) = ready_pair();
    let (new, _keep_new) = Stream::pair().unwrap();
    let number = ours.as_fd().as_raw_fd();
    let victim = reactor.insert(ours, watch(Interest::IN)).unwrap();
    assert!(worker.wait(None).unwrap());

    end(reactor.lease(victim).unwrap());
    let moved = fcntl_dupfd_cloexec(OwnedFd::from(new), number).unwrap();
    assert_eq!(moved.as_raw_fd(), number);
    let successor = reactor.insert(moved.try_into().unwrap(), watch(Interest::IN)).unwrap();
    assert_eq!(slot(successor), slot(victim));
    assert_ne!(successor, victim);

    assert!(next(&mut worker).is_none());
    assert_eq!(worker.counters().stale, 1);
    assert_sleeps(&mut worker);
    assert!(reactor.lease(successor).is_some(), "the event has left nothing behind");
    assert_eq!(reactor.counters().stale, 1);
}

#[test]
fn an_event_does_not_reach_the_source_that_took_the_number_and_the_slot() {
    const NAME: &str =
        "shared::stale::an_event_does_not_reach_the_source_that_took_the_number_and_the_slot";
    in_own_process(NAME, || {
        for watch in TRIGGERS {
            a_successor_hears_nothing(watch, |lease| {
                lease.close();
            });
            a_successor_hears_nothing(watch, |lease| drop(lease.remove()));
        }
    });
}

#[test]
fn a_handler_may_end_another_source_of_its_batch() {
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut worker = reactor.worker();
        let pairs = [(); 2].map(|()| ready_pair());
        let (ours, _theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let insert = |ours| reactor.insert(ours, watch(Interest::IN)).unwrap();
        let tokens: Vec<Token> = ours.into_iter().map(insert).collect();
        worker.wait(None).unwrap();
        let lease = next(&mut worker).unwrap();
        let other = *tokens.iter().find(|&&token| token != lease.token()).unwrap();
        let source = reactor.lease(other).unwrap().remove();
        lease.close();
        // It may come back at once, in any slot.
        let again = reactor.insert(source, watch(Interest::IN)).unwrap();
        assert_eq!(rest(&mut worker), []);
        assert_eq!(worker.counters().stale, 1);
        assert_eq!(look(&mut worker), [Told::brought(again, b"w")]);
    }
}

#[test]
fn the_event_that_another_worker_has_fetched_is_stale_when_its_source_is_closed() {
    for watch in [Watch::edge, Watch::oneshot] {
        let (reactor, token, _theirs) = with_ready(watch(Interest::IN));
        let [mut one, mut other] = [reactor.worker(), reactor.worker()];
        one.wait(None).unwrap();
        assert!(reactor.request_close(token).unwrap());
        assert!(other.wait(None).unwrap());
        assert!(matches!(other.next_ready(), Some(LeaseReady::Woken)));
        next(&mut other).unwrap().close();
        assert_eq!(rest(&mut one), []);
        assert_eq!((one.counters().stale, other.counters().stale), (1, 0));
        assert_eq!(reactor.counters().stale, 1);
    }
}

#[test]
fn a_clone_that_breaks_the_promise_is_not_watched_any_more() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (ours, mut theirs) = ready_pair();
    let _clone = ours.as_fd().try_clone_to_owned().unwrap();
    let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    reactor.lease(token).unwrap().close();
    let (new, _keep_new) = Stream::pair().unwrap();
    let successor = reactor.insert(new, Watch::edge(Interest::IN)).unwrap();
    assert_eq!(slot(successor), slot(token));
    theirs.write_all(b"x").unwrap();
    assert_sleeps(&mut worker);
    assert_eq!(worker.counters().stale, 0);
}

#[test]
fn a_slot_that_is_used_a_thousand_times_never_gives_a_token_twice() {
    let reactor: SharedReactor<UnixStream> = SharedReactor::new().unwrap();
    let mut worker = reactor.worker();
    let (ours, _theirs) = ready_std_pair();
    ours.set_nonblocking(true).unwrap();
    let mut source = Some(ours);
    let (mut tokens, mut slots) = (HashSet::new(), HashSet::new());
    for count in 1..=1000 {
        let inserted = reactor.insert(source.take().unwrap(), Watch::oneshot(Interest::IN));
        let token = inserted.unwrap();
        assert!(tokens.insert(token), "{token:?} was given before");
        slots.insert(slot(token));
        worker.wait(None).unwrap();
        source = Some(reactor.lease(token).unwrap().remove());
        // Its event is in the batch that was just fetched.
        assert!(next(&mut worker).is_none());
        assert_eq!(worker.counters().stale, count);
    }
    assert_eq!(slots.len(), 1);
    assert!(tokens.iter().all(|&token| !reactor.contains(token)));
}
