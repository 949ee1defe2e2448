//! Threads that look for events without sleeping: whatever else is to reach them does so meanwhile.

use crate::script::World;
use crate::support::{for_every_mode, serve};
use epoll_service::{Config, ThreadStats};
use std::time::Duration;

pub(crate) fn messages_deadlines_and_the_drain_reach_threads_that_look() {
    for time in [None, Some(Duration::MAX)] {
        for_every_mode(|signals, config| {
            let config = Config { busy_polling: time, ..config };
            let ended = serve(signals, &config, &World::default(), |running| {
                let mut clients = running.clients(3);
                let ids = running.world.state().ids.clone();
                assert_eq!(clients[0].ask("deadline 20"), "set");
                assert_eq!(clients[0].line(), "deadline");
                for (id, client) in ids.iter().zip(&mut clients) {
                    running.handle.send(*id, "a message".to_owned()).unwrap();
                    assert_eq!(client.line(), "a message");
                    client.assert_alive();
                }
            });
            let spins = ThreadStats::sum(&ended.threads).reactor.spins;
            assert_eq!(spins > 0, time.is_some(), "{spins} looks");
        });
    }
}
