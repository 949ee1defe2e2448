//! Limits and timeouts that change while a server runs, and statistics that are asked for meanwhile.

use crate::script::World;
use crate::support::{Client, closed, for_every_mode, serve, terminate};
use epoll_service::epoll_connection::Limits;
use epoll_service::{Config, DrainOutcome, ThreadStats, Timeouts};
use std::io::ErrorKind;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::mpsc::channel;
use std::time::Duration;

const NONE: Timeouts =
    Timeouts { connect: None, idle: None, write: None, drain: None, linger: None };

/// The time after which an answer would have come.
const QUIET: Duration = Duration::from_millis(20);

fn adjustable(config: Config) -> Config {
    Config { adjustable: true, timeouts: NONE, ..config }
}

pub(crate) fn timeouts_hold_for_connections_that_are_open_already() {
    for_every_mode(|signals, config| {
        let config = adjustable(config);
        let ended = serve(signals, &config.clone(), &World::default(), move |running| {
            let mut clients = running.clients(5);
            let idle = Duration::from_millis(20);
            let timeouts = Timeouts { idle: Some(idle), ..NONE };
            let strict = Config { timeouts, ..config };
            running.handle.adjust(&strict).unwrap();
            clients.iter_mut().for_each(Client::assert_closed);
            running.client().assert_closed();
            running.handle.adjust(&Config { timeouts: NONE, ..strict }).unwrap();
            let mut patient = running.client();
            patient.assert_alive();
            std::thread::sleep(5 * idle);
            patient.assert_alive();
        });
        assert_eq!(closed(&ended, "idle"), 6);
    });
}

pub(crate) fn the_time_for_the_drain_can_change_before_it_begins() {
    for_every_mode(|signals, config| {
        let config = adjustable(config);
        let ended = serve(signals, &config.clone(), &World::default(), move |running| {
            let client = running.clients(1).remove(0);
            let drain = Some(Duration::from_millis(20));
            running
                .handle
                .adjust(&Config { timeouts: Timeouts { drain, ..NONE }, ..config })
                .unwrap();
            terminate();
            // Without a deadline the server would wait for its end for ever.
            std::mem::forget(client);
        });
        assert_eq!((ended.outcome, ended.cut), (DrainOutcome::DeadlinePassed, 1));
    });
}

pub(crate) fn limits_hold_from_the_next_connection_on() {
    for_every_mode(|signals, config| {
        let config = adjustable(config);
        let ended = serve(signals, &config.clone(), &World::default(), move |running| {
            let mut clients = running.clients(3);
            let three = NonZeroU32::new(3);
            for (in_all, per_peer) in [(three, None), (None, three)] {
                let limited = Config {
                    connections_max: in_all,
                    connections_per_peer_max: per_peer,
                    ..config.clone()
                };
                running.handle.adjust(&limited).unwrap();
                running.client().assert_closed();
            }
            clients.iter_mut().for_each(Client::assert_alive);
            running.handle.adjust(&config).unwrap();
            running.client().assert_alive();
        });
        let sum = ThreadStats::sum(&ended.threads).stats;
        assert_eq!((sum.opened, sum.refused, sum.refused_peer), (4, 1, 1));
    });
}

pub(crate) fn a_limit_of_bytes_holds_for_open_connections_and_lets_go_of_them() {
    for_every_mode(|signals, config| {
        let config = adjustable(config);
        serve(signals, &config.clone(), &World::default(), move |running| {
            // Paid for, at a byte a second, after any deadline of a test.
            let text = "x".repeat(1000);
            let line = format!("echo {text}");
            let adjust = |per_s| {
                let limits =
                    Limits { bytes_per_s_max: NonZeroU64::new(per_s), ..Limits::default() };
                running.handle.adjust(&Config { limits, ..config.clone() }).unwrap();
                // A thread that has counted has seen the change before.
                running.handle.stats().expect("a server that runs");
            };
            let mut clients = running.clients(3);
            if config.mode.is_shared() {
                // One is in the hands of a thread that does not know of the change.
                clients[0].say("hold");
                running.world.await_note("held");
            }
            adjust(1);
            running.world.open_gate();
            clients.push(running.client());
            for higher in [0, 1_000_000_000] {
                for client in &mut clients {
                    assert_eq!(client.ask(&line), text);
                    client.say(&line);
                }
                std::thread::sleep(QUIET);
                if !clients[0].is_silent() {
                    // The report of a line, and that of the change, have come together.
                    assert_eq!(clients[0].ask(&line), text);
                    std::thread::sleep(QUIET);
                }
                assert!(clients.iter().all(Client::is_silent), "held up");
                adjust(higher);
                for client in &mut clients {
                    assert_eq!(client.line(), text);
                    assert_eq!(client.ask(&line), text, "no limit, or a high one");
                }
                adjust(1);
            }
            adjust(0);
            clients.iter_mut().for_each(Client::assert_alive);
        });
    });
}

pub(crate) fn nothing_changes_unless_that_was_allowed() {
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config.clone(), &World::default(), move |running| {
            let _client = running.clients(1).remove(0);
            let limited = Config { connections_max: NonZeroU32::new(1), ..config };
            let error = running.handle.adjust(&limited).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            running.client().assert_alive();
        });
        assert_eq!(ThreadStats::sum(&ended.threads).stats.refused, 0);
    });
}

pub(crate) fn statistics_can_be_asked_for_until_the_server_has_ended() {
    for_every_mode(|signals, config| {
        let (send, handle) = channel();
        let loops = if config.mode.is_shared() { 1 } else { config.threads.unwrap().get() };
        serve(signals, &config, &World::default(), move |running| {
            let _clients = running.clients(3);
            let stats = running.handle.stats().expect("a server that runs");
            assert!(stats.iter().map(|thread| thread.thread).eq(0..loops as usize));
            let ThreadStats { stats, reactor, accept, cut, .. } = ThreadStats::sum(&stats);
            assert_eq!((stats.opened, accept.accepted, cut), (3, 3, 0));
            // Three for the connections, at least: those that threads share are counted too.
            assert!(reactor.events >= 3 && reactor.adds >= 3, "{reactor:?}");
            send.send(running.handle.clone()).unwrap();
        });
        assert!(handle.recv().unwrap().stats().is_none());
    });
}
