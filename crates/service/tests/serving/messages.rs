//! Messages between connections, to all, and from outside.

use crate::script::World;
use crate::support::{closed, for_every_mode, serve};
use epoll_service::{Mode, ThreadStats};
use std::io::ErrorKind;

pub(crate) fn they_reach_connections_of_any_thread_in_order() {
    for_every_mode(|signals, config| {
        serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(8);
            for round in 0..10 {
                clients.iter_mut().for_each(|one| {
                    for to in 0..8 {
                        one.say(&format!("to {to} {round}"));
                    }
                });
                for client in &mut clients {
                    let came: Vec<_> = (0..8).map(|_| client.line()).collect();
                    assert!(came.iter().all(|came| *came == round.to_string()), "{came:?}");
                }
            }
            clients.iter_mut().for_each(crate::support::Client::assert_alive);
        });
    });
}

pub(crate) fn a_broadcast_reaches_everybody_once() {
    const ROUNDS: usize = 50;
    for_every_mode(|signals, config| {
        serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(8);
            for round in 0..ROUNDS {
                // Two senders, whose messages come in any order among one another.
                clients[0].say(&format!("all first {round}"));
                clients[1].say(&format!("all second {round}"));
            }
            for client in &mut clients {
                let came: Vec<_> = (0..2 * ROUNDS).map(|_| client.line()).collect();
                for sender in ["first", "second"] {
                    let of_sender = came.iter().filter(|line| line.starts_with(sender));
                    let of_sender: Vec<_> = of_sender.cloned().collect();
                    let wanted = (0..ROUNDS).map(|round| format!("{sender} {round}"));
                    assert_eq!(of_sender, wanted.collect::<Vec<_>>(), "{came:?}");
                }
                client.assert_alive();
            }
        });
    });
}

pub(crate) fn a_handle_reaches_connections_from_outside() {
    for_every_mode(|signals, config| {
        serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(6);
            let ids = running.world.state().ids.clone();
            for (at, id) in ids.iter().enumerate() {
                running.handle.send(*id, format!("you are {at}")).unwrap();
            }
            for (at, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.line(), format!("you are {at}"));
            }
            for round in 0..20 {
                running.handle.broadcast(format!("round {round}")).unwrap();
            }
            for client in &mut clients {
                (0..20).for_each(|round| assert_eq!(client.line(), format!("round {round}")));
                client.assert_alive();
            }
        });
    });
}

pub(crate) fn one_to_a_connection_that_is_gone_is_dropped() {
    for_every_mode(|signals, config| {
        serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(3);
            clients[0].say("finish");
            clients[0].assert_closed();
            clients[0].end();
            running.world.await_note("accepted close Finished");
            clients[1].say("to 0 nobody");
            clients[1].say("to 2 somebody");
            assert_eq!(clients[2].line(), "somebody");
            let gone = running.world.state().ids[0];
            running.handle.send(gone, "nobody".to_owned()).unwrap();
            clients[1].assert_alive();
        });
    });
}

pub(crate) fn two_that_answer_one_another_for_ever_starve_nobody() {
    for_every_mode(|signals, config| {
        serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(4);
            // The first two have the ball, and so has the third, alone.
            clients[0].say("to 1 ball 0 1");
            clients[0].say("to 2 ball 2 2");
            for _ in 0..20 {
                clients[3].assert_alive();
                clients[0].assert_alive();
                running.client().assert_alive();
            }
        });
    });
}

pub(crate) fn those_for_a_connection_in_other_hands_arrive_once() {
    for_every_mode(|signals, config| {
        if !config.mode.is_shared() {
            return;
        }
        let has_others = config.threads.is_some_and(|threads| threads.get() > 1);
        serve(signals, &config, &World::default(), move |running| {
            let mut clients = running.clients(3);
            let first = running.world.state().ids[0];
            clients[0].say("hold");
            running.world.await_note("held");
            for round in 0..10 {
                running.handle.send(first, format!("outside {round}")).unwrap();
            }
            if has_others {
                clients[1].say("to 0 inside");
                // Answered by another thread, after it has seen to that message.
                clients[1].assert_alive();
                clients[2].assert_alive();
            }
            running.world.open_gate();
            let count = if has_others { 11 } else { 10 };
            let mut came: Vec<_> = (0..count).map(|_| clients[0].line()).collect();
            came.retain(|line| line != "inside");
            assert!(came.iter().eq(&(0..10).map(|at| format!("outside {at}")).collect::<Vec<_>>()));
            clients[0].assert_alive();
        });
    });
}

pub(crate) fn a_full_mailbox_is_an_error_and_nothing_else_breaks() {
    for_every_mode(|signals, config| {
        // Where threads share connections, the one that has the mailbox runs no protocol but to deliver.
        if config.mode != Mode::Level && config.mode != Mode::Edge {
            return;
        }
        serve(signals, &config, &World::default(), |running| {
            let mut client = running.clients(1).remove(0);
            let id = running.world.state().ids[0];
            client.say("hold");
            running.world.await_note("held");
            let sent = (0..).map(|_| running.handle.send(id, "x".to_owned()));
            let mut count = 0;
            let error = sent.inspect(|_| count += 1).find_map(Result::err).unwrap();
            assert_eq!((error.kind(), count), (ErrorKind::QuotaExceeded, 65_537));
            running.world.open_gate();
            for _ in 0..65_536 {
                assert_eq!(client.line(), "x");
            }
            client.assert_alive();
            running.handle.send(id, "after".to_owned()).unwrap();
            assert_eq!(client.line(), "after");
        });
    });
}

pub(crate) fn what_comes_before_both_halves_are_closed_outlasts_a_pause() {
    const ROUNDS: u64 = 200;
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(2);
            clients[0].say("end\npause\nto 1 late");
            clients[0].assert_closed();
            clients[0].end();
            for _ in 0..ROUNDS {
                clients[1].assert_alive();
            }
            let id = running.world.state().ids[0];
            running.handle.send(id, "go on".to_owned()).unwrap();
            assert_eq!(clients[1].line(), "late");
        });
        assert_eq!(closed(&ended, "peer-closed"), 2);
        // One that is not silent meanwhile is reported without an end.
        let waits = ThreadStats::sum(&ended.threads).reactor.waits;
        assert!(waits < 3 * ROUNDS, "{waits} waits");
    });
}

pub(crate) fn answers_that_are_sent_late_come_in_order_with_messages() {
    for_every_mode(|signals, config| {
        let mut config = config;
        config.limits.sends_late = true;
        serve(signals, &config, &World::default(), |running| {
            let mut clients = running.clients(4);
            for round in 0..20 {
                for client in &mut clients {
                    client.say(&format!("echo {round}\nto 0 note\necho after"));
                }
                for client in &mut clients[1..] {
                    assert_eq!((client.line(), client.line()), (round.to_string(), "after".into()));
                }
                let mut lines: Vec<_> = (0..6).map(|_| clients[0].line()).collect();
                lines.sort_unstable();
                let expected = [round.to_string(), "after".into()];
                assert_eq!(lines[..2], expected, "{lines:?}");
                assert!(lines[2..].iter().all(|line| line == "note"), "{lines:?}");
                clients.iter_mut().for_each(crate::support::Client::assert_alive);
            }
        });
    });
}
