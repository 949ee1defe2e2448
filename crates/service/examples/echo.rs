//! Echo, the shortest service: `cargo run -p epoll-service --example echo 127.0.0.1:0`.

use epoll_connection::{Consumed, Context, Protocol};
use epoll_service::{Config, Each, Server, Signal, Signals};

struct Echo;

impl Protocol for Echo {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::pass(input.len())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: echo ADDRESS")?;
    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let server = Server::bind(Each(|| Echo), &Config::at([address.parse()?]))?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}
