//! Heap allocations, counted by memcheck: a message makes none, nor does a connection.

use super::load::Ready;
use crate::harness::{Launch, Mode, Server, Tool, converse, ends, tool};
use rustix::process::Signal;
use std::fs;
use std::net::Shutdown;

/// The messages of the shorter run.
const MESSAGES: u32 = 2_000;

/// The connections of the shorter run, one after the other.
const CONNECTIONS: u32 = 500;

/// Returns the allocations of a server from its start to its end, `talk` in between.
#[track_caller]
fn allocations(valgrind: &Tool, launch: &Launch, talk: impl FnOnce(&Server)) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("memcheck");
    let launch = launch.clone().under([valgrind.path(), "--leak-check=no".as_ref()]);
    let mut server = launch.under([format!("--log-file={}", report.display())]).start();
    talk(&server);
    server.end(Signal::TERM);
    let report = fs::read_to_string(report).unwrap();
    let (_, usage) = report.split_once("total heap usage: ").expect("a line of heap usage");
    let count: String = usage.chars().take_while(|c| *c != ' ').filter(|c| *c != ',').collect();
    count.parse().expect("a number of allocations")
}

in_modes!(a_message_makes_none: level Level, edge Edge, oneshot Oneshot, edge_shared EdgeShared);

fn a_message_makes_none(mode: Mode) {
    let Some(valgrind) = tool("valgrind") else { return };
    let launch = Launch::tcp(mode);
    let run =
        |count| allocations(&valgrind, &launch, |server| Ready::One.send(server.inet(), count));
    let (once, twice) = (run(MESSAGES), run(2 * MESSAGES));
    println!("{mode}: {once} allocations with {MESSAGES} messages, {twice} with twice as many");
    assert!(once > 0, "starting takes some");
    // What starting takes is not quite the same every time.
    assert!(twice.abs_diff(once) < u64::from(MESSAGES) / 100, "{once}, then {twice}");
}

in_modes!(a_connection_makes_none: level Level, edge Edge, oneshot Oneshot, edge_shared EdgeShared);

fn a_connection_makes_none(mode: Mode) {
    let Some(valgrind) = tool("valgrind") else { return };
    let launch = Launch::tcp(mode);
    let run = |count| {
        allocations(&valgrind, &launch, |server| {
            for _ in 0..count {
                let mut stream = server.client();
                converse(&mut stream, b"hello");
                stream.shutdown(Shutdown::Write).unwrap();
                ends(&mut stream);
            }
        })
    };
    let (once, twice) = (run(CONNECTIONS), run(2 * CONNECTIONS));
    println!(
        "{mode}: {once} allocations with {CONNECTIONS} connections, {twice} with twice as many"
    );
    assert!(twice.abs_diff(once) < u64::from(CONNECTIONS) / 50, "{once}, then {twice}");
}
