//! Passes over many connections: each is made in slices, between which others are served.

use crate::logs::{Logs, counters};
use crate::script::World;
use crate::support::{Client, MODES, Running, config, serve, signals, terminate};
use epoll_kit_testing::eventually;
use epoll_service::{Config, Mode, Signal, Signals, Timeouts};
use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

/// More than fit two slices.
const CONNECTIONS: usize = 2500;

/// The length of a slice.
const SLICE_LEN: usize = 1024;

/// Calls `test` for all modes with a thread that has all connections, and with three that share them.
fn for_every_mode(mut test: impl FnMut(&Signals, Config)) {
    let signals = Signals::block([Signal::TERM, Signal::INT, Signal::USR1]).unwrap();
    for mode in MODES {
        for threads in if mode.is_shared() { &[1, 3][..] } else { &[1] } {
            eprintln!("{mode:?} with {threads} threads");
            test(&signals, config(mode, *threads));
        }
    }
}

/// Returns clients whose connections are open.
fn many(running: &Running) -> Vec<Client> {
    let open = || running.world.count("accepted open");
    let before = open();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| running.client()).collect();
    eventually("all are open", || open() == before + CONNECTIONS);
    clients
}

/// Asserts that there were `count` visits, and not of too many connections in a turn.
fn assert_in_slices(world: &World, count: usize) {
    let visits = world.state().visits.clone();
    assert_eq!(visits.len(), count);
    let mut turns: HashMap<_, HashSet<_>> = HashMap::new();
    for (turn, connection) in visits {
        turns.entry(turn).or_default().insert(connection);
    }
    let most = turns.values().map(HashSet::len).max();
    assert!(most.is_some_and(|most| most <= SLICE_LEN), "{most:?} in a turn");
}

pub(crate) fn a_drain_tells_many_connections_and_serves_others_meanwhile() {
    for_every_mode(|signals, config| {
        let world = World::default();
        let is_shared = config.mode.is_shared();
        serve(signals, &config, &world, move |running| {
            let mut clients = many(running);
            running.world.state().visited_in = "on_drain";
            terminate();
            running.world.await_note("held");
            // The first slice has begun. By its end this connection is ready.
            clients[CONNECTIONS - 1].say("note served");
            if is_shared {
                running.world.await_note("accepted served");
            }
            running.world.open_gate();
            clients.iter_mut().for_each(|client| assert_eq!(client.line(), "drain"));
        });
        assert_in_slices(&world, CONNECTIONS);
        let log = world.state().log.clone();
        assert_eq!(log.iter().filter(|note| *note == "accepted drain").count(), CONNECTIONS);
        let before = log.iter().take_while(|note| *note != "accepted served");
        let told = before.filter(|note| *note == "accepted drain").count();
        assert!((1..=SLICE_LEN).contains(&told), "{told} were told before one was served");
    });
}

pub(crate) fn one_whose_turn_comes_after_half_time_is_told_and_ended() {
    const DRAIN: Duration = Duration::from_secs(8);
    let signals = signals();
    let config = config(Mode::Level, 1);
    let config = Config { timeouts: Timeouts { drain: Some(DRAIN), ..config.timeouts }, ..config };
    let world = World::default();
    serve(&signals, &config, &world, |running| {
        let mut clients = many(running);
        let mut last = running.client();
        assert_eq!(last.ask("busy yes"), "noted");
        running.world.state().visited_in = "on_drain";
        terminate();
        running.world.await_note("held");
        // The thread is late: the first slice takes it until after half time.
        thread::sleep(DRAIN / 2 + Duration::from_millis(300));
        running.world.open_gate();
        assert_eq!(last.line(), "drain");
        last.assert_closed();
        clients.iter_mut().for_each(|client| assert_eq!(client.line(), "drain"));
    });
    assert_in_slices(&world, CONNECTIONS + 1);
}

pub(crate) fn counters_of_many_connections_are_summed_while_others_are_served() {
    const SLICE: &str = "slice of a pass";
    const BALL: &str = "ball";
    let logs = Logs::collect();
    for_every_mode(|signals, config| {
        let logs = logs.clone();
        let mode = config.mode;
        serve(signals, &config, &World::default(), move |running| {
            let mut players = running.clients(2);
            let clients = many(running);
            logs.clear();
            // Two that answer one another are ready in every turn.
            players[0].say("to 0 ball 1 0");
            eventually("they play", || !logs.of(BALL).is_empty());
            let sums = counters(&logs);
            let connections = (CONNECTIONS + 2).to_string();
            assert_eq!(sums.values(["connections"]), [&*connections]);
            let slices: Vec<usize> = logs
                .of(SLICE)
                .iter()
                .map(|slice| slice.values(["places"])[0].parse().unwrap())
                .collect();
            assert!(slices.iter().all(|places| *places <= SLICE_LEN), "{slices:?}");
            assert!(slices.iter().sum::<usize>() >= CONNECTIONS, "{slices:?}");
            if matches!(mode, Mode::Level | Mode::Edge) {
                let messages = logs.messages([SLICE, BALL]);
                let pairs = messages.windows(2).filter(|two| *two == [SLICE, SLICE]);
                assert_eq!(pairs.count(), 0, "nobody was served between two slices");
            }
            drop(clients);
        });
    });
}

pub(crate) fn messages_for_many_connections_come_in_order_and_in_slices() {
    for_every_mode(|signals, config| {
        let world = World::default();
        serve(signals, &config, &world, move |running| {
            let mut senders = running.clients(2);
            let mut clients = many(running);
            let mut last = running.client();
            assert_eq!(last.ask("id"), "2");
            running.world.state().visited_in = "on_message";
            senders[0].say("all first\nto 2 of first");
            running.world.await_note("held");
            // The first slice has begun. What is sent from here on comes after it, to everybody.
            senders[1].say("to 2 before second\nall second\nto 2 after second");
            senders[0].say("to 2 more of first");
            running.world.open_gate();
            for client in senders.iter_mut().chain(&mut clients) {
                let mut came = [client.line(), client.line()];
                came.sort();
                assert_eq!(came, ["first", "second"]);
            }
            let came: Vec<_> = (0..6).map(|_| last.line()).collect();
            let of = |sender: &str| -> Vec<_> {
                came.iter().map(String::as_str).filter(|line| line.ends_with(sender)).collect()
            };
            assert_eq!(of("first"), ["first", "of first", "more of first"], "{came:?}");
            assert_eq!(of("second"), ["before second", "second", "after second"], "{came:?}");
        });
        // Beside what is for all, there are four messages for the last one.
        assert_in_slices(&world, 2 * (CONNECTIONS + 3) + 4);
    });
}
