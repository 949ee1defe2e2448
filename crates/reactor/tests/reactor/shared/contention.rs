//! Many connections, several threads, and no order but that of each connection's words: none is lost,
//! doubled or swapped, and no two threads are ever at one connection.

use crate::shared::{StopAtTheEnd, TRIGGERS, Trigger, beside_workers, work};
use epoll_kit_testing::{DEADLINE, eventually, in_own_process};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, SharedReactor};
use epoll_reactor::{Interest, Readiness, Registration, Source, Token, Watch};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};

/// A connection that sees whether it is served by one thread at a time.
struct Guarded {
    stream: Stream,
    is_in_use: AtomicBool,
    /// The number of times it was served, which is not atomic in any way.
    turns: u32,
}

impl Guarded {
    fn new(stream: impl TryInto<Stream, Error: std::fmt::Debug>) -> Self {
        let stream = stream.try_into().unwrap();
        Self { stream, is_in_use: AtomicBool::new(false), turns: 0 }
    }

    /// Runs `serve`, which has to be alone.
    #[track_caller]
    fn alone<R>(&mut self, serve: impl FnOnce(&mut Self) -> R) -> R {
        assert!(!self.is_in_use.swap(true, Ordering::Relaxed), "two threads at one source");
        self.turns += 1;
        let result = serve(self);
        assert!(self.is_in_use.swap(false, Ordering::Relaxed), "two threads at one source");
        result
    }
}

impl AsFd for Guarded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Source for Guarded {
    fn is_nonblocking(&self) -> bool {
        true
    }

    fn is_unshared(&self) -> bool {
        true
    }
}

/// The wish of a handler for its source when it is done.
enum Next {
    Wait,
    Revisit,
    Close,
}

/// Echoes what there is. Every third turn it stops early, before the descriptor is dry.
fn echo(source: &mut Guarded) -> Next {
    let mut buffer = [0; 64];
    let gives_way = source.turns % 3 == 0;
    loop {
        match source.stream.read(&mut buffer) {
            Ok(0) => return Next::Close,
            Ok(len) => source.stream.write_all(&buffer[..len]).unwrap(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
            Err(error) => panic!("{error}"),
        }
        if gives_way {
            return Next::Revisit;
        }
    }
}

fn serve(mut lease: Lease<'_, Guarded>) {
    match lease.alone(echo) {
        Next::Wait => {}
        Next::Revisit => lease.revisit(Readiness::IN),
        Next::Close => lease.close(),
    }
}

const CONNECTIONS: u32 = 64;
const CLIENTS: usize = 8;
const WORDS: u32 = if cfg!(debug_assertions) { 1000 } else { 10_000 };

/// A word of a connection: nobody else's, and in its place.
fn word(connection: u32, number: u32) -> [u8; 8] {
    (u64::from(connection) << 32 | u64::from(number)).to_be_bytes()
}

/// Sends and receives all words of some connections, a few of each at a time.
fn converse(mut connections: Vec<(u32, UnixStream)>) {
    let mut sent = 0;
    while sent < WORDS {
        // From one word to as many as take the server several reads.
        let end = WORDS.min(sent + 1 + sent % 37);
        for (connection, stream) in &mut connections {
            let words: Vec<u8> = (sent..end).flat_map(|number| word(*connection, number)).collect();
            stream.write_all(&words).unwrap();
        }
        for (connection, stream) in &mut connections {
            for number in sent..end {
                let mut echo = [0; 8];
                stream.read_exact(&mut echo).unwrap();
                assert_eq!(echo, word(*connection, number), "connection {connection}");
            }
        }
        sent = end;
    }
    for (_, mut stream) in connections {
        // Nothing comes after the last word but the end.
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

/// Leases one source after the other by name until `is_over`, as a thread with timers does.
fn disturb(reactor: &SharedReactor<Guarded>, tokens: &[Token], is_over: &AtomicBool) -> u64 {
    let mut leases = 0;
    while !is_over.load(Ordering::Relaxed) {
        for &token in tokens {
            if let Some(mut lease) = reactor.lease(token) {
                lease.alone(|_| ());
                leases += 1;
            }
        }
        thread::yield_now();
    }
    leases
}

#[track_caller]
fn every_connection_gets_its_own_words(watch: Trigger) {
    let reactor: SharedReactor<Guarded> = SharedReactor::new().unwrap();
    let (mut peers, mut tokens) = (Vec::new(), Vec::new());
    for connection in 0..CONNECTIONS {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(DEADLINE)).unwrap();
        tokens.push(reactor.insert(Guarded::new(ours), watch(Interest::IN)).unwrap());
        peers.push((connection, theirs));
    }
    let is_over = AtomicBool::new(false);
    let leases = beside_workers(&reactor, 4, serve, || {
        thread::scope(|threads| {
            let disturbing = threads.spawn(|| disturb(&reactor, &tokens, &is_over));
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let own = peers.split_off(peers.len() - CONNECTIONS as usize / CLIENTS);
                    threads.spawn(move || converse(own))
                })
                .collect();
            let ended: Vec<_> = clients.into_iter().map(ScopedJoinHandle::join).collect();
            is_over.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|client| client.unwrap());
            disturbing.join().unwrap()
        })
    });
    assert!(leases > 0);
    assert!(reactor.is_empty(), "{reactor:?}");
    assert!(reactor.counters().revisits > 0, "{:?}", reactor.counters());
}

#[test]
fn every_connection_gets_its_own_words_with_one_shot() {
    every_connection_gets_its_own_words(Watch::oneshot);
}

#[test]
fn every_connection_gets_its_own_words_with_an_edge() {
    every_connection_gets_its_own_words(Watch::edge);
}

#[test]
fn every_connection_gets_its_own_words_with_both() {
    every_connection_gets_its_own_words(Watch::edge_oneshot);
}

/// Returns the number of descriptors that this process has open.
fn descriptors() -> usize {
    // The directory that is read is one of them, each time.
    fs::read_dir("/proc/self/fd").unwrap().count()
}

const VISITS: u32 = if cfg!(debug_assertions) { 150 } else { 600 };

/// Connects, converses and ends, again and again; some end by a reset, some without a word.
fn visit(address: SocketAddr, client: u32) {
    for visit in 0..VISITS {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        match (client + visit) % 4 {
            0 => drop(stream),
            1 => {
                // What is left unread makes the end a reset.
                stream.write_all(&word(client, visit)).unwrap();
                drop(stream);
            }
            _ => {
                for number in 0..3 {
                    stream.write_all(&word(client, number)).unwrap();
                    let mut echo = [0; 8];
                    stream.read_exact(&mut echo).unwrap();
                    assert_eq!(echo, word(client, number));
                }
                stream.shutdown(Shutdown::Write).unwrap();
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            }
        }
    }
}

/// Echoes as [`echo`] does, to peers that may be gone.
fn serve_visitor(mut lease: Lease<'_, Guarded>) {
    let mut buffer = [0; 64];
    let next = lease.alone(|source| {
        loop {
            let echoed = match source.stream.read(&mut buffer) {
                Ok(0) => return Next::Close,
                Ok(len) => source.stream.write_all(&buffer[..len]),
                Err(error) => Err(error),
            };
            match echoed {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return Next::Close,
            }
        }
    });
    if let Next::Close = next {
        lease.close();
    }
}

#[track_caller]
fn nothing_is_left_of_those_that_came_and_went(watch: Trigger) {
    let before = descriptors();
    let served = AtomicU32::new(0);
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let reactor: SharedReactor<Guarded> = SharedReactor::new().unwrap();
        let own = descriptors();
        let clients = u32::try_from(CLIENTS).unwrap();
        thread::scope(|threads| {
            let _stop = StopAtTheEnd(&reactor);
            for _ in 0..3 {
                threads.spawn(|| work(&reactor, serve_visitor));
            }
            for client in 0..clients {
                threads.spawn(move || visit(address, client));
            }
            for _ in 0..clients * VISITS {
                let (stream, _) = listener.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                reactor
                    .insert(Guarded::new(stream), watch(Interest::IN | Interest::RDHUP))
                    .unwrap();
                served.fetch_add(1, Ordering::Relaxed);
            }
            eventually("all are gone", || reactor.is_empty());
            eventually("their descriptors are closed", || descriptors() == own);
        });
        assert_eq!(reactor.tokens(), []);
        assert_eq!(reactor.counters().adds, u64::from(served.into_inner()));
        // The two of the reactor itself are what the kernel watches.
        assert_eq!(reactor.epoll().interest_list().unwrap().len(), 2);
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn nothing_is_left_of_those_that_came_and_went_in_any_mode() {
    const NAME: &str =
        "shared::contention::nothing_is_left_of_those_that_came_and_went_in_any_mode";
    in_own_process(NAME, || {
        for watch in TRIGGERS {
            nothing_is_left_of_those_that_came_and_went(watch);
        }
    });
}

/// One word at a time, each sent when the one before has come back: that is when its lease ends.
#[test]
fn a_word_that_meets_the_end_of_a_lease_is_never_lost() {
    const WORDS: usize = if cfg!(debug_assertions) { 5000 } else { 50_000 };
    for watch in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(DEADLINE)).unwrap();
        reactor.insert(ours.try_into().unwrap(), watch(Interest::IN)).unwrap();
        let served = AtomicUsize::new(0);
        // It reads once, so that the next word meets the end of the lease as often as can be.
        let serve = |mut lease: Lease<'_, Stream>| {
            let mut byte = [0];
            match lease.read(&mut byte) {
                Ok(len) => {
                    assert_eq!(len, 1);
                    served.fetch_add(1, Ordering::Relaxed);
                    lease.write_all(&byte).unwrap();
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        };
        beside_workers(&reactor, 4, serve, || {
            for number in 0..WORDS {
                let sent = [number.to_be_bytes()[7]];
                theirs.write_all(&sent).unwrap();
                let mut echo = [0];
                theirs.read_exact(&mut echo).unwrap();
                assert_eq!(echo, sent);
            }
        });
        assert_eq!(served.into_inner(), WORDS);
    }
}
