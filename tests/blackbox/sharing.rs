//! Tests of what threads share: connections, the queue of those that wait, limits, and the statistics at the end.

use crate::harness::{Crowd, Launch, Mode, PATIENCE, Stats, alone, client, converse};
use crate::harness::{ends, exchange_words, is_cut_off, poll_input};
use serde_json::Value;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;

/// One number of each thread's statistics.
#[track_caller]
fn of_threads(stats: &Value, part: &str, name: &str) -> Vec<u64> {
    let threads = stats["threads"].as_array().expect("threads").iter();
    threads.map(|thread| thread[part][name].as_u64().expect("a number")).collect()
}

in_shared_modes!(each_connection_gets_its_own_words_in_order);

fn each_connection_gets_its_own_words_in_order(mode: Mode) {
    const WORDS: u64 = 100_000;
    let _alone = alone();
    let (launch, stats) = Stats::of(Launch::with_threads(mode, 4));
    let mut server = launch.start();
    exchange_words(server.inet(), 4, 16, WORDS);
    server.drain();
    let stats = stats.read();
    let connections = &stats["connections"];
    assert_eq!(connections["closed"], serde_json::json!({"peer-closed": 64}));
    let bytes = (&connections["bytes_received"], &connections["bytes_sent"]);
    assert_eq!(bytes, (&(64 * 8 * WORDS).into(), &(64 * 8 * WORDS).into()));
    let events = of_threads(&stats, "reactor", "events");
    println!("{}: events of each thread: {:?}", mode.flags_with(4).join(" "), &events[1..]);
    let busy = events[1..].iter().filter(|count| **count > 0).count();
    assert!(busy >= 2, "nothing was contended for: {events:?}");
}

in_shared_modes!(the_end_is_answered_though_nothing_else_happens);

/// Threads that wait may be looking at a connection while another one closes it. If one of them were
/// left with it and slept on, the end would come with whatever wakes that thread. Here nothing does.
fn the_end_is_answered_though_nothing_else_happens(mode: Mode) {
    const ROUNDS: u32 = 1000;
    const CLIENTS: u32 = 4;
    let _alone = alone();
    let server = Launch::with_threads(mode, 4).start();
    let address = server.inet();
    let begin_and_end = || {
        let mut streams = [(); 2].map(|()| client(address));
        streams.iter_mut().for_each(|stream| converse(stream, b"hello"));
        for stream in &mut streams {
            stream.shutdown(Shutdown::Write).unwrap();
            ends(stream);
        }
    };
    for _ in 0..ROUNDS {
        thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(begin_and_end))));
    }
}

/// Returns the number of connections that each of two threads has opened, of 2 000 in all.
#[track_caller]
fn shares(mode: Mode, connect: impl FnOnce(std::net::SocketAddr)) -> Vec<u64> {
    let _alone = alone();
    let (launch, stats) = Stats::of(Launch::with_threads(mode, 2));
    let mut server = launch.start();
    connect(server.inet());
    server.drain();
    let stats = stats.read();
    assert_eq!(stats["connections"]["opened"], 2000);
    assert_eq!(stats["accept"]["accepted"], 2000);
    let opened = of_threads(&stats, "connections", "opened");
    assert_eq!(opened.len(), 2);
    opened
}

in_modes!(every_thread_takes_its_share: reuseport Reuseport, exclusive Exclusive);

fn every_thread_takes_its_share(mode: Mode) {
    let held = shares(mode, |server| drop(Crowd::of(server, 2000)));
    let one_by_one = shares(mode, |server| {
        for _ in 0..2000 {
            converse(&mut client(server), b"hello");
        }
    });
    let flags = mode.flags_with(2).join(" ");
    println!("{flags}: connections of each thread: {held:?} held, {one_by_one:?} one by one");
    // The kernel would give all of them to one thread, which it always asks first, if that stayed first.
    let is_fair = |shares: &[u64]| shares.iter().all(|share| *share >= 200);
    assert!(is_fair(&held) && is_fair(&one_by_one), "a thread that has next to no work");
}

in_all_modes!(the_limit_of_connections_holds_for_all_threads_together);

/// Everybody connects while the server is stopped, so all its threads accept at the same time.
fn the_limit_of_connections_holds_for_all_threads_together(mode: Mode) {
    const MAX: usize = 37;
    for _ in 0..3 {
        let (launch, stats) =
            Stats::of(Launch::with_threads(mode, 3).flag("--max-connections", "37"));
        let mut server = launch.start();
        server.process.stop();
        let mut streams: Vec<TcpStream> = (0..150).map(|_| server.client()).collect();
        for stream in &mut streams {
            stream.write_all(b"x").unwrap();
        }
        server.process.signal(rustix::process::Signal::CONT);
        let is_kept = |stream: &mut TcpStream| {
            poll_input(&[&*stream], PATIENCE);
            !is_cut_off(stream)
        };
        streams.retain_mut(is_kept);
        assert_eq!(streams.len(), MAX);
        streams.iter_mut().for_each(|stream| converse(stream, b"within"));
        drop(streams);
        server.drain();
        let connections = &stats.read()["connections"];
        let counts = (&connections["opened"], &connections["refused"]);
        assert_eq!(counts, (&MAX.into(), &(150 - MAX).into()));
    }
}

in_all_modes!(the_statistics_have_an_entry_for_each_thread);

fn the_statistics_have_an_entry_for_each_thread(mode: Mode) {
    for threads in [1, 3] {
        let (launch, stats) = Stats::of(Launch::with_threads(mode, threads));
        let mut server = launch.start();
        Crowd::of(server.inet(), 20).all_are_served();
        server.drain();
        let stats = stats.read();
        let opened = of_threads(&stats, "connections", "opened");
        // Where threads share connections, the one that serves none comes first.
        assert_eq!(opened.len(), threads as usize + usize::from(mode.is_shared()));
        assert_eq!(opened.iter().sum::<u64>(), 20);
        let accepted = of_threads(&stats, "accept", "accepted");
        if mode.is_shared() {
            assert_eq!((accepted[0], opened[0]), (20, 0), "it counts for all: {stats:#}");
            assert_eq!(of_threads(&stats, "connections", "bytes_received")[0], 0);
        } else {
            assert_eq!(accepted, opened);
        }
        assert_eq!(stats["connections"]["bytes_received"], 20 * (7 + 64));
    }
}
