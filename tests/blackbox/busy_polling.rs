//! Busy polling: threads look for the next event without sleeping, for as long as they were told and no longer,
//! and see everything else meanwhile. Counts say so, not times.

use crate::harness::{Crowd, Launch, Mode, OBSERVATION, Server, Stats, alone, closed};
use crate::harness::{converse, ends, poll_input};
use epoll_kit_testing::eventually;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

/// Longer than any test: a thread that was busy sleeps no more, and one that saw nothing while it looks would
/// never see it.
const FOR_EVER: &str = "1h";

const MESSAGES: u64 = 50;

/// A pause after each message, in which a server that polls looks, and any other sleeps.
const PAUSE: Duration = Duration::from_millis(2);

/// The waits of all threads.
struct Waits {
    all: u64,
    /// The waits that did not sleep because of busy polling.
    spins: u64,
    events: u64,
}

/// Sends messages with pauses, calls `then`, and ends the server.
#[track_caller]
fn waits(launch: Launch, then: impl FnOnce(&Server)) -> Waits {
    let _alone = alone();
    let (launch, stats) = Stats::of(launch);
    let mut server = launch.start();
    let mut stream = server.client();
    for _ in 0..MESSAGES {
        converse(&mut stream, b"hello");
        thread::sleep(PAUSE);
    }
    then(&server);
    stream.shutdown(Shutdown::Write).unwrap();
    ends(&mut stream);
    server.drain();
    let reactor = &stats.read()["reactor"];
    let count = |name: &str| reactor[name].as_u64().expect("a number");
    Waits { all: count("waits"), spins: count("spins"), events: count("events") }
}

/// Waits until the server has run for a while, though nobody sends anything.
#[track_caller]
fn runs(server: &Server) {
    let before = server.process.cpu_ticks();
    eventually("it runs", || server.process.cpu_ticks() >= before + 3);
}

in_all_modes!(without_it_every_wait_brings_an_event);

fn without_it_every_wait_brings_an_event(mode: Mode) {
    for launch in [Launch::tcp(mode), Launch::tcp(mode).flag("--busy-poll", "0")] {
        let waits = waits(launch, |_| {});
        assert_eq!(waits.spins, 0);
        // Threads that share look once more for a source that is handed out again.
        let rest = if mode.is_shared() { waits.events } else { 0 };
        assert!(waits.all <= waits.events + rest, "{} of {}", waits.events, waits.all);
        assert!(waits.all >= MESSAGES);
    }
}

in_all_modes!(with_it_threads_that_were_busy_look_and_do_not_sleep);

fn with_it_threads_that_were_busy_look_and_do_not_sleep(mode: Mode) {
    let waits = waits(Launch::tcp(mode).flag("--busy-poll", FOR_EVER), runs);
    // Each thread before it has had anything to do.
    let sleeps = waits.all - waits.spins;
    assert!(sleeps <= u64::from(mode.threads() + 1), "{sleeps} waits that may sleep");
    assert!(waits.spins > waits.events, "{} looks, {} events", waits.spins, waits.events);
}

in_all_modes!(threads_without_connections_sleep_from_the_beginning);

fn threads_without_connections_sleep_from_the_beginning(mode: Mode) {
    let _alone = alone();
    let server = Launch::tcp(mode).flag("--busy-poll", FOR_EVER).start();
    server.process.await_rest();
}

/// The most attempts to find a server at rest.
const TRIES_MAX: u32 = 3;

in_all_modes!(when_the_time_is_over_it_sleeps);

fn when_the_time_is_over_it_sleeps(mode: Mode) {
    let _alone = alone();
    let (launch, stats) = Stats::of(Launch::tcp(mode).flag("--busy-poll", "5ms"));
    let mut server = launch.start();
    let mut crowd = Crowd::of(server.inet(), 30);
    for _ in 0..2 {
        crowd.all_are_served();
        // Threads may still be at the end of what they did.
        let is_at_rest = (0..TRIES_MAX).any(|_| {
            server.process.await_rest();
            let before = server.process.activity();
            assert!(!poll_input(&crowd.streams, OBSERVATION).contains(&true), "nobody has sent");
            before == server.process.activity()
        });
        assert!(is_at_rest, "a thread woke up or ran");
    }
    drop(crowd);
    server.drain();
    assert!(stats.read()["reactor"]["spins"].as_u64() > Some(0));
}

in_all_modes!(timers_fire_while_it_looks);

fn timers_fire_while_it_looks(mode: Mode) {
    let _alone = alone();
    let launch = Launch::tcp(mode).flag("--busy-poll", FOR_EVER).flag("--idle-timeout", "100ms");
    let (launch, stats) = Stats::of(launch);
    let mut server = launch.start();
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    // The server closes its half first.
    ends(&mut stream);
    drop(stream);
    server.drain();
    assert_eq!(closed(&stats.read(), "idle"), 1);
}

#[test]
fn the_log_says_so_if_it_is_on() {
    let started = |launch: Launch| {
        let server = launch.flag("--log-format", "json").start();
        let line = server.stderr.next_with(&["started"]);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        line.get("busy_polling").cloned()
    };
    let launch = || Launch::at("127.0.0.1:0");
    assert_eq!(started(launch()), None);
    assert_eq!(started(launch().flag("--busy-poll", "50us")), Some("50µs".into()));
}
