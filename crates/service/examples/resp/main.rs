//! Redis, the protocol and some of its commands: `cargo run -p epoll-service --example resp 127.0.0.1:0 2`.
//!
//! The second argument is the number of threads, one unless it is given. All of them share the keys, which
//! are in maps behind locks: see `protocol/store.rs`. What a command does is in `protocol/commands`.

mod protocol;

use epoll_connection::Limits;
use epoll_reactor::net::Peer;
use epoll_service::{Config, Server, Service, Signal, Signals, Timeouts};
use protocol::{INPUT_MAX, Local, Resp, Shared};
use std::num::NonZeroU32;
use std::sync::Arc;

struct Redis(Arc<Shared>);

impl Service for Redis {
    type Protocol = Resp;

    fn local(&self, _: usize) -> Local {
        Local::new(Arc::clone(&self.0))
    }

    fn accept(&self, _: usize, _: &Peer, local: &mut Local) -> Option<Resp> {
        Some(Resp::new(local.shared.next_id()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: resp ADDRESS [THREADS]")?;
    let threads: NonZeroU32 = arguments.next().as_deref().unwrap_or("1").parse()?;
    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let config = Config {
        threads: Some(threads),
        limits: Limits { input_max: INPUT_MAX, ..Limits::default() },
        // Clients of redis keep connections open for as long as they like.
        timeouts: Timeouts { idle: None, ..Timeouts::default() },
        ..Config::at([address.parse()?])
    };
    let server = Server::bind(Redis(Arc::new(Shared::new(threads))), &config)?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}
