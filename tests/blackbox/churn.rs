//! Connections that come and go all the time: nothing of them is left in the server.

use crate::harness::{Launch, Mode, Server, Stats, alone, client, converse};
use epoll_kit_testing::eventually;
use std::net::SocketAddr;
use std::{env, thread};

/// More connections than every test run makes.
const COUNT_VARIABLE: &str = "EPOLL_KIT_CHURN";
const COUNT: usize = 20_000;
/// Connections that come before: what is grown or loaded once is there when the count begins.
const WARM_UP: usize = 2_000;
const CLIENTS: usize = 8;
/// Ports to connect to. A port of ours that was used is not free for the same one for a while.
const LISTENERS: usize = 8;

/// The memory that a server may have gained in the end. A record of 26 bytes that stays of each
/// connection would be more.
const KIB_MAX: u64 = 512;
const ROUNDS_MAX: usize = 3;

in_all_modes!(connections_that_come_and_go_leave_nothing);

fn connections_that_come_and_go_leave_nothing(mode: Mode) {
    let _alone = alone();
    let count = env::var(COUNT_VARIABLE).map_or(COUNT, |count| count.parse().expect("a number"));
    let (mut launch, stats) = Stats::of(Launch::tcp(mode));
    for _ in 1..LISTENERS {
        launch = launch.flag("--listen", "127.0.0.1:0");
    }
    let mut server = launch.start();
    let mut addresses = vec![server.inet()];
    addresses.extend((1..LISTENERS).map(|_| server.next_address().parse::<SocketAddr>().unwrap()));
    let descriptors = server.process.descriptors().len();
    let mut total = come_and_go(&addresses, WARM_UP);
    await_descriptors(&server, descriptors);
    let mut memory = vec![server.process.memory_kib("Anonymous")];
    // What stays of each connection stays every time; what the heap has grown by once does not.
    while !has_settled(&memory) && memory.len() <= ROUNDS_MAX {
        total += come_and_go(&addresses, count);
        await_descriptors(&server, descriptors);
        memory.push(server.process.memory_kib("Anonymous"));
    }
    server.drain();
    let stats = stats.read();
    assert_eq!(stats["connections"]["opened"], total);
    assert_eq!(stats["connections"]["closed"]["peer-closed"], total);
    assert_eq!(stats["connections"]["bytes_sent"], total * 64);
    let stale = &stats["reactor"]["stale"];
    println!("{mode}: {memory:?} KiB; {descriptors} descriptors; {stale} stale");
    assert!(has_settled(&memory), "{memory:?} KiB");
}

fn has_settled(memory_kib: &[u64]) -> bool {
    memory_kib.windows(2).any(|pair| pair[1] <= pair[0] + KIB_MAX)
}

/// Makes `count` connections or a few more, as many for every client; how many they were.
#[track_caller]
fn come_and_go(servers: &[SocketAddr], count: usize) -> usize {
    let each = count.div_ceil(CLIENTS);
    thread::scope(|scope| {
        for server in servers.iter().cycle().take(CLIENTS) {
            scope.spawn(move || {
                for _ in 0..each {
                    converse(&mut client(*server), &[b'c'; 64]);
                }
            });
        }
    });
    each * CLIENTS
}

#[track_caller]
fn await_descriptors(server: &Server, expected: usize) {
    eventually(&format!("it has {expected} descriptors"), || {
        server.process.descriptors().len() == expected
    });
}
