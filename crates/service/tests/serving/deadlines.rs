//! Deadlines of protocols.

use crate::script::World;
use crate::support::{closed, for_every_mode, serve};
use epoll_service::{Config, Timeouts};
use std::time::{Duration, Instant};

const OFF: Timeouts =
    Timeouts { connect: None, idle: None, write: None, drain: None, linger: None };

fn without_timeouts(config: Config) -> Config {
    Config { timeouts: OFF, ..config }
}

pub(crate) fn one_fires_once_and_never_early() {
    for_every_mode(|signals, config| {
        serve(signals, &without_timeouts(config), &World::default(), |running| {
            let mut client = running.client();
            let begun = Instant::now();
            assert_eq!(client.ask("deadline 20"), "set");
            // It is moved later, then earlier.
            assert_eq!(client.ask("deadline 60000"), "set");
            assert_eq!(client.ask("deadline 50"), "set");
            assert_eq!(client.line(), "deadline");
            assert!(begun.elapsed() >= Duration::from_millis(50));
            client.assert_alive();
            // Nothing more has come in between.
            client.end();
            client.assert_closed();
        });
    });
}

pub(crate) fn one_set_on_opening_counts_from_the_opening() {
    for_every_mode(|signals, config| {
        serve(signals, &without_timeouts(config), &World::default(), |running| {
            let mut first = running.client();
            assert_eq!(first.ask("id"), "0");
            let id = running.world.state().ids[0];
            // The time that the thread knows is that of a callback long ago, if it does not look.
            running.handle.send(id, "deadline".to_owned()).unwrap();
            assert_eq!(first.line(), "deadline");
            std::thread::sleep(Duration::from_millis(60));
            let begun = Instant::now();
            running.handle.send(id, "dated 40".to_owned()).unwrap();
            assert_eq!((first.line(), first.line()), ("dated 40".into(), "deadline".into()));
            assert!(begun.elapsed() >= Duration::from_millis(40), "{:?}", begun.elapsed());
        });
    });
}

pub(crate) fn one_goes_with_idle_timeouts() {
    for_every_mode(|signals, config| {
        let idle = Some(Duration::from_millis(200));
        let config = Config { timeouts: Timeouts { idle, ..OFF }, ..config };
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut client = running.client();
            let begun = Instant::now();
            assert_eq!(client.ask("deadline 50"), "set");
            assert_eq!(client.line(), "deadline");
            client.assert_closed();
            // What was written at the deadline has counted as activity.
            assert!(begun.elapsed() >= Duration::from_millis(250));
        });
        assert_eq!(closed(&ended, "idle"), 1);
    });
}
