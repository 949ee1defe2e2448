//! Jobs on a pool of threads: `cargo run -p epoll-service --example jobs 127.0.0.1:0`.
//!
//! Each line is a number, which is answered with the number of primes below it. Counting takes long, so a
//! thread of its own does it; meanwhile the connection is paused, and the loop serves others.

use epoll_connection::{ConnectionId, Consumed, Context, Flow, Protocol};
use epoll_service::{Config, Each, Handle, Server, Service, Signal, Signals};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const NUMBER_MAX: u32 = 10_000_000;

struct Job {
    of: ConnectionId,
    number: u32,
}

struct Primes {
    jobs: Sender<Job>,
}

impl Protocol for Primes {
    type Local = ();
    /// The answer of the pool.
    type Message = usize;

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), usize>) -> Consumed {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            let flow = if input.len() > 16 { Flow::Abort } else { Flow::Keep };
            return Consumed::nothing().then(flow);
        };
        let number =
            std::str::from_utf8(&input[..end]).ok().and_then(|text| text.trim().parse().ok());
        match number.filter(|&number| number <= NUMBER_MAX) {
            // The next line is read when this one is answered.
            Some(number) if self.jobs.send(Job { of: context.id(), number }).is_ok() => {
                Consumed::bytes(end + 1).then(Flow::Pause)
            }
            _ => {
                context.write(b"a number up to 10000000\n");
                Consumed::bytes(end + 1)
            }
        }
    }

    fn on_message(&mut self, primes: &usize, context: &mut Context<'_, (), usize>) -> Flow {
        context.write(format!("{primes}\n").as_bytes());
        Flow::Read
    }
}

/// Does jobs until the server, which has the other end, is gone.
fn work<S: Service<Protocol = Primes>>(jobs: &Receiver<Job>, handle: &Handle<S>) {
    for Job { of, number } in jobs {
        // A connection that is gone gets nothing.
        if let Err(error) = handle.send(of, primes_below(number)) {
            eprintln!("{error:?}");
        }
    }
}

fn primes_below(number: u32) -> usize {
    let mut is_composite = vec![false; number as usize];
    let mut primes = 0;
    for candidate in 2..number as usize {
        if !is_composite[candidate] {
            primes += 1;
            (candidate * candidate..number as usize)
                .step_by(candidate)
                .for_each(|multiple| is_composite[multiple] = true);
        }
    }
    primes
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: jobs ADDRESS")?;
    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let (jobs, queue) = channel();
    let service = Each(move || Primes { jobs: jobs.clone() });
    let server = Server::bind(service, &Config::at([address.parse()?]))?;
    let (address, handle) = (server.addresses()[0], server.handle());
    thread::spawn(move || work(&queue, &handle));
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}
