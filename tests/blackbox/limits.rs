//! The limit of connections, and the limit of descriptors behind it.

use crate::harness::{Launch, Mode, OBSERVATION, PATIENCE, Server, converse, ends};
use crate::harness::{is_cut_off, poll_input, tool};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

in_all_modes!(one_connection_over_the_limit_is_closed_at_once);

fn one_connection_over_the_limit_is_closed_at_once(mode: Mode) {
    let server = Launch::tcp(mode).flag("--max-connections", "3").start();
    let mut within: Vec<TcpStream> = (0..3).map(|_| server.client()).collect();
    for stream in &mut within {
        converse(stream, b"within");
    }
    for _ in 0..10 {
        ends(&mut server.client());
    }
    for stream in &mut within {
        converse(stream, b"still within");
    }
    // The server learns of the departure in its own time; until then it refuses.
    drop(within.pop());
    let mut next = first_that_is_served(&server);
    ends(&mut server.client());
    converse(&mut next, b"in its place");
}

/// Connects anew until the server keeps the connection.
#[track_caller]
fn first_that_is_served(server: &Server) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = server.client();
        // A connection that was closed already may refuse the message or lose it.
        if stream.write_all(b"x").is_ok() && !is_cut_off(&mut stream) {
            return stream;
        }
        assert!(Instant::now() < deadline, "nobody is served any more");
    }
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    if tool("prlimit").is_none() {
        return;
    }
    let server = Launch::tcp(Mode::Level).under(["prlimit", "--nofile=64:256"]).start();
    let limits = server.process.file("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> =
        line.split_whitespace().filter(|word| word.parse::<u32>().is_ok()).collect();
    assert_eq!(numbers, ["256", "256"], "{line}");
    // The reserve is kept: the limit that was derived refuses before the kernel does.
    let mut kept = Vec::new();
    loop {
        let mut stream = server.client();
        if stream.write_all(b"x").is_err() || is_cut_off(&mut stream) {
            break;
        }
        kept.push(stream);
        assert!(kept.len() < 256, "more connections than descriptors");
    }
    assert!((200..250).contains(&kept.len()), "{} connections for 256 descriptors", kept.len());
}

in_all_modes!(without_descriptors_the_server_neither_spins_nor_forgets);

fn without_descriptors_the_server_neither_spins_nor_forgets(mode: Mode) {
    if tool("prlimit").is_none() {
        return;
    }
    let launch = Launch::tcp(mode).flag("--max-connections", "500");
    let server = launch.under(["prlimit", "--nofile=64:64"]).start();
    let mut queue = Queue::of((0..200).map(|_| server.client()).collect());
    queue.serve_at_least(38);
    assert!(queue.served.len() < 64, "more connections than descriptors");
    assert!(!queue.waiting.is_empty());

    let (ticks, switches) = (server.process.cpu_ticks(), voluntary_switches(&server));
    let start = Instant::now();
    while start.elapsed() < OBSERVATION {
        queue.watch();
    }
    let ticks = server.process.cpu_ticks() - ticks;
    let switches = voluntary_switches(&server) - switches;
    println!("{mode}: {ticks} ticks and {switches} wake-ups in {OBSERVATION:?}");
    // 30 ticks are what a loop that spins would take, and tens of thousands of wake-ups.
    assert!(ticks <= 10 && switches <= 30, "{ticks} ticks, {switches} wake-ups: it spins");
    for stream in &mut queue.served {
        converse(stream, b"as before");
    }

    let before = queue.served.len();
    queue.served.drain(..before / 2);
    queue.serve_at_least(before / 2 + 5);
    queue.settle();
    converse(&mut first_that_is_served(&server), b"a new one");
}

#[track_caller]
fn voluntary_switches(server: &Server) -> u64 {
    server.process.status("voluntary_ctxt_switches")
}

/// Clients of a server that has no room for all of them. Each has sent a byte.
struct Queue {
    served: Vec<TcpStream>,
    /// Connected for all they know, but not accepted yet.
    waiting: Vec<TcpStream>,
    closed: usize,
}

impl Queue {
    fn of(mut waiting: Vec<TcpStream>) -> Self {
        for stream in &mut waiting {
            stream.write_all(b"x").unwrap();
        }
        Self { served: Vec::new(), waiting, closed: 0 }
    }

    /// Looks which of those that wait have an answer; gives them some time for it.
    #[track_caller]
    fn watch(&mut self) {
        let ready = poll_input(&self.waiting, OBSERVATION);
        let waiting = std::mem::take(&mut self.waiting);
        for (mut stream, is_ready) in waiting.into_iter().zip(ready) {
            if !is_ready {
                self.waiting.push(stream);
            } else if matches!(stream.read(&mut [0]), Ok(1)) {
                self.served.push(stream);
            } else {
                self.closed += 1;
            }
        }
    }

    #[track_caller]
    fn serve_at_least(&mut self, count: usize) {
        self.watch_until("more are served", |queue| queue.served.len() >= count);
    }

    /// Waits until each is either served or closed.
    #[track_caller]
    fn settle(&mut self) {
        self.watch_until("nobody waits", |queue| {
            // Those who are served make room for the others.
            queue.served.truncate(10);
            queue.waiting.is_empty()
        });
    }

    #[track_caller]
    fn watch_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.watch();
            let (served, waiting) = (self.served.len(), self.waiting.len());
            let state = (served, waiting, self.closed);
            assert!(Instant::now() < deadline, "not until {what}: {state:?}");
        }
    }
}
