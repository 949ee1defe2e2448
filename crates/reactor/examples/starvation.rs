//! Starvation: a peer that sends as fast as it is read keeps its handler busy for ever.
//!
//!     cargo run -p epoll-reactor --example starvation
//!
//! An edge-triggered handler has to read until its source is dry, and a busy peer sees to it that it
//! never is: the quiet peers of the same batch wait for all of it. One that reads a budget and asks
//! to be revisited gives way: the others come first, nothing is lost, and no wait sleeps meanwhile.
//!
//! Prints how many bytes of the busy peer were read before the last quiet one was heard.

use epoll_reactor::net::Stream;
use epoll_reactor::{Counters, Interest, Reactor, Readiness, Ready, Token, Watch};
use std::io::{self, ErrorKind, Read, Write};

const QUIET: usize = 3;
const PIECE: usize = 4096;
/// All that the busy peer has to say; an endless one would not let the first handler end.
const FLOOD: usize = 256 * PIECE;

fn main() -> io::Result<()> {
    println!("the handler reads      bytes before the others  revisits  waits");
    let (greedy, greedy_counts) = serve("until it is dry", usize::MAX)?;
    let (fair, fair_counts) = serve("16 KiB at a time", 4 * PIECE)?;
    assert_eq!(greedy, FLOOD);
    assert_eq!(fair, 4 * PIECE);
    assert_eq!(greedy_counts.revisits, 0);
    assert!(fair_counts.revisits >= (FLOOD / (4 * PIECE)) as u64 - 1);
    // A revisit is no report of the kernel: the busy peer's edge came once, whatever it sent since.
    println!("\nthe quiet peers wait for {} times less", greedy / fair);
    Ok(())
}

/// Returns the bytes of the flood that were read before the last quiet peer was heard.
fn serve(name: &str, budget: usize) -> io::Result<(usize, Counters)> {
    let mut reactor: Reactor<Stream> = Reactor::new()?;
    let (ours, mut flood) = Stream::pair()?;
    let busy = reactor.insert(ours, Watch::edge(Interest::IN))?;
    let mut sent = flood.write(&[b'f'; PIECE])?;
    // Their events come after the flood's, in the same batch.
    let mut peers = Vec::new();
    for _ in 0..QUIET {
        let (ours, mut theirs) = Stream::pair()?;
        reactor.insert(ours, Watch::edge(Interest::IN))?;
        theirs.write_all(b"quiet")?;
        peers.push(theirs);
    }

    let (mut read, mut heard, mut before_others) = (0, 0, 0);
    while read < FLOOD || heard < QUIET {
        reactor.wait(None)?;
        while let Some(ready) = reactor.next_ready() {
            let Ready::Owned { token, source, .. } = ready else { continue };
            if token == busy {
                let (len, is_dry) = read_some(source, budget, &mut flood, &mut sent)?;
                read += len;
                revisit_unless(is_dry, &mut reactor, token);
            } else {
                heard += usize::from(source.read(&mut [0; 8])? == 5);
                before_others = read;
            }
        }
    }
    let counts = reactor.counters();
    println!("{name:<22} {before_others:>23}  {:>8}  {:>5}", counts.revisits, counts.waits);
    Ok((before_others, counts))
}

/// Reads up to `budget` bytes, for each of which the peer sends another one. Returns how many bytes
/// were read, and whether nothing was left.
fn read_some(
    source: &mut Stream,
    budget: usize,
    flood: &mut Stream,
    sent: &mut usize,
) -> io::Result<(usize, bool)> {
    let mut read = 0;
    while read < budget {
        match source.read(&mut [0; PIECE]) {
            // The peer has hung up: there is nothing left, as when a read would block.
            Ok(0) => return Ok((read, true)),
            Ok(len) => read += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((read, true)),
            Err(error) => return Err(error),
        }
        if *sent < FLOOD {
            *sent += flood.write(&[b'f'; PIECE])?;
        }
    }
    Ok((read, false))
}

fn revisit_unless(is_dry: bool, reactor: &mut Reactor<Stream>, token: Token) {
    if !is_dry {
        reactor.revisit(token, Readiness::IN);
    }
}
