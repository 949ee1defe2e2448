//! A chat over WebSocket: `cargo run -p epoll-service --example websocket 127.0.0.1:8080`, then a browser.
//!
//! `GET /` is a page, `GET /chat` becomes a WebSocket (RFC 6455) without extensions. Each message goes to
//! everybody, whichever thread they are served by. At the end of the server everybody is told 1001.

mod chat;
mod frame;
mod handshake;

use chat::Chat;
use epoll_service::{Config, Each, Server, Signal, Signals};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: websocket ADDRESS")?;
    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let server = Server::bind(Each(Chat::default), &Config::at([address.parse()?]))?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}
