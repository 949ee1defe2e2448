//! The proxy among the examples.

mod suite;

use epoll_kit_testing::{Examples, eventually};
use rustix::process::Signal;
use std::net::TcpStream;
use suite::{Proxy, assert_echoes, listener};

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };
/// The memory that five connections may take under way, in bytes.
const MEMORY_MAX: usize = 2 << 20;
/// A source that waits for another one is parked.
const SWITCHES_OF_A_PAUSE_MAX: usize = 0;

#[test]
fn a_signal_lets_connections_finish_and_a_second_one_does_not() {
    for is_forced in [false, true] {
        let backend = listener();
        let proxy = Proxy::between(&backend);
        let (client, peer) = proxy.connection(&backend);
        proxy.signal(Signal::TERM);
        eventually("it accepts no more", || TcpStream::connect(&proxy.address).is_err());
        // And with it the connections of those that were accepted until then.
        drop(backend);
        assert_echoes(&client, &peer);
        proxy.await_rest();
        if is_forced {
            proxy.signal(Signal::TERM);
        } else {
            drop((client, peer));
        }
        proxy.ends_well();
    }
}
