//! System calls per message and per conversation, counted by strace. The floor is three for a
//! single message: one that waits, one that reads, one that writes; the wait is shared by all that
//! are ready.

use super::load::Ready;
use crate::harness::{Launch, Mode, Server, Tool, alone, converse, ends, tool};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::net::Shutdown;

/// The number of calls of each system call.
pub(super) type Calls = BTreeMap<String, f64>;

/// Counts a server's calls from its start to its end, `talk` in between.
#[track_caller]
pub(super) fn calls(strace: &Tool, launch: Launch, talk: impl FnOnce(&Server)) -> Calls {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("calls");
    let traced = launch.outermost([strace.path(), "-fco".as_ref(), report.as_path()]);
    let mut server = traced.start();
    talk(&server);
    server.end(Signal::KILL);
    counts(&fs::read_to_string(report).unwrap())
}

/// The columns are: share of time, seconds, microseconds per call, calls, errors if any, name.
fn counts(report: &str) -> Calls {
    let rows = report.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter_map(|row| Some((row.last()?.to_string(), row.get(3)?.parse().ok()?)))
        .filter(|(name, _)| name != "total")
        .collect()
}

/// Returns what one of `count` repetitions costs that one run has more than the other.
fn each(once: &Calls, twice: &Calls, count: f64) -> Calls {
    let more = |(name, calls): (&String, &f64)| {
        (name.clone(), (calls - once.get(name).unwrap_or(&0.0)) / count)
    };
    twice.iter().map(more).filter(|(_, calls)| *calls != 0.0).collect()
}

/// The number of counts: where others keep the CPU busy, the server may come to run while not
/// all messages are written, and then needs one more wait. It never needs one less.
const TRIES_MAX: u32 = 3;

/// Checks how many system calls a message costs on one thread, and that no more of them change a
/// registration than have to.
#[track_caller]
fn message_costs(mode: Mode, ready: &Ready, rounds: u32, expected: f64, tolerance: f64) {
    let Some(strace) = tool("strace") else { return };
    let _alone = alone();
    let run = |rounds| {
        let launch = ready.bind(Launch::with_threads(mode, 1));
        calls(&strace, launch, |server| ready.send(server.inet(), rounds))
    };
    let arming = arming(mode);
    let expected = expected + arming;
    let count = ready.count() as f64;
    let messages = f64::from(rounds) * count;
    // Where threads share, a close takes one, which the server has made or not when it is killed; so it is
    // with the arming after the last answer.
    let closing = if mode.is_shared() { count + arming } else { 0.0 };
    let mut seen = Vec::new();
    for _ in 0..TRIES_MAX {
        let (once, twice) = (run(rounds), run(2 * rounds));
        // One for each connection, and some for what else is watched. Each has two messages before the
        // rounds.
        let registering = once["epoll_ctl"] - arming * (2.0 * count + messages);
        assert!(registering <= count + closing + 10.0, "{once:?}");
        let changes = twice["epoll_ctl"] - once["epoll_ctl"] - arming * messages;
        assert!(changes.abs() <= closing, "once {once:?}, twice {twice:?}");
        let cost = each(&once, &twice, messages);
        let total: f64 = cost.values().sum();
        println!(
            "{}, {count} ready: {total:.3} system calls a message",
            mode.flags_with(1).join(" ")
        );
        if (total - expected).abs() <= tolerance {
            return;
        }
        seen.push(cost);
    }
    panic!("not {expected} system calls a message: {seen:#?}");
}

/// Returns the cost of arming a connection again that its report has disarmed.
fn arming(mode: Mode) -> f64 {
    if mode == Mode::Oneshot { 1.0 } else { 0.0 }
}

in_both_modes!(three_a_message_on_one_active_connection);

fn three_a_message_on_one_active_connection(mode: Mode) {
    message_costs(mode, &Ready::One, 1000, 3.0, 0.01);
}

in_shared_modes!(a_message_to_threads_that_share_costs_an_arming_at_most_and_nothing_else);

/// The arming of a one-shot connection is one `epoll_ctl`. Nothing else is there for sharing; no
/// thread ever waits for another one, which would be a `futex`.
fn a_message_to_threads_that_share_costs_an_arming_at_most_and_nothing_else(mode: Mode) {
    const MESSAGES: u32 = 2000;
    let Some(strace) = tool("strace") else { return };
    let _alone = alone();
    for threads in [1, 2] {
        let run = |rounds| {
            let launch = Launch::with_threads(mode, threads);
            calls(&strace, launch, |server| Ready::One.send(server.inet(), rounds))
        };
        let cost = each(&run(MESSAGES), &run(2 * MESSAGES), f64::from(MESSAGES));
        println!("{}: {cost:.3?} a message", mode.flags_with(threads).join(" "));
        let arming = arming(mode);
        let expected = [("epoll_ctl", arming), ("read", 1.0), ("sendto", 1.0)];
        let (waits, others): (Calls, Calls) = cost.into_iter().partition(|(name, _)| is_wait(name));
        for (name, expected) in expected {
            let count = others.get(name).unwrap_or(&0.0);
            assert!((count - expected).abs() <= 0.01, "{name} not {expected} times: {others:?}");
        }
        let all: f64 = others.values().sum();
        assert!((all - 2.0 - arming).abs() <= 0.01, "more than expected: {others:?}");
        // Of a message that is faster than the end of the lease another thread is told. It leaves a
        // note and waits again, and the first one looks once more before it sleeps.
        let waits_max = if threads == 1 { 1.01 } else { 3.01 };
        let waits: f64 = waits.values().sum();
        assert!(waits <= waits_max, "{waits} waits");
    }
}

fn is_wait(name: &str) -> bool {
    name.starts_with("epoll_wait") || name.starts_with("epoll_pwait")
}

in_modes!(two_a_message_and_a_shared_wait_with_fifty_ready: level Level, edge Edge,
    oneshot Oneshot, edge_shared EdgeShared);

fn two_a_message_and_a_shared_wait_with_fifty_ready(mode: Mode) {
    let Some(fifty) = Ready::fifty() else { return };
    message_costs(mode, &fifty, 40, 2.02, 0.03);
}

in_both_modes!(a_conversation_of_one_message_costs_no_call_too_many);

fn a_conversation_of_one_message_costs_no_call_too_many(mode: Mode) {
    const CONVERSATIONS: u32 = 300;
    let Some(strace) = tool("strace") else { return };
    let _alone = alone();
    let run = |count| {
        calls(&strace, Launch::tcp(mode), |server| {
            for _ in 0..count {
                let mut stream = server.client();
                converse(&mut stream, b"hello");
                stream.shutdown(Shutdown::Write).unwrap();
                ends(&mut stream);
            }
        })
    };
    conversation_costs(mode, CONVERSATIONS, &run(CONVERSATIONS), &run(2 * CONVERSATIONS));
}

#[track_caller]
fn conversation_costs(mode: Mode, count: u32, once: &Calls, twice: &Calls) {
    let cost = each(once, twice, f64::from(count));
    println!("{mode}: {cost:.2?} for a conversation of one message");
    let of = |names: &[&str]| -> f64 { names.iter().filter_map(|name| cost.get(*name)).sum() };
    for (names, expected) in [
        // Only where connections wait together another one finds out that the queue is empty.
        (&["accept4"][..], 1.0),
        // Closing is what ends the registration.
        (&["epoll_ctl"], 1.0),
        (&["read", "recv", "recvfrom"], 2.0),
        (&["write", "send", "sendto"], 1.0),
        (&["close"], 1.0),
    ] {
        assert!((of(names) - expected).abs() <= 0.02, "{names:?} not {expected} times: {cost:?}");
    }
    // For the connection, the message and the end, or fewer when two of them come at once, so the
    // difference of two runs says nothing. Edge-triggered, the room to write is reported first,
    // alone where the message is late.
    let waits: f64 = twice.iter().filter(|(name, _)| is_wait(name)).map(|(_, calls)| calls).sum();
    let waits_max = if mode == Mode::Edge { 4.0 } else { 3.0 };
    assert!(waits <= f64::from(2 * count) * waits_max + 10.0, "{twice:?}");
    // A debug build also asks each descriptor whether it blocks.
    let others = if cfg!(debug_assertions) { 7.04 } else { 6.04 };
    let counted: f64 = cost.iter().filter(|(name, _)| !is_wait(name)).map(|(_, calls)| calls).sum();
    assert!(counted <= others, "{cost:?}");
}
