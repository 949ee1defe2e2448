//! Panics of every callback, and protocols that break the rules.

use crate::script::{Script, World};
use crate::support::{Client, closed, config, for_every_mode, serve, signals};
use epoll_service::{Config, DrainOutcome, Server, ThreadStats, Timeouts};
use std::net::TcpListener;
use std::time::Duration;

/// Panics of a connection that is told where to panic.
const PLACES: [&str; 7] = [
    "on_input",
    "on_message",
    "on_deadline",
    "on_written",
    "on_finish",
    "on_close",
    "passes_everything",
];

pub(crate) fn a_panic_closes_its_connection_and_no_other() {
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut others = running.clients(4);
            for (at, place) in (4..).zip(PLACES) {
                let mut client = running.client();
                assert_eq!(client.ask("id"), at.to_string());
                client.say(&format!("panic {place}"));
                match place {
                    "on_input" | "passes_everything" => {
                        assert_eq!(client.line(), "ready");
                        client.say("echo x");
                    }
                    "on_message" => {
                        assert_eq!(client.line(), "ready");
                        others[0].say(&format!("to {at} boo"));
                    }
                    "on_deadline" | "on_written" | "on_finish" => {
                        assert_eq!(client.line(), "ready", "{place}");
                    }
                    _ => {}
                }
                client.assert_closed();
                others.iter_mut().for_each(Client::assert_alive);
            }
        });
        assert_eq!(closed(&ended, "panicked"), PLACES.len() as u64);
        assert_eq!(ended.outcome, DrainOutcome::Finished);
    });
}

pub(crate) fn a_panic_in_a_broadcast_keeps_it_from_nobody_else() {
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(9);
            for at in [1, 4, 7] {
                assert_eq!(clients[at].ask("panic on_message"), "ready");
            }
            clients[0].say("all news");
            clients[0].say("all more");
            for (at, client) in clients.iter_mut().enumerate() {
                if [1, 4, 7].contains(&at) {
                    client.assert_closed();
                } else {
                    assert_eq!((client.line(), client.line()), ("news".into(), "more".into()));
                }
            }
        });
        assert_eq!(closed(&ended, "panicked"), 3);
    });
}

pub(crate) fn a_panic_of_the_service_makes_no_connection() {
    for_every_mode(|signals, config| {
        let world = World::default();
        let peers = TcpListener::bind("127.0.0.1:0").unwrap();
        world.state().target = Some(peers.local_addr().unwrap().into());
        let ended = serve(signals, &config, &world, |running| {
            let mut clients = running.clients(2);
            for place in ["accept", "on_open"] {
                running.world.state().service_panics_in = place;
                running.client().assert_closed();
                clients.iter_mut().for_each(Client::assert_alive);
            }
            running.world.state().service_panics_in = "connect";
            // What comes after it in the same turn is done.
            clients[0].say("connect outgoing\nto 1 after");
            assert_eq!(clients[1].line(), "after");
            clients.iter_mut().for_each(Client::assert_alive);
            running.world.state().service_panics_in = "";
            running.client().assert_alive();
        });
        let sum = ThreadStats::sum(&ended.threads).stats;
        assert_eq!((sum.declined, closed(&ended, "panicked")), (1, 1), "{sum:?}");
        assert_eq!(ended.outcome, DrainOutcome::Finished);
    });
}

pub(crate) fn a_panic_during_the_drain_keeps_nobody_from_finishing() {
    for_every_mode(|signals, config| {
        let config = patient(config);
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(6);
            for client in &mut clients[..3] {
                assert_eq!(client.ask("panic on_drain"), "ready");
            }
            crate::support::terminate();
            for client in &mut clients[3..] {
                assert_eq!(client.line(), "drain");
                client.assert_closed();
            }
        });
        assert_eq!((ended.outcome, closed(&ended, "panicked")), (DrainOutcome::Finished, 3));
        assert_eq!(closed(&ended, "drained"), 3);
    });
}

/// A drain that only ends when everything has finished, and does not wait for peers.
fn patient(config: Config) -> Config {
    let linger = Some(Duration::from_secs(60));
    Config { timeouts: Timeouts { drain: None, linger, ..config.timeouts }, ..config }
}

pub(crate) fn a_panic_of_a_connection_that_is_cut_ends_nothing_else() {
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(4);
            for client in &mut clients {
                assert_eq!(client.ask("panic on_close when cut"), "ready");
                client.say("pause");
            }
            crate::support::terminate();
            clients.iter_mut().for_each(|client| assert_eq!(client.line(), "drain"));
            crate::support::terminate();
            clients.iter_mut().for_each(Client::assert_closed);
        });
        assert_eq!((ended.cut, closed(&ended, "cut")), (4, 4));
    });
}

pub(crate) fn a_thread_that_cannot_begin_ends_the_server() {
    let signals = signals();
    for mode in crate::support::MODES {
        for place in ["local", "another local"] {
            let world = World::default();
            world.state().service_panics_in = place;
            let server = Server::bind(Script::of(&world), &config(mode, 3)).unwrap();
            let error = server.run(&signals, || {}).unwrap_err();
            assert!(error.to_string().contains("thread"), "{error}");
        }
    }
}

pub(crate) fn misuse_closes_its_connection_and_no_other() {
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut others = running.clients(2);
            let mut client = running.client();
            client.say("consume-too-much");
            client.assert_closed();
            let mut client = running.client();
            client.say("write-after-end");
            client.assert_closed();
            client.say("echo x");
            running.world.await_note("accepted close Misuse(WroteAfterEnd)");
            others.iter_mut().for_each(Client::assert_alive);
        });
        assert_eq!(closed(&ended, "misuse"), 2);
    });
}
