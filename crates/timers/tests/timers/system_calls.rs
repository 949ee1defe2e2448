//! The costs of timers in system calls, counted by strace: the timerfd is set when the earliest
//! deadline becomes earlier, and after it fired. Nothing else costs a call.

use crate::support::{HOUR, MILLISECOND, SECOND, STEPS_MAX, fired};
use epoll_kit_testing::under_strace;
use epoll_timers::{Key, TICK, Timers, Timestamp, Wheel};
use std::fs;

const NAME: &str = "system_calls::the_timerfd_is_set_only_when_it_has_to_be";

/// The beginning of the marks in the trace: a path at which there is no file.
const MARK: &str = "/epoll-timers-test/";
/// The mark that says what the timers have counted themselves.
const COUNTER: &str = "counter";

#[test]
fn the_timerfd_is_set_only_when_it_has_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let options = ["-e", "trace=all", "-o", trace.to_str().unwrap()];
    if !under_strace(NAME, &options, use_timers) {
        return;
    }
    let trace = fs::read_to_string(trace).unwrap();
    let sections = sections(&trace);
    assert_eq!(sections.len(), 11, "{sections:?}");
    for Section { name, expected, counted } in sections {
        let expected = if expected == 0 { vec![] } else { vec![("timerfd_settime", expected)] };
        assert_eq!(counted, expected, "{name}");
    }
    let calls = trace.matches("timerfd_settime(").count();
    assert!(trace.contains(&format!("{MARK}{COUNTER}/{calls}\"")), "not {calls} by the counter");
}

/// A stretch of the trace, the calls that were made in it, and how often the timerfd should be set.
#[derive(Debug)]
struct Section<'a> {
    name: &'a str,
    expected: usize,
    counted: Vec<(&'a str, usize)>,
}

/// Runs `body` between two marks; it answers how often it expects the timerfd to be set.
fn section(name: &str, body: impl FnOnce() -> usize) {
    mark(name, "begins");
    let expected = body();
    mark(name, &expected.to_string());
}

fn mark(name: &str, what: &str) {
    assert!(!fs::exists(format!("{MARK}{name}/{what}")).unwrap());
}

/// The sections of the trace, with the calls of the thread that ran them. What memory costs is not
/// the timers' doing.
fn sections(trace: &str) -> Vec<Section<'_>> {
    let (mut sections, mut current) = (Vec::new(), None);
    for line in trace.lines() {
        let (tid, call) = line.split_once(' ').unwrap();
        if let Some((_, mark)) = call.split_once(MARK) {
            let (mark, _) = mark.split_once('"').unwrap();
            let (name, what) = mark.split_once('/').unwrap();
            if what == "begins" {
                current = Some((tid, Section { name, expected: 0, counted: Vec::new() }));
            } else if let Some((_, section)) = current.take() {
                sections.push(Section { expected: what.parse().unwrap(), ..section });
            }
            continue;
        }
        // A line without a bracket, or with an angle before it, goes on with an earlier one.
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        let is_memory = ["brk", "mmap", "munmap", "mremap", "mprotect", "madvise"].contains(&name);
        if let Some((_, section)) = current.as_mut().filter(|(own, _)| *own == tid && !is_memory) {
            match section.counted.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => section.counted.push((name, 1)),
            }
        }
    }
    sections
}

/// The body of the test, which is traced. Time is what it says, so that nothing depends on how long
/// it takes.
fn use_timers() {
    let mut timers: Timers<u32> = Timers::new().unwrap();
    timers.set_steps_max(STEPS_MAX);
    let start = timers.now();
    assert_eq!(expire(&mut timers, start), 0);

    let keys = putting_in_and_off(&mut timers, start);
    section("empty passes", || {
        for _ in 0..1000 {
            assert_eq!(expire(&mut timers, start), 0);
        }
        0
    });
    section("cancelled", || {
        assert!(keys.into_iter().all(|key| timers.cancel(key).is_some()));
        0
    });
    section("nothing left", || {
        // What it was set for has passed; it has to be unset.
        assert_eq!(expire(&mut timers, start + 4 * HOUR), 0);
        assert_eq!(expire(&mut timers, start + 5 * HOUR), 0);
        1
    });
    let start = start + 5 * HOUR;
    section("each earlier", || earlier_each_time(&mut timers, start));
    firing(&mut timers, start + 3 * HOUR);
    mark(COUNTER, &timers.settime_calls().to_string());
}

#[track_caller]
fn expire(timers: &mut Timers<u32>, now: Timestamp) -> usize {
    let count = std::iter::from_fn(|| timers.next_due(now).unwrap()).count();
    assert!(timers.next_expiry().is_none_or(|next| next > now));
    count
}

fn putting_in_and_off(timers: &mut Timers<u32>, start: Timestamp) -> Vec<Key> {
    // Room is made before, because an allocator may read a file when it gives memory back.
    let mut keys = Vec::with_capacity(11_000);
    timers.reserve(11_000);
    section("each later", || {
        for value in 0..10_000 {
            keys.push(timers.insert(start + HOUR + value * MILLISECOND, value).unwrap());
        }
        1
    });
    section("equal", || {
        keys.extend((0..1000).map(|value| timers.insert(start + HOUR, value).unwrap()));
        0
    });
    section("put off", || {
        for key in &keys {
            assert!(timers.reschedule(*key, start + 3 * HOUR).unwrap());
        }
        0
    });
    section("earlier but not first", || {
        for key in &keys {
            assert!(timers.reschedule(*key, start + 2 * HOUR).unwrap());
        }
        0
    });
    keys
}

/// Makes the earliest deadline earlier several times, and returns the number of times that `next_expiry` of a wheel
/// changes.
fn earlier_each_time(timers: &mut Timers<u32>, start: Timestamp) -> usize {
    let mut wheel = Wheel::new(TICK).unwrap();
    assert!(fired(&mut wheel, start).is_empty());
    let (mut next, mut changes) = (None, 0);
    for halvings in 0..20 {
        let deadline = start + HOUR / (1 << halvings);
        timers.insert(deadline, halvings).unwrap();
        wheel.insert(deadline, halvings);
        changes += usize::from(wheel.next_expiry() != next);
        next = wheel.next_expiry();
    }
    assert!(changes > 1);
    changes
}

/// The last timers go with the first section; each other one leaves none.
fn firing(timers: &mut Timers<u32>, start: Timestamp) {
    assert!(expire(timers, start) > 0);
    section("one after the other", || {
        timers.insert(start + SECOND, 1).unwrap();
        timers.insert(start + HOUR, 2).unwrap();
        assert_eq!(expire(timers, start + 2 * SECOND), 1);
        assert_eq!(expire(timers, start + 2 * HOUR), 1);
        assert_eq!(expire(timers, start + 3 * HOUR), 0);
        // For the first, for the second, and for none.
        3
    });
    let start = start + 3 * HOUR;
    section("the first is cancelled", || {
        let first = timers.insert(start + SECOND, 1).unwrap();
        let second = timers.insert(start + HOUR, 2).unwrap();
        assert_eq!(timers.cancel(first), Some(1));
        for _ in 0..10 {
            assert_eq!(expire(timers, start + 2 * SECOND), 0);
        }
        assert_eq!(timers.cancel(second), Some(2));
        2
    });
    assert_eq!(expire(timers, start + 3 * HOUR), 0);
    let start = start + 3 * HOUR;
    section("a step a pass", || {
        for value in 0..10 {
            timers.insert(start, value).unwrap();
        }
        timers.set_steps_max(1);
        let (mut calls, now) = (1, start + SECOND);
        while timers.next_expiry().is_some_and(|next| next <= now) {
            while timers.next_due(now).unwrap().is_some() {}
            calls += 1;
        }
        calls
    });
}
