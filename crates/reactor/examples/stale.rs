//! A batch of events is a look at the past: a handler can end what a later event of it is about.
//!
//!     cargo run -p epoll-reactor --example stale
//!
//! Two connections are ready and come in one batch. The handler of the first closes the second and
//! takes a new connection, which gets the number of the one that was closed: the kernel gives out the
//! lowest that is free. The second event is still to come. A loop that goes by numbers hands it to the
//! newcomer, which has nothing to read. A token has a generation beside the number of its slot: the
//! event finds another one there, and is dropped and counted.
//!
//! Prints number and token of the closed connection and of the new one, and what became of the
//! events.

use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Ready, Token, Watch};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

fn main() -> io::Result<()> {
    let mut reactor: Reactor<Stream> = Reactor::new()?;
    let (ours, mut peer) = Stream::pair()?;
    let one = reactor.insert(ours, Watch::level(Interest::IN))?;
    let (ours, mut other_peer) = Stream::pair()?;
    let other = reactor.insert(ours, Watch::level(Interest::IN))?;
    peer.write_all(b"for one")?;
    other_peer.write_all(b"for the other")?;

    reactor.wait(None)?;
    let mut reported = Vec::new();
    let mut swapped = None;
    while let Some(ready) = reactor.next_ready() {
        let Ready::Owned { token, .. } = ready else { continue };
        reported.push(token);
        if swapped.is_none() {
            let victim = if token == one { other } else { one };
            swapped = Some(replace(&mut reactor, victim)?);
        }
    }
    let events = reactor.counters().events;
    println!("\nevents in the batch  {events}");
    println!("  reported           {}", reported.len());
    println!("  dropped as stale   {}", reactor.counters().stale);
    let (newcomer, _its_peer) = swapped.ok_or(io::ErrorKind::NotFound)?;
    assert_eq!((events, reported.len(), reactor.counters().stale), (2, 1, 1));
    assert!(!reported.contains(&newcomer));

    // What is watched for is the newcomer's own: it hears nothing until its peer speaks.
    reactor.wait(Some(Duration::ZERO))?;
    while let Some(ready) = reactor.next_ready() {
        assert!(!matches!(ready, Ready::Owned { token, .. } if token == newcomer));
    }
    Ok(())
}

/// Closes a connection and takes a new one, of which the peer comes along.
fn replace(reactor: &mut Reactor<Stream>, victim: Token) -> io::Result<(Token, Stream)> {
    let closed = number(&reactor[victim]);
    println!("            number  token");
    println!("closed      {closed:>6}  {victim:?}");
    reactor.close(victim);
    let (ours, theirs) = Stream::pair()?;
    let newcomer = reactor.insert(ours, Watch::level(Interest::IN))?;
    println!("took over   {:>6}  {newcomer:?}", number(&reactor[newcomer]));
    assert_eq!(number(&reactor[newcomer]), closed, "the lowest number that is free");
    assert_ne!(newcomer, victim);
    Ok((newcomer, theirs))
}

fn number(stream: &Stream) -> RawFd {
    stream.as_fd().as_raw_fd()
}
