//! Heap allocations, counted by memcheck: a message makes none.

use super::load::Ready;
use crate::harness::{Launch, Mode, Tool, alone, tool};
use rustix::process::Signal;
use std::fs;

/// The messages of the shorter run.
const MESSAGES: u32 = 2_000;

#[track_caller]
fn allocations(valgrind: &Tool, launch: &Launch, messages: u32) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("memcheck");
    let launch = launch.clone().under([valgrind.path(), "--leak-check=no".as_ref()]);
    let mut server = launch.under([format!("--log-file={}", report.display())]).start();
    Ready::One.send(server.inet(), messages);
    server.end(Signal::TERM);
    let report = fs::read_to_string(report).unwrap();
    let (_, usage) = report.split_once("total heap usage: ").expect("a line of heap usage");
    let count: String = usage.chars().take_while(|c| *c != ' ').filter(|c| *c != ',').collect();
    count.parse().expect("a number of allocations")
}

in_modes!(a_message_makes_none: level Level, edge Edge, oneshot Oneshot, edge_shared EdgeShared);

fn a_message_makes_none(mode: Mode) {
    let Some(valgrind) = tool("valgrind") else { return };
    let _alone = alone();
    let launch = Launch::tcp(mode);
    let once = allocations(&valgrind, &launch, MESSAGES);
    let twice = allocations(&valgrind, &launch, 2 * MESSAGES);
    println!("{mode}: {once} allocations with {MESSAGES} messages, {twice} with twice as many");
    assert!(once > 0, "starting takes some");
    // What starting takes is not quite the same every time.
    assert!(twice.abs_diff(once) < u64::from(MESSAGES) / 100, "{once}, then {twice}");
}
