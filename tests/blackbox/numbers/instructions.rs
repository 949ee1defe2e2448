//! User-space instructions per message, counted by callgrind. A C loop written by hand takes 90 on
//! one connection and 67 a message with 50 ready.

use super::load::Ready;
use crate::harness::{Launch, Mode, Server, Tool, alone, converse, ends, tool};
use rustix::process::Signal;
use std::fs;
use std::net::Shutdown;

/// The messages of the shorter run.
const MESSAGES: u32 = 10_000;

#[track_caller]
fn instructions(valgrind: &Tool, launch: &Launch, ready: &Ready, rounds: u32) -> u64 {
    let launch = ready.bind(launch.clone());
    instructions_of(valgrind, launch, |server| ready.send(server.inet(), rounds))
}

/// Counts a server's instructions from its start to its end, `talk` in between.
#[track_caller]
fn instructions_of(valgrind: &Tool, launch: Launch, talk: impl FnOnce(&Server)) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("callgrind");
    let launch = launch.under([valgrind.path(), "--tool=callgrind".as_ref(), "-q".as_ref()]);
    let mut server = launch.under([format!("--callgrind-out-file={}", report.display())]).start();
    talk(&server);
    server.end(Signal::TERM);
    let report = fs::read_to_string(report).unwrap();
    let mut totals = report.lines().filter_map(|line| line.strip_prefix("totals: "));
    totals.next().and_then(|total| total.parse().ok()).expect("a line of totals")
}

#[track_caller]
fn cost_at_most(launch: &Launch, ready: &Ready, limit: f64) {
    let Some(valgrind) = tool("valgrind") else { return };
    if cfg!(debug_assertions) {
        eprintln!("left out: only what the optimizer has seen is worth counting");
        return;
    }
    // Where others keep the CPU busy, not all messages are there when the server comes to run.
    let _alone = (ready.count() > 1).then(alone);
    let rounds = MESSAGES / u32::try_from(ready.count()).unwrap();
    let once = instructions(&valgrind, launch, ready, rounds);
    let twice = instructions(&valgrind, launch, ready, 2 * rounds);
    let per_message = (twice as f64 - once as f64) / f64::from(MESSAGES);
    let (flags, count) = (launch.arguments(), ready.count());
    println!("{flags:?}, {count} ready: {per_message:.1} instructions a message");
    // Starting does not take the same number of instructions every time; over so many messages that
    // is a fraction of one.
    let whole = per_message.round();
    assert!(whole <= limit, "{per_message:.1} instructions a message, {limit} at most");
    // Fewer than the system calls alone take would mean that the wrong thing was measured.
    assert!(per_message > 20.0, "{per_message:.1} instructions a message");
}

in_both_modes!(at_most_114_a_message_on_one_active_connection);

fn at_most_114_a_message_on_one_active_connection(mode: Mode) {
    let untimed = ["--idle-timeout", "--write-timeout", "--linger-timeout"];
    let launch = untimed.iter().fold(Launch::tcp(mode), |launch, flag| launch.flag(flag, "0"));
    cost_at_most(&launch, &Ready::One, 114.0);
}

in_both_modes!(at_most_135_a_message_on_one_active_connection_with_timeouts);

/// A turn with timeouts reads the clock once. Several messages in a turn share that cost.
fn at_most_135_a_message_on_one_active_connection_with_timeouts(mode: Mode) {
    cost_at_most(&Launch::tcp(mode), &Ready::One, 135.0);
}

in_shared_modes!(at_most_250_a_message_on_one_active_connection_that_threads_may_share);

/// The price of a claim and a release, of a place that is looked up in a table that grows while others look,
/// and of a wait that looks whether the source of its first event is free, on a single thread. With one-shot
/// there is a system call more.
fn at_most_250_a_message_on_one_active_connection_that_threads_may_share(mode: Mode) {
    let limit = if mode == Mode::Oneshot { 250.0 } else { 230.0 };
    cost_at_most(&Launch::with_threads(mode, 1), &Ready::One, limit);
}

in_both_modes!(at_most_76_a_message_with_fifty_ready);

fn at_most_76_a_message_with_fifty_ready(mode: Mode) {
    let Some(fifty) = Ready::fifty() else { return };
    cost_at_most(&Launch::tcp(mode), &fifty, 76.0);
}

in_shared_modes!(at_most_175_a_message_with_fifty_ready_that_threads_may_share);

fn at_most_175_a_message_with_fifty_ready_that_threads_may_share(mode: Mode) {
    let Some(fifty) = Ready::fifty() else { return };
    let limit = if mode == Mode::Oneshot { 175.0 } else { 155.0 };
    cost_at_most(&Launch::with_threads(mode, 1), &fifty, limit);
}

in_modes!(at_most_2080_a_connection_with_a_message: level Level);

/// A C loop takes 213 to accept and close alone. Two runs of this are enough: what comes after the first
/// connection is the same in each.
fn at_most_2080_a_connection_with_a_message(mode: Mode) {
    const CONVERSATIONS: u32 = 500;
    let Some(valgrind) = tool("valgrind") else { return };
    if cfg!(debug_assertions) {
        eprintln!("left out: only what the optimizer has seen is worth counting");
        return;
    }
    let run = |count| {
        instructions_of(&valgrind, Launch::tcp(mode), |server| {
            for _ in 0..count {
                let mut stream = server.client();
                converse(&mut stream, b"hello");
                stream.shutdown(Shutdown::Write).unwrap();
                ends(&mut stream);
            }
        })
    };
    let (once, twice) = (run(CONVERSATIONS), run(2 * CONVERSATIONS));
    let cost = (twice as f64 - once as f64) / f64::from(CONVERSATIONS);
    println!("{mode}: {cost:.0} instructions a connection");
    assert!((500.0..=2080.0).contains(&cost), "{cost:.0} instructions a connection");
}
