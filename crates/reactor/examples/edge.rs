//! Edge-triggered: a source is reported when something happens to it, and once.
//!
//!     cargo run -p epoll-reactor --example edge
//!
//! Twelve bytes arrive at once and four handlers meet them. One that reads a part and waits is not
//! called again: the rest lies there until the peer happens to send more. So a handler reads until
//! the read would block, or asks to be revisited while it is not dry. Either way the kernel reports
//! the twelve bytes once, where a level trigger reports them for each piece.
//!
//! Prints for each handler what the kernel reported and what it read, and what wakes the one that
//! forgot.

use epoll_reactor::epoll_sys::socket;
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Readiness, Ready, Token, Watch};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

/// The ways of a handler with a source that is reported.
#[derive(Clone, Copy)]
enum Handler {
    ReadsOnce,
    ReadsUntilDry,
    Revisits,
}

struct Scene {
    reactor: Reactor<Stream>,
    token: Token,
    peer: Stream,
    reads: usize,
    bytes: usize,
}

/// Events of the kernel, reads, bytes read, bytes left.
type Row = (u64, usize, usize, u64);

fn main() -> io::Result<()> {
    println!("trigger  handler                 events  reads  bytes  left");
    let (level, _) = play("level", "reads four", Watch::level, Handler::ReadsOnce)?;
    let (forgets, mut stuck) = play("edge", "reads four", Watch::edge, Handler::ReadsOnce)?;
    let (dry, _) = play("edge", "reads until dry", Watch::edge, Handler::ReadsUntilDry)?;
    let (revisits, _) = play("edge", "reads four, revisits", Watch::edge, Handler::Revisits)?;
    assert_eq!(level, (3, 3, 12, 0));
    assert_eq!(forgets, (1, 1, 4, 8));
    // The last read of each says that nothing is left.
    assert_eq!(dry, (1, 4, 12, 0));
    assert_eq!(revisits, (1, 4, 12, 0));

    stuck.peer.write_all(b"!")?;
    stuck.turn(Handler::ReadsUntilDry)?;
    let woken = stuck.row()?;
    println!("\none more byte: reported again, and all {} bytes are read", woken.2);
    assert_eq!((woken.0, woken.2, woken.3), (2, 13, 0));
    Ok(())
}

fn play(
    trigger: &str,
    name: &str,
    watch: fn(Interest) -> Watch,
    handler: Handler,
) -> io::Result<(Row, Scene)> {
    let (ours, mut peer) = Stream::pair()?;
    let mut reactor: Reactor<Stream> = Reactor::new()?;
    let token = reactor.insert(ours, watch(Interest::IN))?;
    peer.write_all(b"twelve bytes")?;

    let mut scene = Scene { reactor, token, peer, reads: 0, bytes: 0 };
    // More turns than anyone needs.
    for _ in 0..10 {
        scene.turn(handler)?;
    }
    let row = scene.row()?;
    let (events, reads, bytes, left) = row;
    println!("{trigger:<7}  {name:<22}  {events:>6}  {reads:>5}  {bytes:>5}  {left:>4}");
    Ok((row, scene))
}

impl Scene {
    fn turn(&mut self, handler: Handler) -> io::Result<()> {
        self.reactor.wait(Some(Duration::ZERO))?;
        while let Some(ready) = self.reactor.next_ready() {
            let Ready::Owned { token, source, .. } = ready else { continue };
            loop {
                self.reads += 1;
                match source.read(&mut [0; 4]) {
                    // The peer has hung up.
                    Ok(0) => break,
                    Ok(len) => self.bytes += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
                match handler {
                    Handler::ReadsUntilDry => {}
                    Handler::ReadsOnce => break,
                    Handler::Revisits => {
                        self.reactor.revisit(token, Readiness::IN);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn row(&self) -> io::Result<Row> {
        let left = socket::unread(&self.reactor[self.token])?;
        Ok((self.reactor.counters().events, self.reads, self.bytes, left))
    }
}
