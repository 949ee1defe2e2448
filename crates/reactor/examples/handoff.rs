//! A thread hands connections to a reactor from outside: a channel carries them, a waker tells.
//!
//!     cargo run -p epoll-reactor --example handoff
//!
//! The reactor answers each message in capitals until every connection is closed, then ends. Prints what the other
//! thread writes to each connection that it has handed over, and the answer from the thread of the reactor.

use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Ready, Source, Waker, Watch};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

const CONNECTIONS: usize = 3;

struct Client {
    stream: Stream,
    /// The part of the answer that was not written yet.
    pending: Vec<u8>,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Source for Client {
    fn is_nonblocking(&self) -> bool {
        self.stream.is_nonblocking()
    }

    fn is_unshared(&self) -> bool {
        self.stream.is_unshared()
    }
}

impl Client {
    /// Reads unless an answer is pending, and writes. Returns `false` at the end of the stream.
    fn answer(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if self.pending.is_empty() {
            let len = self.stream.read(buffer)?;
            if len == 0 {
                return Ok(false);
            }
            self.pending = buffer[..len].to_ascii_uppercase();
        }
        let len = self.stream.write(&self.pending)?;
        self.pending.drain(..len);
        Ok(true)
    }
}

fn main() -> io::Result<()> {
    let mut reactor: Reactor<Client> = Reactor::new()?;
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
                        let client = Client { stream, pending: Vec::new() };
                        reactor.insert(client, Watch::level(Interest::IN))?;
                    }
                }
                Ready::Owned { token, source, .. } => {
                    let is_open = match source.answer(&mut buffer) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                        // An error is about this connection. The loop goes on.
                        answered => answered.unwrap_or(false),
                    };
                    let is_answered = source.pending.is_empty();
                    let interest = if is_answered { Interest::IN } else { Interest::OUT };
                    if is_open {
                        reactor.set_interest(token, interest)?;
                    } else {
                        reactor.close(token);
                        closed += 1;
                    }
                }
                Ready::Watched { .. } => {}
            }
        }
    }
    outside.join().expect("the other thread does not panic")
}

fn hand_over(arrivals: &mpsc::Sender<Stream>, waker: &Waker) -> io::Result<()> {
    println!("written to it  answered");
    for number in 0..CONNECTIONS {
        let (mut ours, theirs) = UnixStream::pair()?;
        arrivals.send(theirs.try_into()?).map_err(io::Error::other)?;
        waker.wake()?;
        write!(ours, "message {number}")?;
        let mut answer = [0; 9];
        ours.read_exact(&mut answer)?;
        assert_eq!(answer, format!("MESSAGE {number}").as_bytes());
        println!("message {number:<5}  {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}
