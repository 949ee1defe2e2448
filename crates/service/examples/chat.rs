//! Chat, messages to all: `cargo run -p epoll-service --example chat 127.0.0.1:0`.
//!
//! Each line goes to everybody else, whichever thread they are served by. Who takes nothing for so long that
//! 64 KiB wait is dropped.

use epoll_connection::{ConnectionId, Consumed, Context, Flow, Protocol};
use epoll_service::{Config, Each, Server, Signal, Signals};

const PENDING_MAX: usize = 64 * 1024;
const LINE_MAX: usize = 1024;

struct Line {
    from: ConnectionId,
    text: Vec<u8>,
}

struct Chat;

impl Protocol for Chat {
    type Local = ();
    type Message = Line;

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), Line>) -> Consumed {
        // Looked for where a line may end, so that its limit does not depend on how much comes at once.
        let Some(end) = input.iter().take(LINE_MAX + 1).position(|&byte| byte == b'\n') else {
            let flow = if input.len() > LINE_MAX { Flow::Abort } else { Flow::Keep };
            return Consumed::nothing().then(flow);
        };
        let line = Line { from: context.id(), text: input[..=end].to_vec() };
        context.broadcast(line);
        Consumed::bytes(end + 1)
    }

    fn on_message(&mut self, line: &Line, context: &mut Context<'_, (), Line>) -> Flow {
        if line.from == context.id() {
            return Flow::Keep;
        }
        if context.pending() > PENDING_MAX {
            return Flow::Abort;
        }
        context.write(&line.text);
        Flow::Keep
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: chat ADDRESS")?;
    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let server = Server::bind(Each(|| Chat), &Config::at([address.parse()?]))?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}
