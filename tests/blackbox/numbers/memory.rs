//! The costs of an idle connection: memory of the process, and wake-ups.

use crate::harness::{Crowd, Mode, OBSERVATION, Server, alone, poll_input};
use epoll_kit_testing::eventually;

/// All connections, with those that come before the count begins.
const CONNECTIONS: usize = 14_200;

/// Returns the number of connections before the count. What is loaded once is there by then, and the tables have
/// outgrown the heap, where each length that they outgrow leaves its pages: from here on they are mappings, which grow
/// in place. A table that threads share grows by a sixteenth, and is as full at the beginning of the count as at its
/// end.
fn warm_up(mode: Mode) -> usize {
    if mode.is_shared() { 4_200 } else { 8_700 }
}

const BYTES_MAX: f64 = 120.0;

in_modes!(an_idle_connection_takes_120_bytes_at_most_and_never_wakes_the_server: level Level,
    edge Edge, oneshot Oneshot, edge_shared EdgeShared);

fn an_idle_connection_takes_120_bytes_at_most_and_never_wakes_the_server(mode: Mode) {
    let _alone = alone();
    let server = Server::start(mode);
    let _first = Crowd::of(server.inet(), warm_up(mode));
    // Pages of its own that it has written to: the heap, the stack and the data.
    let before = server.process.memory_kib("Anonymous");
    let count = CONNECTIONS - warm_up(mode);
    let crowd = Crowd::of(server.inet(), count);
    let after = server.process.memory_kib("Anonymous");
    let bytes = 1024.0 * (after as f64 - before as f64) / count as f64;
    println!("{mode}: {bytes:.1} bytes per idle connection ({before} KiB, then {after} KiB)");
    is_at_rest(mode, &server, &crowd);
    assert!(bytes <= BYTES_MAX, "{bytes:.1} bytes per idle connection");
}

/// Asserts that the server does not run at all while no client sends.
#[track_caller]
fn is_at_rest(mode: Mode, server: &Server, crowd: &Crowd) {
    eventually("the server comes to rest", || server.process.sleeps());
    let activity = || {
        let switches = server.process.status("voluntary_ctxt_switches");
        (switches, server.process.status("nonvoluntary_ctxt_switches"), server.process.cpu_ticks())
    };
    let before = activity();
    assert!(!poll_input(&crowd.streams, OBSERVATION).contains(&true), "nobody has sent anything");
    println!("{mode}: wake-ups and CPU time at rest: {before:?}, then {:?}", activity());
    assert_eq!(activity(), before, "it woke up or ran");
}
