//! Datagrams: a DNS server that asks another one, and asks again when no answer comes.
//!
//!     cargo run -p epoll-reactor --example dns
//!
//! UDP loses datagrams, so a client needs a timeout, and a server must not block on one query. The server
//! here knows one name. For another name it stores the client, asks upstream and goes on; the number of the
//! query leads from the answer back to the client. All timeouts have one length, so a queue holds them in
//! the order of their ends, and its first entry bounds the wait; for timeouts of many lengths there is
//! `epoll-timers`. Datagrams are received and sent in batches, many in one system call. Datagrams that the
//! socket does not take stay in the batch until it is writable; one that cannot be sent at all is dropped,
//! as the network might do.
//!
//! The upstream server, in the same loop, ignores the first query for each name, and every query for one
//! name. The last byte of an address that it returns is the number of the query that it answers.
//!
//! Prints what a client is told.

use epoll_reactor::epoll_sys::Timestamp;
use epoll_reactor::net::{Address, Datagram, DatagramOptions, RecvBatch, SendBatch};
use epoll_reactor::{Interest, Reactor, Ready, Token, Watch};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

/// The longest datagram of the original DNS.
const LEN_MAX: usize = 512;
const BATCH_MAX: usize = 32;
/// The time after which a query is sent again, or given up.
const TIMEOUT: Duration = Duration::from_millis(50);
const TRIES_MAX: u8 = 3;
/// The number of queries that may wait for an answer; further ones are dropped, as by a full buffer.
const WAITING_MAX: usize = 1000;

const HEADER_LEN: usize = 12;
const SERVER_FAILURE: u8 = 2;

fn main() -> io::Result<()> {
    let mut server = Server::new()?;
    let address = server.address;
    let waker = server.reactor.waker();
    let client = thread::spawn(move || {
        let asked = ask_all(address);
        waker.wake().and(asked)
    });
    server.serve()?;
    let (told, patience) = client.join().expect("no panic")?;
    for (name, answer) in &told {
        println!("{name:<14}  {answer}");
    }
    println!("malformed queries that were dropped  {}", server.malformed);
    let answers: Vec<&str> = told.iter().map(|(_, answer)| answer.as_str()).collect();
    assert_eq!(answers, ["192.0.2.1", "192.0.2.2", "server failure"]);
    assert!(patience >= TIMEOUT * TRIES_MAX.into(), "given up too early: {patience:?}");
    assert_eq!(server.malformed, 1);
    Ok(())
}

/// A socket in the reactor, and the datagrams that wait to be sent through it.
struct Port {
    token: Token,
    outbox: SendBatch,
}

/// A query that was sent upstream.
struct Waiting {
    client: Address,
    query: Vec<u8>,
    tries: u8,
}

struct Server {
    reactor: Reactor<Datagram>,
    address: SocketAddr,
    front: Port,
    back: Port,
    upstream: Port,
    /// The queries that were sent upstream, by the number that they have there.
    waiting: HashMap<u16, Waiting>,
    /// The ends of timeouts, the earliest first. The timeout of an answered query stays until its end.
    timeouts: VecDeque<(Timestamp, u16, u8)>,
    next_number: u16,
    malformed: u32,
    /// The number of times that the upstream server was asked for each name.
    asked: HashMap<Vec<u8>, u8>,
}

impl Server {
    fn new() -> io::Result<Self> {
        let mut reactor = Reactor::new()?;
        let any: Address = SocketAddr::from(([127, 0, 0, 1], 0)).into();
        let bind = || Datagram::bind(&any, &DatagramOptions::default());
        let (front, back, upstream) = (bind()?, bind()?, bind()?);
        // Takes datagrams of this peer only: a forger would have to guess the number and the port.
        back.connect(&upstream.local_addr()?)?;
        let address = front.local_addr()?.inet().ok_or(ErrorKind::InvalidInput)?;
        let mut port = |socket| -> io::Result<Port> {
            let token = reactor.insert(socket, Watch::level(Interest::IN))?;
            Ok(Port { token, outbox: SendBatch::new(BATCH_MAX, LEN_MAX) })
        };
        let (front, back, upstream) = (port(front)?, port(back)?, port(upstream)?);
        Ok(Self {
            reactor,
            address,
            front,
            back,
            upstream,
            waiting: HashMap::new(),
            timeouts: VecDeque::new(),
            next_number: 0,
            malformed: 0,
            asked: HashMap::new(),
        })
    }

    /// Serves until it is woken.
    fn serve(&mut self) -> io::Result<()> {
        let mut inbox = RecvBatch::new(BATCH_MAX, LEN_MAX);
        loop {
            self.reactor.wait_until(self.timeouts.front().map(|&(end, ..)| end))?;
            while let Some(ready) = self.reactor.next_ready() {
                match ready {
                    Ready::Owned { token, .. } => self.on_ready(token, &mut inbox)?,
                    Ready::Woken => return Ok(()),
                    Ready::Watched { .. } => {}
                }
            }
            self.expire(Timestamp::now());
            self.flush()?;
        }
    }

    fn on_ready(&mut self, token: Token, inbox: &mut RecvBatch) -> io::Result<()> {
        // The error is about a datagram that was sent earlier. That query's timeout handles it.
        if self.reactor[token].recv_batch(inbox).is_err() {
            return Ok(());
        }
        for datagram in inbox.iter().filter(|datagram| !datagram.is_truncated) {
            if token == self.front.token {
                self.on_query(datagram.bytes, datagram.from);
            } else if token == self.back.token {
                self.on_answer(datagram.bytes);
            } else {
                self.on_upstream_query(datagram.bytes, datagram.from);
            }
        }
        self.flush()
    }

    fn on_query(&mut self, query: &[u8], client: Address) {
        match name(query) {
            None => self.malformed += 1,
            Some(b"\x05known\x07example") => {
                let _ = self.front.outbox.push(&answer(query, 1), Some(&client));
            }
            Some(_) if self.waiting.len() >= WAITING_MAX => {}
            Some(_) => {
                let number = self.next_number;
                self.next_number = number.wrapping_add(1);
                let waiting = Waiting { client, query: query.to_vec(), tries: 0 };
                self.waiting.insert(number, waiting);
                self.ask_upstream(number);
            }
        }
    }

    fn ask_upstream(&mut self, number: u16) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        waiting.tries += 1;
        let mut query = waiting.query.clone();
        query[..2].copy_from_slice(&number.to_be_bytes());
        let _ = self.back.outbox.push(&query, None);
        self.timeouts.push_back((Timestamp::now() + TIMEOUT, number, waiting.tries));
    }

    fn on_answer(&mut self, answer: &[u8]) {
        let Some((number, rest)) = answer.split_first_chunk() else { return };
        // `None`: a second answer to one query.
        let Some(waiting) = self.waiting.remove(&u16::from_be_bytes(*number)) else { return };
        let answer = [&waiting.query[..2], rest].concat();
        let _ = self.front.outbox.push(&answer, Some(&waiting.client));
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some(&(end, number, tries)) = self.timeouts.front() {
            if end > now {
                break;
            }
            self.timeouts.pop_front();
            // Numbers are used again, so the timeout may be that of an earlier query.
            if self.waiting.get(&number).is_none_or(|waiting| waiting.tries != tries) {
                continue;
            }
            if tries < TRIES_MAX {
                self.ask_upstream(number);
            } else if let Some(Waiting { client, query, .. }) = self.waiting.remove(&number) {
                let _ = self.front.outbox.push(&header(&query, SERVER_FAILURE, 0), Some(&client));
            }
        }
    }

    fn on_upstream_query(&mut self, query: &[u8], from: Address) {
        let Some(name) = name(query) else { return };
        let asked = self.asked.entry(name.to_vec()).or_default();
        *asked += 1;
        if *asked > 1 && !name.starts_with(b"\x04lost") {
            let _ = self.upstream.outbox.push(&answer(query, *asked), Some(&from));
        }
    }

    /// Sends the batches, and watches for room at the sockets that do not take all of theirs.
    fn flush(&mut self) -> io::Result<()> {
        for Port { token, outbox } in [&mut self.front, &mut self.back, &mut self.upstream] {
            let socket = &self.reactor[*token];
            let interest = loop {
                match socket.send_batch(outbox) {
                    Ok(_) if outbox.is_empty() => break Interest::IN,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        break Interest::IN | Interest::OUT;
                    }
                    Err(_) => outbox.discard_first(),
                }
            };
            self.reactor.set_interest(*token, interest)?;
        }
        Ok(())
    }
}

/// The name that a query with one question asks for, its labels with their lengths; `None` if it is none.
fn name(query: &[u8]) -> Option<&[u8]> {
    let (header, question) = query.split_at_checked(HEADER_LEN)?;
    let is_query = header[2] & 0x80 == 0 && header[4..6] == [0, 1];
    let mut len = 0;
    loop {
        match *question.get(len)? {
            0 => break,
            label @ 1..64 => len += 1 + usize::from(label),
            _ => return None,
        }
    }
    // The end of the name, a type and a class.
    (is_query && question.len() >= len + 5).then(|| &question[..len])
}

/// The beginning of an answer to `query`, with the question and as many records to come.
fn header(query: &[u8], code: u8, records: u8) -> Vec<u8> {
    let question_len = name(query).map_or(0, |name| name.len() + 5);
    let flags = [0x80 | query[2] & 1, 0x80 | code];
    let counts = [0, 1, 0, records, 0, 0, 0, 0];
    let question = &query[HEADER_LEN..HEADER_LEN + question_len];
    [&query[..2], &flags, &counts, question].concat()
}

/// The answer that the name of `query` has the address 192.0.2.`last`.
fn answer(query: &[u8], last: u8) -> Vec<u8> {
    // The name is where the question is; type A, class IN, a minute to live, four bytes.
    let record = [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last];
    [header(query, 0, 1), record.to_vec()].concat()
}

/// Asks for three names. Returns the answers, and the time that the last of them took.
fn ask_all(server: SocketAddr) -> io::Result<(Vec<(&'static str, String)>, Duration)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    socket.connect(server)?;
    // Too short to be a query.
    socket.send(b"hello")?;
    let mut told = Vec::new();
    let mut start = Timestamp::now();
    for (number, name) in (1..).zip(["known.example", "slow.example", "lost.example"]) {
        start = Timestamp::now();
        socket.send(&query(number, name))?;
        let mut buffer = [0; LEN_MAX];
        let len = socket.recv(&mut buffer)?;
        assert_eq!(buffer[..2], number.to_be_bytes());
        let answer = match buffer[3] & 0x0f {
            0 => buffer[len - 4..len].iter().map(u8::to_string).collect::<Vec<_>>().join("."),
            _ => "server failure".to_owned(),
        };
        told.push((name, answer));
    }
    Ok((told, Timestamp::now() - start))
}

fn query(number: u16, name: &str) -> Vec<u8> {
    let mut query = [&number.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a short label"));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}
