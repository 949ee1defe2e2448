//! Timeouts of peers that take nothing, or do not close their half, and those that come late.

use crate::script::World;
use crate::support::{Client, Running, closed, config, for_every_mode, serve, signals};
use epoll_service::{Config, Mode, Signals, Timeouts};
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

const OFF: Timeouts =
    Timeouts { connect: None, idle: None, write: None, drain: None, linger: None };

/// Longer than a busy machine keeps a thread waiting.
const LIMIT: Duration = Duration::from_millis(1500);

/// Calls `test` with one thread, in a mode in which it has connections of its own and in one without.
fn for_each_store(mut test: impl FnMut(&Signals, Config)) {
    let signals = signals();
    for mode in [Mode::Level, Mode::EdgeShared] {
        test(&signals, config(mode, 1));
    }
}

/// Returns a client whose own socket takes little.
fn small_client(running: &Running) -> Client {
    let client = running.client();
    rustix::net::sockopt::set_socket_recv_buffer_size(client.stream(), 16_384).unwrap();
    client
}

/// Takes `len` bytes, a few at a time.
fn take_slowly(client: &Client, len: usize) {
    let mut piece = [0; 8192];
    for _ in 0..len / piece.len() {
        client.stream().read_exact(&mut piece).expect("bytes that go on");
        thread::sleep(LIMIT / 24);
    }
}

pub(crate) fn a_peer_that_takes_nothing_is_closed_and_one_that_takes_little_is_not() {
    for_each_store(|signals, config| {
        let timeouts = Timeouts { write: Some(LIMIT), ..OFF };
        let ended = serve(signals, &Config { timeouts, ..config }, &World::default(), |running| {
            let (mut slow, mut stalled) = (small_client(running), small_client(running));
            // More than sockets take, so that it waits in the process.
            slow.say("flood 16777216");
            stalled.say("flood 16777216");
            let begun = Instant::now();
            while begun.elapsed() < 2 * LIMIT {
                take_slowly(&slow, 8192);
            }
            running.world.await_note("accepted close ClosedByOwner");
            // That was the other one.
            take_slowly(&slow, 8192);
            assert_eq!(running.world.count("accepted close ClosedByOwner"), 1);
        });
        assert_eq!((closed(&ended, "stalled"), closed(&ended, "reset")), (1, 1));
    });
}

pub(crate) fn a_peer_that_leaves_its_half_open_is_closed_unless_it_takes_what_was_sent() {
    for_each_store(|signals, config| {
        let timeouts = Timeouts { linger: Some(LIMIT), ..OFF };
        let ended = serve(signals, &Config { timeouts, ..config }, &World::default(), |running| {
            let (mut slow, mut silent) = (small_client(running), running.client());
            let begun = Instant::now();
            // It waits in the socket when our half is closed.
            slow.say("flood 245760\nfinish");
            silent.say("finish");
            silent.assert_closed();
            take_slowly(&slow, 245_760);
            assert!(begun.elapsed() >= LIMIT);
            slow.assert_closed();
            slow.end();
            running.world.await_note("accepted close ClosedByOwner");
            running.world.await_note("accepted close Finished");
        });
        assert_eq!((closed(&ended, "lingered-out"), closed(&ended, "finished")), (1, 1));
    });
}

pub(crate) fn what_came_before_a_late_timer_was_seen_to_has_come_in_time() {
    for_every_mode(|signals, config| {
        if config.mode.is_shared() || config.threads.is_some_and(|threads| threads.get() > 1) {
            return;
        }
        let timeouts = Timeouts { idle: Some(LIMIT), ..OFF };
        serve(signals, &Config { timeouts, ..config }, &World::default(), |running| {
            let mut client = running.client();
            client.assert_alive();
            let mut held = running.client();
            held.say("hold");
            running.world.await_note("held");
            // The timer of the first one fires while the thread is held, and only then its bytes come.
            thread::sleep(LIMIT + LIMIT / 4);
            for client in [&mut client, &mut held] {
                client.say("echo in time");
            }
            running.world.open_gate();
            for client in [&mut client, &mut held] {
                assert_eq!(client.line(), "in time");
            }
        });
    });
}
