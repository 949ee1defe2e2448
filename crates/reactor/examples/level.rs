//! Level-triggered: a source is reported for as long as it is ready.
//!
//!     cargo run -p epoll-reactor --example level
//!
//! Twelve bytes arrive at once and the handler reads four at a time. Each turn reports the source
//! again until nothing is left: no byte can be forgotten, and each piece costs a wait. The other side
//! of it: bytes that nobody reads, and a socket that is watched for room it does not need, are
//! reported in every turn, and a loop that waits for them spins.
//!
//! Prints what each turn reports, and how many of ten turns report what nobody touches.

use epoll_reactor::epoll_sys::socket;
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Ready, Watch};
use std::io::{self, Read, Write};
use std::time::Duration;

const MESSAGE: &[u8] = b"twelve bytes";
const TURNS: usize = 10;

fn main() -> io::Result<()> {
    println!("turn  reports  bytes read  bytes left");
    let turns = read_in_pieces()?;
    assert_eq!(turns, [(1, 4, 8), (1, 4, 4), (1, 4, 0), (0, 0, 0)]);

    let unread = reports_untouched(Interest::IN)?;
    let writable = reports_untouched(Interest::OUT)?;
    println!("\nof {TURNS} turns, reported in");
    println!("  bytes that nobody reads  {unread:>3}");
    println!("  room that nobody needs   {writable:>3}");
    assert_eq!((unread, writable), (TURNS, TURNS));
    Ok(())
}

/// Returns for each turn the reports, the bytes read and the bytes left.
fn read_in_pieces() -> io::Result<Vec<(usize, usize, u64)>> {
    let (ours, mut theirs) = Stream::pair()?;
    let mut reactor: Reactor<Stream> = Reactor::new()?;
    let token = reactor.insert(ours, Watch::level(Interest::IN))?;
    theirs.write_all(MESSAGE)?;

    let mut turns = Vec::new();
    for turn in 1..=4 {
        // Only looks: the last turn has nothing to report, and would sleep.
        reactor.wait(Some(Duration::ZERO))?;
        let (mut reports, mut read) = (0, 0);
        while let Some(ready) = reactor.next_ready() {
            if let Ready::Owned { source, .. } = ready {
                reports += 1;
                // One read a report, which a level trigger allows: the rest is reported again. Zero
                // would be the end of the stream, which this peer does not send.
                read += source.read(&mut [0; 4])?;
            }
        }
        let left = socket::unread(&reactor[token])?;
        println!("{turn:>4}  {reports:>7}  {read:>10}  {left:>10}");
        turns.push((reports, read, left));
    }
    Ok(turns)
}

/// Returns the number of turns that report a socket that is ready and left alone.
fn reports_untouched(interest: Interest) -> io::Result<usize> {
    let (ours, mut theirs) = Stream::pair()?;
    let mut reactor: Reactor<Stream> = Reactor::new()?;
    reactor.insert(ours, Watch::level(interest))?;
    theirs.write_all(MESSAGE)?;

    let mut reported_in = 0;
    for _ in 0..TURNS {
        reactor.wait(Some(Duration::ZERO))?;
        while let Some(ready) = reactor.next_ready() {
            reported_in += usize::from(matches!(ready, Ready::Owned { .. }));
        }
    }
    Ok(reported_in)
}
