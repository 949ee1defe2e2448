//! Servers without an address, and handles that outlive theirs.

use crate::script::{Script, World};
use crate::support::{for_every_mode, serve, terminate};
use epoll_service::{Config, DrainOutcome, Server};
use std::sync::Arc;
use std::thread;

pub(crate) fn a_server_without_an_address_serves_until_a_signal() {
    for_every_mode(|signals, config| {
        let config = Config { listen: Vec::new(), ..config };
        let server = Server::bind(Script::of(&World::default()), &config).unwrap();
        assert_eq!(server.addresses(), []);
        let handle = server.handle();
        handle.broadcast("nobody".to_owned()).unwrap();
        let ended = server.run(signals, || drop(thread::spawn(terminate))).unwrap();
        assert_eq!(ended.outcome, DrainOutcome::Finished);
    });
}

pub(crate) fn one_can_be_used_before_and_after_the_server() {
    for_every_mode(|signals, config| {
        let (sender, handles) = std::sync::mpsc::channel();
        serve(signals, &config, &World::default(), move |running| {
            let _client = running.clients(1);
            let id = running.world.state().ids[0];
            sender.send((running.handle.clone(), id)).unwrap();
        });
        let (handle, id) = handles.recv().unwrap();
        // No mailbox fills up behind it.
        for _ in 0..70_000 {
            handle.send(id, String::new()).unwrap();
        }
        handle.broadcast(String::new()).unwrap();
        let unused = Server::bind(Script::of(&World::default()), &config).unwrap();
        let handle = Arc::new(unused.handle());
        handle.send(id, String::new()).unwrap();
        drop(unused);
        for _ in 0..70_000 {
            handle.send(id, String::new()).unwrap();
        }
    });
}
