//! Ten thousand connections at once.

use crate::harness::{Crowd, Launch, Mode, Server, Stats, alone, converse, uninterrupted};
use rustix::process::{Resource, Signal, getrlimit};
use std::io::{ErrorKind, Read};
use std::time::Instant;

in_all_modes!(ten_thousand_connections_are_open_at_once_and_all_served);

fn ten_thousand_connections_are_open_at_once_and_all_served(mode: Mode) {
    let _alone = alone();
    let server = Server::start(mode);
    let mut crowd = Crowd::of(server.inet(), 10_000);
    crowd.all_are_served();
    // Half of them leave, in an order that has nothing to do with how they came.
    let mut at = 0_usize;
    crowd.streams.retain(|_| {
        at += 1;
        at % 2 == 0
    });
    crowd.all_are_served();
    converse(&mut server.client(), b"one more");
}

/// The number of connections, or half of it where the hard limit of descriptors is lower.
const CONNECTIONS: usize = 10_000;
/// Descriptors for all that is no connection.
const RESERVE: u64 = 100;

in_all_modes!(ten_thousand_idle_connections_are_drained_and_none_is_reset);

fn ten_thousand_idle_connections_are_drained_and_none_is_reset(mode: Mode) {
    let _alone = alone();
    let is_enough = getrlimit(Resource::Nofile)
        .current
        .is_none_or(|limit| limit >= CONNECTIONS as u64 + RESERVE);
    let count = if is_enough { CONNECTIONS } else { CONNECTIONS / 2 };
    // No time may run out however busy the machine is: at half time connections would be ended that are
    // still to be looked at.
    let launch = Launch::tcp(mode).flag("--drain-timeout", "2m").flag("--linger-timeout", "0");
    let (launch, stats) = Stats::of(launch);
    let mut server = launch.start();
    let crowd = Crowd::of(server.inet(), count);
    let begin = Instant::now();
    server.process.signal(Signal::TERM);
    let mut resets = 0;
    for mut stream in crowd.streams {
        match uninterrupted(|| stream.read(&mut [0; 16])) {
            Ok(len) => assert_eq!(len, 0, "bytes that nobody asked for"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => resets += 1,
            Err(error) => panic!("no end: {error}"),
        }
    }
    let status = server.await_end();
    println!("{mode}: {count} connections drained in {:?}", begin.elapsed());
    assert_eq!((resets, status.code()), (0, Some(0)), "resets, status");
    let connections = &stats.read()["connections"];
    assert_eq!(connections["opened"], count);
    assert_eq!(connections["closed"], serde_json::json!({ "drained": count }));
}
