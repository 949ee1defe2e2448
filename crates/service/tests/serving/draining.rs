//! The drain.

use crate::outgoing::black_hole;
use crate::script::World;
use crate::support::{Client, closed, for_every_mode, serve, terminate};
use epoll_service::{Config, DrainOutcome, ThreadStats, Timeouts};
use std::time::Duration;

pub(crate) fn everybody_is_told_once() {
    for_every_mode(|signals, config| {
        let world = World::default();
        let ended = serve(signals, &config, &world, |running| {
            let mut clients = running.clients(8);
            for client in &mut clients[..4] {
                assert_eq!(client.ask("panic finishes"), "ready");
            }
            terminate();
            for client in &mut clients {
                assert_eq!(client.line(), "drain");
                client.assert_closed();
            }
        });
        assert_eq!(world.count("accepted drain"), 8);
        assert_eq!((ended.outcome, ended.cut), (DrainOutcome::Finished, 0));
        assert_eq!(closed(&ended, "drained"), 8);
        let sum = ThreadStats::sum(&ended.threads).stats;
        assert_eq!(sum.opened, 8);
        assert_eq!(sum.sent, 8 * "drain\n".len() as u64 + 8 * "0\n".len() as u64 + 4 * 6);
    });
}

pub(crate) fn a_connection_in_other_hands_is_told_once() {
    for_every_mode(|signals, config| {
        let world = World::default();
        serve(signals, &config, &world, |running| {
            let mut clients = running.clients(3);
            clients[0].say("hold");
            running.world.await_note("held");
            terminate();
            running.world.open_gate();
            for client in &mut clients {
                assert_eq!(client.line(), "drain");
                client.assert_closed();
            }
        });
        assert_eq!(world.count("accepted drain"), 3);
    });
}

pub(crate) fn a_paused_connection_gets_its_answer() {
    for_every_mode(|signals, config| {
        let config = Config { timeouts: Timeouts { drain: None, ..config.timeouts }, ..config };
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut client = running.clients(1).remove(0);
            // In one segment: once the first is answered, it is paused.
            assert_eq!(client.ask("echo before\npause\necho after"), "before");
            terminate();
            assert_eq!(client.line(), "drain");
            let id = running.world.state().ids[0];
            running.handle.send(id, "answer".to_owned()).unwrap();
            assert_eq!((client.line(), client.line()), ("answer".into(), "after".into()));
            client.assert_closed();
        });
        assert_eq!(closed(&ended, "drained"), 1);
    });
}

pub(crate) fn what_is_under_way_is_waited_for() {
    for_every_mode(|signals, config| {
        let config = Config { timeouts: Timeouts { drain: None, ..config.timeouts }, ..config };
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(3);
            assert_eq!(clients[0].ask("busy yes"), "noted");
            clients[1].assert_alive();
            clients[1].begin("echo ha");
            terminate();
            clients.iter_mut().for_each(|client| assert_eq!(client.line(), "drain"));
            // Quiet for as long as the others, from a time after theirs.
            clients[2].assert_closed();
            clients[1].say("lf");
            assert_eq!(clients[1].line(), "half");
            clients[1].assert_closed();
            assert_eq!(clients[0].ask("busy no"), "noted");
            clients[0].assert_closed();
        });
        assert_eq!((ended.outcome, closed(&ended, "drained")), (DrainOutcome::Finished, 3));
    });
}

pub(crate) fn what_is_under_way_is_ended_at_half_time() {
    for_every_mode(|signals, config| {
        let drain = Some(Duration::from_secs(2));
        let config = Config { timeouts: Timeouts { drain, ..config.timeouts }, ..config };
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut client = running.client();
            assert_eq!(client.ask("busy yes"), "noted");
            terminate();
            assert_eq!(client.line(), "drain");
            client.assert_closed();
        });
        assert_eq!((ended.outcome, ended.cut), (DrainOutcome::Finished, 0));
    });
}

pub(crate) fn a_half_closed_connection_that_keeps_quiet_is_finished() {
    for_every_mode(|signals, config| {
        let config = Config { timeouts: Timeouts { drain: None, ..config.timeouts }, ..config };
        let world = World::default();
        world.state().service_panics_in = "never ends";
        let ended = serve(signals, &config, &world, |running| {
            let mut client = running.client();
            client.assert_alive();
            client.end();
            terminate();
            assert_eq!(client.line(), "drain");
            client.assert_closed();
        });
        assert_eq!(ended.outcome, DrainOutcome::Finished);
    });
}

pub(crate) fn one_that_is_being_established_is_given_up_at_half_time() {
    for_every_mode(|signals, config| {
        let world = World::default();
        let (_listener, address, _fill) = black_hole();
        world.state().target = Some(address.into());
        let drain = Some(Duration::from_secs(2));
        let config =
            Config { timeouts: Timeouts { drain, connect: None, ..config.timeouts }, ..config };
        let ended = serve(signals, &config, &world, |running| {
            let mut client = running.client();
            client.say("connect outgoing");
            client.assert_alive();
            terminate();
            assert_eq!(client.line(), "drain");
            client.assert_closed();
        });
        assert_eq!(ended.outcome, DrainOutcome::Finished);
        assert_eq!((closed(&ended, "connect-timed-out"), ended.cut), (1, 0));
    });
}

pub(crate) fn one_that_is_established_meanwhile_is_told() {
    for_every_mode(|signals, config| {
        if config.threads.is_some_and(|threads| threads.get() > 1) {
            // Each takes as long as the kernel waits before it tries again.
            return;
        }
        let config = Config { timeouts: Timeouts { drain: None, ..config.timeouts }, ..config };
        let world = World::default();
        let (listener, address, fill) = black_hole();
        world.state().target = Some(address.into());
        let ended = serve(signals, &config, &world, move |running| {
            let mut client = running.client();
            client.say("connect outgoing");
            client.assert_alive();
            terminate();
            assert_eq!(client.line(), "drain");
            assert_eq!(running.world.count("outgoing open"), 0);
            drop(fill);
            let mut accepted = Vec::new();
            epoll_kit_testing::eventually("it is established", || {
                accepted.extend(rustix::net::accept(&listener));
                running.world.count("outgoing open") == 1
            });
            running.world.await_note("outgoing drain");
            client.assert_closed();
        });
        assert_eq!(ended.outcome, DrainOutcome::Finished);
        assert_eq!(world.count("outgoing drain"), 1);
    });
}

pub(crate) fn what_has_not_finished_in_time_is_cut() {
    for_every_mode(|signals, config| {
        let drain = Some(Duration::from_millis(400));
        let config =
            Config { timeouts: Timeouts { drain, linger: None, ..config.timeouts }, ..config };
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut client = running.client();
            assert_eq!(client.ask("busy yes"), "noted");
            terminate();
            // Its end is read at half time; it does not close its own half.
            assert_eq!(client.line(), "drain");
            client.assert_closed();
            running.world.await_note("accepted close ClosedByOwner");
        });
        assert_eq!((ended.outcome, ended.cut), (DrainOutcome::DeadlinePassed, 1));
    });
}

pub(crate) fn what_is_cut_is_counted() {
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(3);
            clients.iter_mut().for_each(|client| assert_eq!(client.ask("echo x\npause"), "x"));
            terminate();
            clients.iter_mut().for_each(|client| assert_eq!(client.line(), "drain"));
            terminate();
            clients.iter_mut().for_each(Client::assert_closed);
        });
        assert!(matches!(ended.outcome, DrainOutcome::Forced(_)), "{:?}", ended.outcome);
        assert_eq!((ended.cut, closed(&ended, "cut")), (3, 3));
        assert_eq!(ended.threads.iter().map(|thread| thread.cut).sum::<u64>(), 3);
    });
}
