//! Events and tokens of registrations that have ended: they reach nobody, least of all the source
//! that has the descriptor number or the slot by now.
//!
//! Tests that count on descriptor numbers run in a process of their own.

use crate::support::{assert_sleeps, look, next, ready_pair, ready_std_pair, reports, seen, wait};
use epoll_kit_testing::{assert_kind, in_own_process, while_no_process_starts};
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Readiness, Source, Token, Watch};
use rustix::io::fcntl_dupfd_cloexec;
use std::collections::HashSet;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const READABLE: Watch = Watch::level(Interest::IN);

/// The types of sources that these tests run with.
trait Kind: Source + TryFrom<OwnedFd, Error: Debug> {}

impl Kind for Stream {}
impl Kind for UnixStream {}

#[track_caller]
fn made_of<T: Kind>(fd: impl Into<OwnedFd>) -> T {
    T::try_from(fd.into()).unwrap()
}

/// The same source under the number `number`, which has to be free.
#[track_caller]
fn moved<T: Kind>(source: Stream, number: i32) -> T {
    let moved = fcntl_dupfd_cloexec(OwnedFd::from(source), number).unwrap();
    assert_eq!(moved.as_raw_fd(), number);
    made_of(moved)
}

/// The slot of a token, without its generation.
fn slot(token: Token) -> String {
    format!("{token:?}").split('.').next().unwrap().to_owned()
}

/// Ends the second of two sources that are ready in one batch with `end`, in the handler of the first one, and
/// gives its number and slot to a new source.
#[track_caller]
fn a_successor_hears_nothing<T: Kind>(end: fn(&mut Reactor<T>, Token)) {
    let mut reactor: Reactor<T> = Reactor::new().unwrap();
    let (one, _keep_one) = ready_pair();
    let (other, _keep_other) = ready_pair();
    let (new, _keep_new) = ready_pair();
    let tokens = [one, other].map(|ours| reactor.insert(made_of(ours), READABLE).unwrap());

    reactor.wait(None).unwrap();
    let (first, _) = next(&mut reactor).unwrap();
    let victim = if tokens[0] == first { tokens[1] } else { tokens[0] };
    let number = reactor[victim].as_fd().as_raw_fd();
    end(&mut reactor, victim);
    let successor = reactor.insert(moved(new, number), READABLE).unwrap();
    assert_eq!(reactor[successor].as_fd().as_raw_fd(), number);
    assert_eq!(slot(successor), slot(victim));
    assert_ne!(successor, victim);

    assert_eq!(next(&mut reactor), None);
    assert_eq!(reactor.counters().stale, 1);
    let reported = seen(&mut reactor);
    assert_eq!(HashSet::from_iter(reported), HashSet::from([first, successor]));
    assert_eq!(reactor.counters().stale, 1);
}

#[test]
fn an_event_does_not_reach_the_source_that_took_the_slot() {
    const NAME: &str = "stale::an_event_does_not_reach_the_source_that_took_the_slot";
    in_own_process(NAME, || {
        a_successor_hears_nothing::<Stream>(|reactor, token| {
            assert!(reactor.close(token));
        });
    });
}

#[test]
fn nor_when_the_source_was_removed_and_dropped() {
    const NAME: &str = "stale::nor_when_the_source_was_removed_and_dropped";
    in_own_process(NAME, || {
        a_successor_hears_nothing::<Stream>(|reactor, token| {
            drop(reactor.remove(token).unwrap());
        });
    });
}

#[test]
fn nor_when_the_type_may_be_shared() {
    const NAME: &str = "stale::nor_when_the_type_may_be_shared";
    in_own_process(NAME, || {
        a_successor_hears_nothing::<UnixStream>(|reactor, token| {
            assert!(reactor.close(token));
        });
        a_successor_hears_nothing::<UnixStream>(|reactor, token| {
            drop(reactor.remove(token).unwrap());
        });
    });
}

#[test]
fn a_handler_may_remove_its_source_and_insert_another() {
    const NAME: &str = "stale::a_handler_may_remove_its_source_and_insert_another";
    in_own_process(NAME, || {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
        let (new, _keep_new) = ready_pair();
        let tokens = [one, other].map(|ours| reactor.insert(ours, READABLE).unwrap());

        reactor.wait(None).unwrap();
        let (own, _) = next(&mut reactor).unwrap();
        let number = reactor[own].as_fd().as_raw_fd();
        drop(reactor.remove(own).unwrap());
        let successor = reactor.insert(moved(new, number), READABLE).unwrap();
        assert_eq!(slot(successor), slot(own));

        let untouched = *tokens.iter().find(|&&token| token != own).unwrap();
        assert_eq!(reports(&mut reactor), [(untouched, Readiness::IN)]);
        assert_eq!(HashSet::from_iter(seen(&mut reactor)), HashSet::from([untouched, successor]));
        assert_eq!(reactor.counters().stale, 0);
    });
}

#[test]
fn a_handler_may_remove_its_source_and_then_all_others() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let pairs = [ready_pair(), ready_pair(), ready_pair()];
    let (ours, _theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    for stream in ours {
        reactor.insert(stream, READABLE).unwrap();
    }
    reactor.wait(None).unwrap();
    let (own, _) = next(&mut reactor).unwrap();
    reactor.remove(own).unwrap();
    let others: Vec<Token> = reactor.iter().map(|(token, _)| token).collect();
    let removed: Vec<Stream> = others.iter().filter_map(|&token| reactor.remove(token)).collect();

    assert_eq!(removed.len(), 2);
    assert_eq!(next(&mut reactor), None);
    assert_eq!(reactor.counters().stale, 2);
    assert!(reactor.is_empty());
    assert_sleeps(&mut reactor);
}

#[test]
fn a_descriptor_that_stops_being_watched_is_not_reported_either() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let first = reactor.watch(&one, 'a', READABLE).unwrap();
    let second = reactor.watch(&other, 'b', READABLE).unwrap();
    reactor.wait(None).unwrap();
    let (own, _) = next(&mut reactor).unwrap();
    if own == first {
        reactor.unwatch(second, &other).unwrap();
    } else {
        reactor.unwatch(first, &one).unwrap();
    }
    let successor = reactor.watch(&_keep_one, 'c', Watch::level(Interest::OUT)).unwrap();
    assert_eq!(next(&mut reactor), None);
    assert_eq!(reactor.counters().stale, 1);
    assert_eq!(HashSet::from_iter(seen(&mut reactor)), HashSet::from([own, successor]));
}

#[test]
fn closing_deletes_first_where_the_descriptor_may_be_shared() {
    let mut reactor: Reactor<UnixStream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_std_pair();
    ours.set_nonblocking(true).unwrap();
    let _clone = ours.try_clone().unwrap();
    let token = reactor.insert(ours, READABLE).unwrap();
    assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);

    assert!(reactor.close(token));
    assert_eq!(reactor.counters().dels, 1);
    // The waker is all that is left.
    assert_eq!(reactor.epoll().interest_list().unwrap().len(), 1);
    assert_sleeps(&mut reactor);
    assert_eq!(reactor.counters().stale, 0);
}

#[test]
fn closing_spares_the_delete_where_the_descriptor_is_unshared() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, READABLE).unwrap();
    let guard = while_no_process_starts();
    assert!(reactor.close(token));
    drop(guard);
    assert_eq!(reactor.counters().dels, 0);
    assert_eq!(reactor.epoll().interest_list().unwrap().len(), 1);
    assert_sleeps(&mut reactor);
}

#[test]
fn removing_deletes_even_where_the_descriptor_is_unshared() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, READABLE).unwrap();
    let _source = reactor.remove(token).unwrap();
    assert_eq!(reactor.counters().dels, 1);
    assert_sleeps(&mut reactor);
    assert_eq!(reactor.counters().stale, 0);
}

#[test]
fn a_clone_that_breaks_the_promise_is_counted_and_never_reported() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let _clone = ours.as_fd().try_clone_to_owned().unwrap();
    let token = reactor.insert(ours, READABLE).unwrap();
    assert!(reactor.close(token));
    let (new, _keep_new) = ready_pair();
    let successor = reactor.insert(new, READABLE).unwrap();
    assert_eq!(slot(successor), slot(token));
    for turns in 1..=5 {
        assert_eq!(look(&mut reactor), [(successor, Readiness::IN)]);
        assert_eq!(reactor.counters().stale, turns);
    }
    // As documented: the clone's level-triggered events end every wait at once.
    reactor.remove(successor).unwrap();
    let waits = reactor.counters().waits;
    reactor.wait(None).unwrap();
    assert_eq!(next(&mut reactor), None);
    assert_eq!(reactor.counters().waits, waits + 1);
    assert_eq!(reactor.counters().stale, 6);
}

#[test]
fn a_token_that_is_used_up_names_nothing_and_hurts_nobody() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, READABLE).unwrap();
    let removed = reactor.remove(token).unwrap();
    let (new, _keep_new) = ready_pair();
    let successor = reactor.insert(new, READABLE).unwrap();
    assert_eq!(slot(successor), slot(token));

    assert!(reactor.get(token).is_none());
    assert!(reactor.get_mut(token).is_none());
    assert!(reactor.get_disjoint_mut([token, successor]).is_none());
    assert_kind(reactor.modify(token, Watch::level(Interest::OUT)), ErrorKind::NotFound);
    assert_kind(reactor.set_interest(token, Interest::OUT), ErrorKind::NotFound);
    assert_kind(reactor.set_interest(token, Interest::IN), ErrorKind::NotFound);
    assert_kind(reactor.modify_watched(token, &removed, READABLE), ErrorKind::NotFound);
    assert_kind(reactor.unwatch(token, &removed), ErrorKind::NotFound);
    assert!(reactor.remove(token).is_none());
    assert!(!reactor.close(token));
    assert!(!reactor.forget(token));
    assert!(!reactor.revisit(token, Readiness::IN));

    assert_eq!(reactor.len(), 1);
    assert_eq!(look(&mut reactor), [(successor, Readiness::IN)]);
    assert_eq!((reactor.counters().mods, reactor.counters().dels), (0, 1));
}

#[test]
#[should_panic(expected = "the token names no source of this reactor")]
fn indexing_by_a_token_that_is_used_up_panics() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let token = reactor.insert(ready_pair().0, READABLE).unwrap();
    reactor.remove(token).unwrap();
    let _ = &reactor[token];
}

#[test]
fn a_token_of_another_reactor_names_nothing() {
    let mut other: Reactor<Stream, char> = Reactor::new().unwrap();
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let [(one, _keep_one), (two, _keep_two)] = [ready_pair(), ready_pair()];
    let (token, own) =
        (other.insert(one, READABLE).unwrap(), reactor.insert(two, READABLE).unwrap());
    let foreign = other.watch(&_keep_one, 'f', Watch::level(Interest::OUT)).unwrap();
    let watched = reactor.watch(&_keep_one, 'w', Watch::level(Interest::OUT)).unwrap();
    assert!(reactor.get(token).is_none() && reactor.get_mut(token).is_none());
    assert!(reactor.get_disjoint_mut([own, token]).is_none());
    assert!(reactor.entry(token).is_none());
    assert!(!reactor.revisit(token, Readiness::IN));
    assert!(!reactor.close(token) && reactor.remove(token).is_none() && !reactor.forget(foreign));
    assert_kind(reactor.set_interest(token, Interest::OUT), ErrorKind::NotFound);
    assert_kind(reactor.modify(token, Watch::edge(Interest::OUT)), ErrorKind::NotFound);
    assert_kind(reactor.park(token), ErrorKind::NotFound);
    assert_kind(reactor.unpark(token), ErrorKind::NotFound);
    let level = Watch::level(Interest::IN);
    assert_kind(reactor.modify_watched(foreign, &_keep_one, level), ErrorKind::NotFound);
    assert_kind(reactor.park_watched(foreign, &_keep_one), ErrorKind::NotFound);
    assert_kind(reactor.unpark_watched(foreign, &_keep_one), ErrorKind::NotFound);
    assert_kind(reactor.unwatch(foreign, &_keep_one), ErrorKind::NotFound);
    // Nothing has happened to those that have the same slots here.
    assert_eq!(HashSet::from_iter(seen(&mut reactor)), HashSet::from([own, watched]));
    assert!(other.close(token));
}

#[test]
fn a_slot_that_is_used_a_thousand_times_never_gives_a_token_twice() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let mut source = Some(ours);
    let (mut tokens, mut slots) = (HashSet::new(), HashSet::new());
    for _ in 0..1000 {
        let token = reactor.insert(source.take().unwrap(), READABLE).unwrap();
        assert!(tokens.insert(token), "{token:?} was given before");
        slots.insert(slot(token));
        reactor.wait(Some(Duration::ZERO)).unwrap();
        source = reactor.remove(token);
        // Its event is in the batch that was just fetched.
        assert_eq!(next(&mut reactor), None);
    }
    assert_eq!(slots.len(), 1);
    assert_eq!(reactor.counters().stale, 1000);
    assert!(tokens.iter().all(|&token| reactor.get(token).is_none()));
}
