//! Readiness scenarios with known answers, seen by one thread: what a trigger reports, and when it
//! falls silent. The numbers are those of the kernel's own epoll tests.

use crate::scene::Scene;
use crate::support::{look, wait};
use epoll_kit_testing::close;
use epoll_sys::Trigger::{Edge, EdgeOneshot, Level, Oneshot};
use epoll_sys::{Epoll, EventFd, Events, Interest, Readiness, Trigger, Watch, socket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const READABLE: Watch = Watch::level(Interest::IN);

/// A socket watched with `watch`, and its peer.
fn watched(watch: Watch) -> (Epoll, OwnedFd, OwnedFd) {
    let epoll = Epoll::new().unwrap();
    let (ours, theirs) = socket::pair().unwrap();
    epoll.add(&ours, 7, watch).unwrap();
    (epoll, ours, theirs)
}

fn read(socket: &OwnedFd, len: usize) {
    assert_eq!(socket::recv(socket, &mut vec![0; len]).unwrap(), len);
}

#[test]
fn two_looks_at_flat_sources_1_to_4() {
    for (number, trigger, sources_len, expected) in
        [(1, Level, 1, [1, 1]), (2, Edge, 1, [1, 0]), (3, Level, 2, [2, 2]), (4, Edge, 2, [2, 0])]
    {
        let scene = Scene::flat(trigger, sources_len).written();
        assert_eq!(scene.two_looks(), expected, "scenario {number}");
    }
}

#[test]
fn two_looks_after_poll_at_flat_sources_5_to_8() {
    for (number, trigger, sources_len, expected) in [
        (5, Level, 1, [(1, 1), (1, 1)]),
        (6, Edge, 1, [(1, 1), (0, 0)]),
        (7, Level, 2, [(1, 2), (1, 2)]),
        (8, Edge, 2, [(1, 2), (0, 0)]),
    ] {
        let scene = Scene::flat(trigger, sources_len).written();
        assert_eq!(scene.two_polled_looks(), expected, "scenario {number}");
    }
}

const NESTED: [(Trigger, Trigger, [usize; 2]); 4] =
    [(Level, Level, [1, 1]), (Level, Edge, [1, 1]), (Edge, Level, [1, 0]), (Edge, Edge, [1, 0])];

#[test]
fn two_looks_at_a_nested_instance_17_to_20() {
    for (number, (outer, inner, expected)) in (17..).zip(NESTED) {
        let scene = Scene::nested(outer, inner).written();
        assert_eq!(scene.two_looks(), expected, "scenario {number}");
    }
}

#[test]
fn two_looks_after_poll_at_a_nested_instance_21_to_24() {
    for (number, (outer, inner, expected)) in (21..).zip(NESTED) {
        let scene = Scene::nested(outer, inner).written();
        let expected = expected.map(|count| (count, count));
        assert_eq!(scene.two_polled_looks(), expected, "scenario {number}");
    }
}

#[test]
fn two_looks_at_a_tree_49_and_50() {
    for (number, outer, expected) in [(49, Level, [2, 2]), (50, Edge, [2, 0])] {
        assert_eq!(Scene::tree(outer).written().two_looks(), expected, "scenario {number}");
    }
}

#[test]
fn a_oneshot_source_is_reported_once_even_if_more_arrives() {
    for trigger in [Oneshot, EdgeOneshot] {
        let scene = Scene::flat(trigger, 1).written();
        assert_eq!(scene.two_looks(), [1, 0], "{trigger:?}");
        scene.write();
        assert_eq!(scene.two_looks(), [0, 0], "{trigger:?}");
    }
}

#[test]
fn level_reports_again_after_a_partial_read_and_stops_when_dry() {
    let (epoll, ours, theirs) = watched(READABLE);
    socket::send(&theirs, b"four").unwrap();
    assert_eq!(look(&epoll).len(), 1);
    read(&ours, 2);
    assert_eq!(look(&epoll).len(), 1);
    read(&ours, 2);
    assert!(look(&epoll).is_empty());
}

#[test]
fn edge_is_silent_after_a_partial_read_and_reports_new_data() {
    let (epoll, ours, theirs) = watched(Watch::edge(Interest::IN));
    socket::send(&theirs, b"four").unwrap();
    assert_eq!(look(&epoll).len(), 1);
    read(&ours, 2);
    assert!(look(&epoll).is_empty());
    socket::send(&theirs, b"more").unwrap();
    assert_eq!(look(&epoll).len(), 1);
    assert!(look(&epoll).is_empty());
}

#[test]
fn arming_a_oneshot_source_again_reports_what_came_before() {
    for watch in [Watch::oneshot(Interest::IN), Watch::edge_oneshot(Interest::IN)] {
        let (epoll, ours, theirs) = watched(watch);
        socket::send(&theirs, b"a").unwrap();
        assert_eq!(look(&epoll).len(), 1);
        socket::send(&theirs, b"b").unwrap();
        assert!(look(&epoll).is_empty(), "{watch:?}");

        epoll.modify(&ours, 8, watch).unwrap();
        let events = look(&epoll);
        assert_eq!(events.len(), 1, "{watch:?}");
        assert_eq!(events[0].data, 8, "{watch:?}");
        assert!(look(&epoll).is_empty(), "{watch:?}");
    }
}

#[test]
fn modifying_reports_a_ready_source_anew_whatever_the_trigger() {
    for watch in [READABLE, Watch::edge(Interest::IN), Watch::oneshot(Interest::IN)] {
        let (epoll, ours, theirs) = watched(watch);
        socket::send(&theirs, b"a").unwrap();
        assert_eq!(look(&epoll).len(), 1);
        epoll.modify(&ours, 8, watch).unwrap();
        assert_eq!(look(&epoll)[0].data, 8, "{watch:?}");
    }
}

#[test]
fn readiness_that_is_queued_goes_when_the_interest_goes() {
    let (epoll, ours, theirs) = watched(READABLE);
    socket::send(&theirs, b"a").unwrap();
    epoll.modify(&ours, 7, Watch::level(Interest::PRI)).unwrap();
    assert!(look(&epoll).is_empty());
    epoll.modify(&ours, 7, READABLE).unwrap();
    assert_eq!(look(&epoll).len(), 1);
}

#[test]
fn readiness_that_is_queued_goes_when_the_source_is_deleted() {
    let (epoll, ours, theirs) = watched(READABLE);
    socket::send(&theirs, b"a").unwrap();
    epoll.delete(&ours).unwrap();
    assert!(look(&epoll).is_empty());
}

#[test]
fn one_source_is_reported_by_each_instance_that_watches_it() {
    let (first, ours, theirs) = watched(Watch::edge(Interest::IN));
    let second = Epoll::new().unwrap();
    second.add(&ours, 8, READABLE).unwrap();
    socket::send(&theirs, b"a").unwrap();
    assert_eq!(look(&first)[0].data, 7);
    assert_eq!(look(&second)[0].data, 8);
    assert!(look(&first).is_empty());
    assert_eq!(look(&second).len(), 1);
}

#[test]
fn a_source_that_is_ready_when_it_is_added_is_reported_whatever_the_trigger() {
    for watch in [READABLE, Watch::edge(Interest::IN), Watch::oneshot(Interest::IN)] {
        let (epoll, ready) = (Epoll::new().unwrap(), EventFd::new(1).unwrap());
        epoll.add(&ready, 7, watch).unwrap();
        assert_eq!(look(&epoll).len(), 1, "{watch:?}");
    }
}

#[test]
fn a_wait_brings_no_more_events_than_the_buffer_holds_and_the_rest_later() {
    let scene = Scene::flat(Edge, 5).written();
    let mut events = Events::with_capacity(2);
    let mut seen = Vec::new();
    for expected in [2, 2, 1, 0] {
        assert_eq!(scene.epoll.wait(&mut events, Some(Duration::ZERO)).unwrap(), expected);
        seen.extend(events.iter().map(|event| event.data));
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn level_sources_take_turns_when_the_buffer_is_too_small() {
    let scene = Scene::flat(Level, 3).written();
    let mut events = Events::with_capacity(1);
    let mut seen = Vec::new();
    for _ in 0..3 {
        scene.epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        seen.extend(events.iter().map(|event| event.data));
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn all_64_bits_of_the_data_come_back() {
    let (epoll, ready) = (Epoll::new().unwrap(), EventFd::new(1).unwrap());
    epoll.add(&ready, u64::MAX - 1, READABLE).unwrap();
    assert_eq!(look(&epoll)[0].data, u64::MAX - 1);
}

#[test]
fn several_readinesses_come_in_one_event() {
    let (epoll, _ours, theirs) = watched(Watch::edge(Interest::all()));
    socket::send(&theirs, b"a").unwrap();
    close(theirs);
    let events = wait(&epoll);
    assert_eq!(events.len(), 1);
    let expected = Readiness::IN | Readiness::OUT | Readiness::RDHUP | Readiness::HUP;
    assert!(events[0].readiness.contains(expected), "{events:?}");
}

#[test]
fn a_wait_of_ten_milliseconds_with_nothing_ready_is_not_early_63() {
    let (epoll, _ours, _theirs) = watched(READABLE);
    let timeout = Duration::from_millis(10);
    let start = Instant::now();
    let count = epoll.wait(&mut Events::with_capacity(1), Some(timeout)).unwrap();
    assert_eq!(count, 0);
    assert!(start.elapsed() >= timeout);
}

#[test]
fn a_thousand_waits_of_a_tenth_of_a_millisecond_are_never_early() {
    let epoll = Epoll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let timeout = Duration::from_micros(100);
    for round in 0..1000 {
        let start = Instant::now();
        assert_eq!(epoll.wait(&mut events, Some(timeout)).unwrap(), 0);
        assert!(start.elapsed() >= timeout, "round {round}");
    }
}
