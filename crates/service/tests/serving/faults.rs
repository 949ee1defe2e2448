//! Panics of every callback, and protocols that break the rules.

use crate::script::{Script, World};
use crate::support::{Client, closed, config, for_every_mode, serve, signals, terminate};
use epoll_service::epoll_connection::{Consumed, Context, Flow, Protocol};
use epoll_service::{Config, DrainOutcome, Each, Mode, Server, ThreadStats, Timeouts};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::thread;
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

pub(crate) fn a_panic_of_a_receiver_lets_those_that_forward_to_it_go_on() {
    let signals = signals();
    for mode in [Mode::Level, Mode::Edge] {
        let ended = serve(&signals, &config(mode, 1), &World::default(), |running| {
            let mut clients = running.clients(4);
            // While it is given bytes.
            assert_eq!(clients[1].ask("panic on_forwarded"), "ready");
            assert_eq!(clients[0].ask("link 1"), "linked");
            clients[0].say("boo");
            clients[1].assert_closed();
            clients[0].assert_stops();
            // While bytes wait for it, as its peer takes nothing.
            assert_eq!(clients[3].ask("panic on_message"), "ready");
            assert_eq!(clients[2].ask("link 3"), "linked");
            clients[2].fill();
            clients[0].say("to 3 boo");
            clients[2].assert_stops();
            clients[3].assert_cut();
            clients[0].assert_alive();
        });
        assert_eq!(closed(&ended, "panicked"), 2, "{mode:?}");
    }
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
            for (at, client) in clients[..3].iter_mut().enumerate() {
                let place = if at == 0 { "is_busy" } else { "on_drain" };
                assert_eq!(client.ask(&format!("panic {place}")), "ready");
            }
            crate::support::terminate();
            for client in &mut clients[3..] {
                assert_eq!(client.line(), "drain");
                client.assert_closed();
            }
            // A thread that is late would find these closed by their peers, and call nothing that panics.
            clients[..3].iter_mut().for_each(Client::assert_cut);
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
                assert_eq!(client.ask("echo x\npause"), "x");
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

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as the test wants it");
    }
}

/// Panics with something that panics in turn when it is told to `carry`, sends itself two messages that
/// panic when they are dropped at `send`, and answers every other line with itself.
struct Heavy;

impl Protocol for Heavy {
    type Local = ();
    type Message = Bomb;

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), Bomb>) -> Consumed {
        match &input[..] {
            b"carry\n" => panic_any(Bomb),
            b"send\n" => {
                context.send(context.id(), Bomb);
                context.send(context.id(), Bomb);
                Consumed::bytes(input.len())
            }
            _ => Consumed::pass(input.len()),
        }
    }

    fn on_message(&mut self, _: &Bomb, context: &mut Context<'_, (), Bomb>) -> Flow {
        context.write(b"bomb\n");
        Flow::Keep
    }
}

pub(crate) fn a_panic_of_what_is_dropped_ends_no_thread_and_no_other_connection() {
    for_every_mode(|signals, config| {
        let server = Server::bind(Each(|| Heavy), &config).unwrap();
        let address = server.addresses()[0].inet().unwrap();
        let client = thread::spawn(move || {
            let (mut sender, mut other) = (Client::at(address), Client::at(address));
            for _ in 0..3 {
                let mut panicking = Client::at(address);
                panicking.say("carry");
                panicking.assert_closed();
                assert_eq!((sender.ask("send"), sender.line()), ("bomb".into(), "bomb".into()));
                assert_eq!(other.ask("alive"), "alive");
            }
            assert_eq!(sender.ask("alive"), "alive");
            terminate();
        });
        let ended = server.run(signals, || {}).expect("a server that ends well");
        client.join().unwrap();
        assert_eq!((closed(&ended, "panicked"), ended.cut), (3, 0));
    });
}

pub(crate) fn a_panic_when_it_serves_ends_the_server_before_the_caller_sees_it() {
    for_every_mode(|signals, config| {
        let server = Server::bind(Each(|| Heavy), &config).unwrap();
        let address = server.addresses()[0].inet().unwrap();
        let run = || server.run(signals, || panic_any("as the test wants it"));
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
        assert_eq!(panic.downcast_ref(), Some(&"as the test wants it"));
        TcpStream::connect(address).expect_err("nobody listens any more");
    });
}
