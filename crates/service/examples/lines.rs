//! A line protocol with a deadline: `cargo run -p epoll-service --example lines 127.0.0.1:0`.
//!
//! Each line is answered with its words in reverse. Who takes longer than ten seconds for a line is told so,
//! and the connection ends; a line may have 4096 bytes.

use epoll_connection::{Consumed, Context, Flow, Protocol};
use epoll_service::{Config, Each, Server, Signal, Signals};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const LINE_MAX: usize = 4096;

struct Lines;

impl Protocol for Lines {
    type Local = ();
    type Message = ();

    fn on_open(&mut self, context: &mut Context<'_, (), ()>) -> Flow {
        context.write(b"say something\n");
        context.set_deadline(Some(PATIENCE));
        Flow::Keep
    }

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
        // Looked for where a line may end, so that its limit does not depend on how much comes at once.
        let Some(end) = input.iter().take(LINE_MAX + 1).position(|&byte| byte == b'\n') else {
            if input.len() <= LINE_MAX {
                return Consumed::nothing();
            }
            context.write(b"too long\n");
            return Consumed::nothing().then(Flow::Finish);
        };
        let words = input[..end].trim_ascii().rsplit(|&byte| byte == b' ');
        for (at, word) in words.enumerate() {
            context.write(if at > 0 { b" " } else { b"" });
            context.write(word);
        }
        context.write(b"\n");
        // Counted from here for the next line. It moves no timer: the deadline only becomes later.
        context.set_deadline(Some(PATIENCE));
        Consumed::bytes(end + 1)
    }

    fn on_deadline(&mut self, context: &mut Context<'_, (), ()>) -> Flow {
        context.write(b"too slow\n");
        Flow::Finish
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: lines ADDRESS")?;
    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let server = Server::bind(Each(|| Lines), &Config::at([address.parse()?]))?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}
