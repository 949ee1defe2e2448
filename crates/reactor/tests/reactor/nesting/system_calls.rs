//! The price of nesting, counted by strace: a reactor whose descriptor nobody has asked for pays nothing,
//! any other at most two calls a turn.

use crate::support::{next, ready_pair, reports};
use epoll_kit_testing::under_strace;
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Readiness, Ready, Token, Watch};
use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

const NAME: &str = "nesting::system_calls::nesting_costs_at_most_two_calls_a_turn";

const TURNS: usize = 50;

/// A path of which there is no file. Looked up before and after each section, it divides the trace.
const MARK: &str = "/epoll-reactor-test/";

#[test]
fn nesting_costs_at_most_two_calls_a_turn() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let options = ["-e", "trace=all", "-o", trace.to_str().unwrap()];
    if !under_strace(NAME, &options, make_turns) {
        return;
    }
    let trace = fs::read_to_string(trace).unwrap();
    let calls =
        |waits, reads, writes| vec![("epoll_wait", waits), ("read", reads), ("write", writes)];
    let expected = [
        ("not nested, reports", vec![("epoll_wait", TURNS)]),
        ("not nested, revisits", vec![("epoll_wait", TURNS)]),
        ("nested, nothing", vec![("epoll_wait", TURNS)]),
        // The signal stays set while revisits are due, and is renewed when the kernel has reported it.
        // The first one was asked for before the first turn.
        ("nested, revisits", calls(TURNS, 1, TURNS + 1)),
        ("nested, reports", calls(TURNS, TURNS, TURNS)),
        // Each wake is a write of its own.
        ("nested, wakes", calls(TURNS, TURNS, 2 * TURNS)),
        // Half of the turns go on with a batch and do not ask the kernel.
        ("nested, left early", calls(TURNS / 2, TURNS / 2, TURNS / 2)),
    ];
    assert_eq!(sections(&trace), expected);
}

/// The calls of each section, by name. What memory costs is not the reactor's doing.
fn sections(trace: &str) -> Vec<(&str, Vec<(&str, usize)>)> {
    let mut sections: Vec<(&str, Vec<(&str, usize)>)> = Vec::new();
    let mut own = None;
    for line in trace.lines() {
        let (tid, call) = line.split_once(' ').unwrap();
        if let Some((_, mark)) = call.split_once(MARK) {
            let (name, what) = mark.split_once('"').unwrap().0.split_once('/').unwrap();
            own = (what == "begins").then_some(tid);
            if own.is_some() {
                sections.push((name, Vec::new()));
            }
            continue;
        }
        // A line without a bracket goes on with an earlier one.
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        let is_memory = ["brk", "mmap", "munmap", "mremap", "mprotect", "madvise"].contains(&name);
        if own != Some(tid) || is_memory {
            continue;
        }
        let name = if name.starts_with("epoll_pwait") { "epoll_wait" } else { name };
        let (_, calls) = sections.last_mut().unwrap();
        match calls.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => calls.push((name, 1)),
        }
    }
    sections.iter_mut().for_each(|(_, calls)| calls.sort_unstable());
    sections
}

fn section(name: &str, body: impl FnOnce()) {
    assert!(!fs::exists(format!("{MARK}{name}/begins")).unwrap());
    body();
    assert!(!fs::exists(format!("{MARK}{name}/ends")).unwrap());
}

fn turn(reactor: &mut Reactor<Stream>) -> Vec<Token> {
    reactor.wait(Some(Duration::ZERO)).unwrap();
    reports(reactor).into_iter().map(|(token, _)| token).collect()
}

/// The body of the test, which is traced.
fn make_turns() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let ready = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let silent = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    let revisits = |reactor: &mut Reactor<Stream>| {
        reactor.revisit(silent, Readiness::IN);
        for left in (0..TURNS).rev() {
            reactor.wait(None).unwrap();
            assert_eq!(next(reactor), Some((silent, Readiness::IN)));
            if left > 0 {
                reactor.revisit(silent, Readiness::IN);
            }
            assert_eq!(next(reactor), None);
        }
    };

    section("not nested, reports", || {
        (0..TURNS).for_each(|_| assert_eq!(turn(&mut reactor), [ready]));
    });
    reactor.park(ready).unwrap();
    section("not nested, revisits", || revisits(&mut reactor));

    // A descriptor that was asked for may be watched.
    let _ = reactor.as_fd();
    section("nested, nothing", || (0..TURNS).for_each(|_| assert_eq!(turn(&mut reactor), [])));
    section("nested, revisits", || revisits(&mut reactor));
    reactor.unpark(ready).unwrap();
    section("nested, reports", || {
        (0..TURNS).for_each(|_| assert_eq!(turn(&mut reactor), [ready]));
    });
    reactor.park(ready).unwrap();
    let waker = reactor.waker();
    section("nested, wakes", || {
        for _ in 0..TURNS {
            waker.wake().unwrap();
            reactor.wait(Some(Duration::ZERO)).unwrap();
            assert!(matches!(reactor.next_ready(), Some(Ready::Woken)));
            assert_eq!(next(&mut reactor), None);
        }
    });
    reactor.unpark(ready).unwrap();
    let (ours, _theirs) = ready_pair();
    reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    section("nested, left early", || {
        for turn in 0..TURNS {
            reactor.wait(Some(Duration::ZERO)).unwrap();
            assert!(next(&mut reactor).is_some());
            if turn % 2 == 1 {
                assert_eq!(next(&mut reactor), None);
            }
        }
    });
}
