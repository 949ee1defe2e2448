//! Tests of registrations: owned sources by token, watched descriptors by tag, and the end of both.

use crate::support::{Common, assert_sleeps, look, ready_pair, ready_std_pair, seen, wait};
use epoll_kit_testing::{assert_errno, assert_kind, close, in_own_process};
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Readiness, Ready, Source, Token, Watch};
use epoll_sys::{Epoll, EventFd, Events, SignalFd, SignalSet, TimerFd};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

const READABLE: Watch = Watch::level(Interest::IN);

#[test]
fn a_reactor_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Reactor<Stream, char>>();
    is_send::<Token>();
}

#[test]
fn a_box_promises_what_its_content_does() {
    let (ours, _theirs) = Stream::pair().map(|(ours, theirs)| (Box::new(ours), theirs)).unwrap();
    assert!(ours.is_nonblocking() && ours.is_unshared());
    let (ours, _theirs) =
        UnixStream::pair().map(|(ours, theirs)| (Box::new(ours), theirs)).unwrap();
    assert!(!ours.is_nonblocking() && !ours.is_unshared());
    let mut reactor: Reactor<Box<Stream>> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(Box::new(ours), Watch::edge(Interest::IN)).unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
}

#[test]
fn what_never_blocks_promises_it() {
    assert!(EventFd::new(0).unwrap().is_nonblocking());
    assert!(TimerFd::new().unwrap().is_nonblocking());
    assert!(SignalFd::new(&SignalSet::empty()).unwrap().is_nonblocking());
    assert!(Epoll::new().unwrap().is_nonblocking());
    assert!(Reactor::<Stream>::new().unwrap().is_nonblocking());
}

#[test]
fn a_reactor_that_gets_no_descriptors_says_so() {
    const NAME: &str = "registering::a_reactor_that_gets_no_descriptors_says_so";
    in_own_process(NAME, || {
        let before = getrlimit(Resource::Nofile);
        let lowest_free = EventFd::new(0).unwrap().as_fd().as_raw_fd();
        // As documented it takes two.
        for room in [0, 1] {
            let current = Some(u64::try_from(lowest_free).unwrap() + room);
            setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
            assert_errno(Reactor::<Stream>::new().map(drop), Errno::MFILE);
        }
        let current = Some(u64::try_from(lowest_free).unwrap() + 2);
        setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
        let reactor: Reactor<Stream> = Reactor::new().unwrap();
        assert_eq!(reactor.as_fd().as_raw_fd(), lowest_free);
        setrlimit(Resource::Nofile, before).unwrap();
    });
}

#[test]
fn sources_are_found_and_changed_by_token() {
    let mut reactor: Reactor<Common, char> = Reactor::new().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let [one, other] = [one, other].map(|stream| {
        stream.set_nonblocking(true).unwrap();
        Common(Rc::new(stream))
    });
    let first = reactor.insert(one.clone(), READABLE).unwrap();
    let second = reactor.insert(other.clone(), READABLE).unwrap();
    assert!(Rc::ptr_eq(&reactor.get(first).unwrap().0, &one.0));
    assert!(Rc::ptr_eq(&reactor[second].0, &other.0));

    // Another value with the same descriptor may take a source's place.
    *reactor.get_mut(first).unwrap() = one.clone();
    reactor[second] = other.clone();
    assert_eq!((Rc::strong_count(&one.0), Rc::strong_count(&other.0)), (2, 2));

    for (tokens, sources) in [([first, second], [&one, &other]), ([second, first], [&other, &one])]
    {
        let lent = reactor.get_disjoint_mut(tokens).unwrap();
        assert!(lent.iter().zip(sources).all(|(lent, source)| Rc::ptr_eq(&lent.0, &source.0)));
    }
    assert!(reactor.get_disjoint_mut([first, first]).is_none());
}

#[test]
fn a_watched_descriptor_is_no_source() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, theirs) = Stream::pair().unwrap();
    let owned = reactor.insert(ours, READABLE).unwrap();
    let watched = reactor.watch(&theirs, 'w', READABLE).unwrap();
    assert!(reactor.get(watched).is_none() && reactor.get_mut(watched).is_none());
    assert!(reactor.get_disjoint_mut([owned, watched]).is_none());
    assert!(reactor.remove(watched).is_none() && !reactor.close(watched));
    assert_kind(reactor.modify(watched, READABLE), ErrorKind::NotFound);
    assert_kind(reactor.set_interest(watched, Interest::OUT), ErrorKind::NotFound);

    // And the other way round.
    let fd = reactor[owned].as_fd().try_clone_to_owned().unwrap();
    assert_kind(reactor.unwatch(owned, &fd), ErrorKind::NotFound);
    assert_kind(reactor.modify_watched(owned, &fd, READABLE), ErrorKind::NotFound);
    assert!(!reactor.forget(owned));
    assert_eq!(reactor.len(), 2);
}

#[test]
fn all_sources_are_visited_and_only_they_are() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    assert!(reactor.is_empty() && reactor.iter().next().is_none());
    let (mut tokens, mut peers) = (HashSet::new(), Vec::new());
    for _ in 0..5 {
        let (ours, theirs) = ready_pair();
        tokens.insert(reactor.insert(ours, READABLE).unwrap());
        peers.push(theirs);
    }
    reactor.watch(&peers[0], 'w', READABLE).unwrap();
    assert_eq!((reactor.len(), reactor.is_empty()), (6, false));
    let removed = *tokens.iter().next().unwrap();
    let _open = reactor.remove(removed).unwrap();
    tokens.remove(&removed);

    assert_eq!(reactor.len(), 5);
    assert_eq!(reactor.iter().map(|(token, _)| token).collect::<HashSet<_>>(), tokens);
    let mut visited = HashSet::new();
    for (token, source) in reactor.iter_mut() {
        source.read_exact(&mut [0]).unwrap();
        visited.insert(token);
    }
    assert_eq!(visited, tokens);
    assert_sleeps(&mut reactor);
}

#[test]
fn the_next_token_is_known_in_advance() {
    let mut reactor: Reactor<Common, char> = Reactor::new().unwrap();
    let [one, other] =
        [ready_std_pair(), ready_std_pair()].map(|(ours, theirs)| (Common(Rc::new(ours)), theirs));
    one.0.0.set_nonblocking(true).unwrap();
    let expected = reactor.next_token().unwrap();
    let token = reactor.insert(one.0.clone(), READABLE).unwrap();
    assert_eq!(token, expected);
    let expected = reactor.next_token().unwrap();
    assert_ne!(token, expected);
    // An insertion that fails uses nothing up.
    reactor.insert(one.0.clone(), READABLE).unwrap_err();
    assert_eq!(reactor.watch(&other.0, 'w', READABLE).unwrap(), expected);
    reactor.remove(token).unwrap();
    let expected = reactor.next_token().unwrap();
    assert_ne!(token, expected);
    assert_eq!(reactor.insert(one.0, READABLE).unwrap(), expected);
}

#[test]
fn a_watched_descriptor_is_reported_under_its_tag() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.watch(&ours, 'w', READABLE).unwrap();
    reactor.wait(None).unwrap();
    match reactor.next_ready() {
        Some(Ready::Watched { token: reported, tag, readiness }) => {
            assert_eq!((reported, tag, readiness), (token, 'w', Readiness::IN));
        }
        other => panic!("{other:?}"),
    }
    reactor.modify_watched(token, &ours, Watch::edge(Interest::OUT)).unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::OUT)]);
    assert_eq!(look(&mut reactor), []);
    reactor.unwatch(token, &ours).unwrap();
    assert!(reactor.is_empty());
    assert_eq!(reactor.epoll().interest_list().unwrap().len(), 1);
    let counters = reactor.counters();
    assert_eq!((counters.adds, counters.mods, counters.dels), (2, 1, 1));
    // It was borrowed, so it is open, and it may come back.
    assert_ne!(reactor.watch(&ours, 'w', READABLE).unwrap(), token);
}

#[test]
fn a_wrong_descriptor_leaves_the_registration_as_it_was() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, stranger) = ready_pair();
    let token = reactor.watch(&ours, 'w', READABLE).unwrap();
    assert_kind(reactor.unwatch(token, &stranger), ErrorKind::NotFound);
    let modified = reactor.modify_watched(token, &stranger, Watch::level(Interest::OUT));
    assert_kind(modified, ErrorKind::NotFound);
    assert_eq!((reactor.len(), reactor.counters().mods, reactor.counters().dels), (1, 0, 0));
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
    reactor.unwatch(token, &ours).unwrap();
}

#[test]
fn a_watched_descriptor_that_was_closed_is_never_reported_and_can_be_forgotten() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.watch(&ours, 'w', READABLE).unwrap();
    close(ours);
    assert_sleeps(&mut reactor);
    assert_eq!(reactor.len(), 1);
    assert!(reactor.forget(token));
    assert!(!reactor.forget(token));
    assert!(reactor.is_empty());
    assert_eq!(reactor.counters().dels, 0);
}

#[test]
fn a_reactor_with_something_to_report_is_readable() {
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, mut theirs) = Stream::pair().unwrap();
    let token = inner.insert(ours, READABLE).unwrap();
    let (outer, mut events) = (Epoll::new().unwrap(), Events::with_capacity(4));
    outer.add(&inner, 7, READABLE).unwrap();
    let mut readable = || {
        outer.wait(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        events.iter().any(|event| event.data == 7 && event.readiness.contains(Readiness::IN))
    };
    assert!(!readable());
    theirs.write_all(b"w").unwrap();
    assert!(readable());
    inner[token].read_exact(&mut [0]).unwrap();
    assert!(!readable());
    inner.waker().wake().unwrap();
    assert!(readable());
    inner.wait(None).unwrap();
    assert!(readable(), "the wake is still to be reported");
    assert!(matches!(inner.next_ready(), Some(Ready::Woken)));
    assert!(inner.next_ready().is_none());
    assert!(!readable());
}

#[test]
fn a_reactor_may_watch_another_one() {
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let source = inner.insert(ours, READABLE).unwrap();
    let mut outer: Reactor<Stream, char> = Reactor::new().unwrap();
    let nested = outer.watch(&inner, 'i', READABLE).unwrap();
    assert_eq!(wait(&mut outer), [(nested, Readiness::IN)]);
    assert_eq!(seen(&mut inner), [source]);
    inner.remove(source).unwrap();
    assert_sleeps(&mut outer);
}

#[test]
fn each_owned_source_is_in_one_slot_and_nothing_else_has_a_token_there() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (watched, _keep) = ready_pair();
    reactor.watch(&watched, 'w', READABLE).unwrap();
    let mut tokens: Vec<_> =
        (0..5).map(|_| reactor.insert(ready_pair().0, READABLE).unwrap()).collect();
    // Its own waker and the watched one have slots as well.
    assert_eq!(reactor.slots(), 7);
    let by_slot = |reactor: &Reactor<Stream, char>| -> Vec<_> {
        (0..reactor.slots()).filter_map(|slot| reactor.token_at(slot)).collect()
    };
    assert_eq!(by_slot(&reactor), tokens);
    assert!(reactor.close(tokens.remove(2)));
    assert_eq!((by_slot(&reactor), reactor.slots()), (tokens.clone(), 7));
    tokens.insert(2, reactor.insert(ready_pair().0, READABLE).unwrap());
    assert_eq!((by_slot(&reactor), reactor.slots()), (tokens, 7));
    assert_eq!([7, usize::MAX].map(|slot| reactor.token_at(slot)), [None; 2]);
}

#[test]
fn a_reactor_and_a_token_can_be_printed() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let token = reactor.insert(ready_pair().0, READABLE).unwrap();
    // The number of the reactor, the slot and its generation.
    let printed = format!("{token:?}");
    assert!(printed.starts_with("Token(") && printed.ends_with(":1.1)"), "{printed}");
    assert!(format!("{reactor:?}").contains("registrations: 1"), "{reactor:?}");
}

#[test]
fn another_watched_descriptor_is_a_wrong_one_as_well() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let first = reactor.watch(&one, 'a', READABLE).unwrap();
    let second = reactor.watch(&other, 'b', READABLE).unwrap();
    assert_kind(reactor.modify_watched(first, &other, READABLE), ErrorKind::NotFound);
    assert_kind(reactor.unwatch(first, &other), ErrorKind::NotFound);
    assert_eq!(reactor.len(), 2);
    assert_eq!(HashSet::from_iter(seen(&mut reactor)), HashSet::from([first, second]));
}

#[test]
fn the_interest_of_a_watched_descriptor_is_not_set_by_token() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.watch(&ours, 'w', READABLE).unwrap();
    assert_kind(reactor.set_interest(token, Interest::OUT), ErrorKind::NotFound);
    assert_kind(reactor.set_interest(token, Interest::IN), ErrorKind::NotFound);
}
