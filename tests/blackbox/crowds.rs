//! Ten thousand connections at once.

use crate::harness::{Crowd, Mode, Server, alone, converse};

in_all_modes!(ten_thousand_connections_are_open_at_once_and_all_served);

fn ten_thousand_connections_are_open_at_once_and_all_served(mode: Mode) {
    let _alone = alone();
    let server = Server::start(mode);
    let mut crowd = Crowd::of(server.inet(), 10_000);
    crowd.all_are_served();
    // Half of them leave, in an order that has nothing to do with how they came.
    let mut at = 0_usize;
    crowd.streams.retain(|_| {
        at += 1;
        at % 2 == 0
    });
    crowd.all_are_served();
    converse(&mut server.client(), b"one more");
}
