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
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut client = running.clients(1).remove(0);
            client.say("pause\necho after");
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

pub(crate) fn what_is_cut_is_counted() {
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(3);
            clients.iter_mut().for_each(|client| client.say("pause"));
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
