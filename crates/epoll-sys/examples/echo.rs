//! The loop that everything starts from: wait, look at what is ready, accept, read, write.
//!
//!     cargo run -p epoll-sys --example echo
//!
//! An echo server for three clients, on nothing but the system calls. The kernel hands back the 64
//! bits that a descriptor was added with, and nothing else: which connection is meant is up to the
//! program. Here it is the number of the descriptor, which will do as long as a handler closes no
//! connection but its own; a reactor puts a generation beside it.
//!
//! Prints what each turn reports and what the server does about it. It ends when all have hung up.

#![forbid(unsafe_code)]

use epoll_sys::{Epoll, Event, Events, Interest, Watch, socket};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

const CLIENTS: usize = 3;
/// The data of the listener's events; no descriptor has this number.
const LISTENER: u64 = u64::MAX;

struct Server {
    epoll: Epoll,
    listener: OwnedFd,
    connections: BTreeMap<u64, Connection>,
    accepted: usize,
    echoed: usize,
}

struct Connection {
    socket: OwnedFd,
    /// Bytes that were read and not written yet.
    pending: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listener = socket::stream(socket::Family::Inet)?;
    socket::bind(&listener, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket::listen(&listener, 16)?;
    let address = socket::local_address(&listener)?.inet().ok_or(io::ErrorKind::InvalidInput)?;
    let clients: Vec<_> =
        (1..=CLIENTS).map(|number| thread::spawn(move || talk(address, number))).collect();

    let epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER, Watch::level(Interest::IN))?;
    let connections = BTreeMap::new();
    let mut server = Server { epoll, listener, connections, accepted: 0, echoed: 0 };
    server.run()?;

    let mut sent = 0;
    for client in clients {
        sent += client.join().expect("a client that does not panic")?;
    }
    println!("{} bytes came and went back", server.echoed);
    assert_eq!(server.echoed, sent);
    Ok(())
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        println!("turn  data  readiness    what is done");
        let mut events = Events::with_capacity(16);
        let mut turn = 0;
        while self.accepted < CLIENTS || !self.connections.is_empty() {
            turn += 1;
            self.epoll.wait(&mut events, None)?;
            for Event { data, readiness } in events.iter() {
                let names: Vec<_> = readiness.iter_names().map(|(name, _)| name).collect();
                let (done, names) = (self.handle(data)?, names.join(" | "));
                let data = if data == LISTENER { "-".to_owned() } else { data.to_string() };
                println!("{turn:>4}  {data:>4}  {names:<11}  {done}");
            }
        }
        Ok(())
    }

    fn handle(&mut self, data: u64) -> io::Result<String> {
        if data == LISTENER {
            return self.accept();
        }
        let Some(connection) = self.connections.get_mut(&data) else {
            return Ok("known to nobody".to_owned());
        };
        match connection.echo(&self.epoll, data) {
            Ok(Some(len)) => {
                self.echoed += len;
                return Ok(format!("echoed {len} bytes"));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok("nothing to read".to_owned());
            }
            // An error is about this connection. The server goes on.
            Ok(None) | Err(_) => {}
        }
        // Closing the last descriptor also ends its registration.
        self.connections.remove(&data);
        Ok("read the end, closed".to_owned())
    }

    fn accept(&mut self) -> io::Result<String> {
        let (connection, _) = socket::accept(&self.listener)?;
        let data = u64::try_from(connection.as_raw_fd()).map_err(io::Error::other)?;
        self.epoll.add(&connection, data, Watch::level(Interest::IN | Interest::RDHUP))?;
        self.connections.insert(data, Connection { socket: connection, pending: Vec::new() });
        self.accepted += 1;
        Ok(format!("accepted {data}"))
    }
}

impl Connection {
    /// Reads unless bytes are pending, and writes. Returns how many bytes were written, or `None` at
    /// the end of the stream.
    fn echo(&mut self, epoll: &Epoll, data: u64) -> io::Result<Option<usize>> {
        let had_pending = !self.pending.is_empty();
        if !had_pending {
            let mut buffer = [0; 64];
            let len = socket::recv(&self.socket, &mut buffer)?;
            if len == 0 {
                return Ok(None);
            }
            self.pending.extend_from_slice(&buffer[..len]);
        }
        let sent = match socket::send(&self.socket, &self.pending) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        self.pending.drain(..sent);
        let has_pending = !self.pending.is_empty();
        if has_pending != had_pending {
            // Not for both: a level trigger would report what there is to read in every turn.
            let interest = if has_pending { Interest::OUT } else { Interest::IN | Interest::RDHUP };
            epoll.modify(&self.socket, data, Watch::level(interest))?;
        }
        Ok(Some(sent))
    }
}

/// Sends a few bytes, reads them back to the end, and says how many they were.
fn talk(address: SocketAddr, number: usize) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    let message = "hello".repeat(number);
    stream.write_all(message.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut echo = String::new();
    stream.read_to_string(&mut echo)?;
    assert_eq!(echo, message);
    Ok(message.len())
}
