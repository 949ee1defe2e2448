//! Clients that keep their connections: those that never read, that send a byte now and then, and that send
//! in bursts. One thread looks after all of them, at every tick of 10 ms. A connection that ends is not
//! opened again.

use crate::options::Options;
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(10);
/// The number of ticks from one burst to the next.
const BURST_TICKS: u64 = 10;
const BURST: [u8; 16 * 1024] = [b'b'; 16 * 1024];
/// The time to connect, which a server that is flooded may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mute,
    Drip,
    Burst,
}

/// The clients of a kind.
#[derive(Debug)]
pub(crate) struct Kept {
    kind: Kind,
    clients: usize,
    streams: Vec<TcpStream>,
    sent: u64,
    received: u64,
    ended: u64,
}

/// Runs the mute, drip and burst clients of `options` until `end`, and returns their counts in this
/// order.
pub(crate) fn keep(options: &Options, end: Instant) -> io::Result<[Kept; 3]> {
    let kinds =
        [(Kind::Mute, options.mute), (Kind::Drip, options.drip), (Kind::Burst, options.burst)];
    let mut kept = kinds.map(|(kind, clients)| Kept::new(kind, clients));
    for of_kind in &mut kept {
        of_kind.connect(options.target)?;
    }
    let mut tick = 0;
    let mut next = Instant::now();
    // With nobody to look after there is nothing to stay for.
    while kept.iter().any(|of_kind| !of_kind.streams.is_empty()) && Instant::now() < end {
        for of_kind in &mut kept {
            of_kind.tick(tick);
        }
        tick += 1;
        next = (next + TICK).max(Instant::now());
        thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
    }
    Ok(kept)
}

impl Kept {
    fn new(kind: Kind, clients: usize) -> Self {
        Self { kind, clients, streams: Vec::new(), sent: 0, received: 0, ended: 0 }
    }

    fn connect(&mut self, target: SocketAddr) -> io::Result<()> {
        for _ in 0..self.clients {
            let stream = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            self.streams.push(stream);
        }
        Ok(())
    }

    fn tick(&mut self, tick: u64) {
        let Self { kind, sent, received, ended, .. } = self;
        self.streams.retain_mut(|stream| {
            let done = match kind {
                Kind::Mute => send(stream, &BURST, sent),
                Kind::Drip => send(stream, b"d", sent).and_then(|()| take(stream, received)),
                Kind::Burst if tick.is_multiple_of(BURST_TICKS) => send(stream, &BURST, sent),
                Kind::Burst => take(stream, received),
            };
            *ended += u64::from(done.is_err());
            done.is_ok()
        });
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "clients": self.clients, "sent": self.sent, "received": self.received,
            "ended": self.ended })
    }
}

/// Sends as many of `bytes` as the socket takes.
fn send(stream: &mut TcpStream, bytes: &[u8], sent: &mut u64) -> io::Result<()> {
    let len = or_later(stream.write(bytes))?;
    *sent += len.unwrap_or(0) as u64;
    Ok(())
}

/// Receives what has come.
fn take(stream: &mut TcpStream, received: &mut u64) -> io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    match or_later(stream.read(&mut buffer))? {
        Some(0) => Err(ErrorKind::UnexpectedEof.into()),
        len => {
            *received += len.unwrap_or(0) as u64;
            Ok(())
        }
    }
}

fn or_later(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(len) => Ok(Some(len)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
