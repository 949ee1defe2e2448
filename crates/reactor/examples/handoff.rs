//! A thread hands connections to a reactor from outside: a channel carries them, a waker tells.
//!
//!     cargo run --example handoff
//!
//! The reactor answers each message in capitals until every connection is closed, then ends.

#![forbid(unsafe_code)]

use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Ready, Waker, Watch};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

const CONNECTIONS: usize = 3;

fn main() -> io::Result<()> {
    let mut reactor: Reactor<Stream> = Reactor::new()?;
    let (sender, arrivals) = mpsc::channel();
    let waker = reactor.waker();
    let outside = thread::spawn(move || hand_over(&sender, &waker));

    let mut buffer = [0; 4096];
    let mut closed = 0;
    while closed < CONNECTIONS {
        reactor.wait(None)?;
        while let Some(ready) = reactor.next_ready() {
            match ready {
                // Everything that was sent before the wake is in the channel now.
                Ready::Woken => {
                    for stream in arrivals.try_iter() {
                        reactor.insert(stream, Watch::level(Interest::IN))?;
                    }
                }
                Ready::Owned { token, source, .. } => match source.read(&mut buffer)? {
                    0 => {
                        reactor.close(token);
                        closed += 1;
                    }
                    len => source.write_all(&buffer[..len].to_ascii_uppercase())?,
                },
                Ready::Watched { .. } => {}
            }
        }
    }
    outside.join().expect("the other thread does not panic")
}

fn hand_over(arrivals: &mpsc::Sender<Stream>, waker: &Waker) -> io::Result<()> {
    for number in 0..CONNECTIONS {
        let (mut ours, theirs) = UnixStream::pair()?;
        arrivals.send(theirs.try_into()?).map_err(io::Error::other)?;
        waker.wake()?;
        write!(ours, "message {number}")?;
        let mut answer = [0; 9];
        ours.read_exact(&mut answer)?;
        assert_eq!(answer, format!("MESSAGE {number}").as_bytes());
        println!("{}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}
