//! Two ends of a conversation: the half-close that keeps every byte, and the close that resets.
//!
//!     cargo run -p epoll-reactor --example half_close
//!
//! A client sends a thousand bytes and shuts down its writing half: a FIN. That is no goodbye, it
//! still reads. A server that reads to the end gives all of it back, then sends its own FIN. One that
//! closes while bytes lie unread makes the kernel send an RST instead of a FIN, and the client's read
//! fails. If the rest is not wanted, shut down writing, read and discard it, then close.
//!
//! Prints what the server does, what the client reads, and how its reading ends.

use epoll_reactor::epoll_sys::socket;
use epoll_reactor::net::{Address, ListenOptions, Listener, Stream};
use epoll_reactor::{Interest, Reactor, Ready, Watch};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

const MESSAGE: [u8; 1000] = [b'x'; 1000];

/// The ways to serve a client that has sent all it will.
#[derive(Clone, Copy)]
enum Server {
    EchoesAll,
    ClosesAtHalf,
    DiscardsTheRest,
}

fn main() -> io::Result<()> {
    println!("the server                                bytes back  the client's last read");
    let all = converse("echoes all, closes", Server::EchoesAll)?;
    let half = converse("echoes half, closes", Server::ClosesAtHalf)?;
    let lingers = converse("echoes half, shuts down, discards, closes", Server::DiscardsTheRest)?;
    assert_eq!(all, (MESSAGE.len(), None));
    assert_eq!(half, (MESSAGE.len() / 2, Some(ErrorKind::ConnectionReset)));
    assert_eq!(lingers, (MESSAGE.len() / 2, None));
    Ok(())
}

/// Returns the number of bytes that came back, and the error after them if they did not end well.
fn converse(name: &str, server: Server) -> io::Result<(usize, Option<ErrorKind>)> {
    let any: Address = "127.0.0.1:0".parse()?;
    let mut listener = Listener::bind(&any, &ListenOptions::default())?;
    let address = listener.address().inet().ok_or(ErrorKind::InvalidInput)?;
    let mut client = TcpStream::connect(address)?;
    client.write_all(&MESSAGE)?;
    client.shutdown(Shutdown::Write)?;

    serve(&mut listener, server)?;
    let mut back = Vec::new();
    let error = client.read_to_end(&mut back).err().map(|error| error.kind());
    let ending = error.map_or("end of stream".to_owned(), |kind| kind.to_string());
    println!("{name:<41} {:>10}  {ending}", back.len());
    Ok((back.len(), error))
}

/// Serves one client, from its connection to the close.
fn serve(listener: &mut Listener, server: Server) -> io::Result<()> {
    let mut reactor: Reactor<Stream, ()> = Reactor::new()?;
    reactor.watch(&*listener, (), Watch::level(Interest::IN))?;
    let mut echo = Echo { server, pending: Vec::new(), has_echoed: false };
    loop {
        reactor.wait(None)?;
        while let Some(ready) = reactor.next_ready() {
            match ready {
                Ready::Watched { .. } => {
                    for accepted in listener.accept_batch() {
                        reactor.insert(accepted.stream, Watch::level(Interest::IN))?;
                    }
                }
                Ready::Owned { token, source, .. } => {
                    let is_open = match echo.step(source) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                        stepped => stepped?,
                    };
                    if !is_open {
                        reactor.close(token);
                        return Ok(());
                    }
                    let is_dry = echo.pending.is_empty();
                    let interest = if is_dry { Interest::IN } else { Interest::OUT };
                    reactor.set_interest(token, interest)?;
                }
                Ready::Woken => {}
            }
        }
    }
}

struct Echo {
    server: Server,
    /// Bytes that were read and not written yet.
    pending: Vec<u8>,
    /// A piece was read and written back.
    has_echoed: bool,
}

impl Echo {
    /// Reads unless bytes are pending, and writes. Returns `false` when the server is to close.
    fn step(&mut self, stream: &mut Stream) -> io::Result<bool> {
        if self.pending.is_empty() {
            let mut buffer = [0; MESSAGE.len() / 2];
            let len = stream.read(&mut buffer)?;
            if len == 0 {
                // Nothing lies unread at the client's FIN, so the close sends a FIN too.
                return Ok(false);
            }
            if self.has_echoed && matches!(self.server, Server::DiscardsTheRest) {
                return Ok(true);
            }
            self.pending.extend_from_slice(&buffer[..len]);
        }
        let len = stream.write(&self.pending)?;
        self.pending.drain(..len);
        if !self.pending.is_empty() {
            return Ok(true);
        }
        self.has_echoed = true;
        match self.server {
            Server::EchoesAll => {}
            Server::ClosesAtHalf => assert!(socket::unread(&*stream)? > 0),
            Server::DiscardsTheRest => stream.shutdown(Shutdown::Write)?,
        }
        Ok(!matches!(self.server, Server::ClosesAtHalf))
    }
}
