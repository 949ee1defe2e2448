//! Out of descriptors: the batch ends, the listener asks to be left alone, one client is told that
//! the server is full, and nobody else notices.
//!
//! Descriptors belong to the process, so each test has one of its own.

use super::{accept, assert_ends, assert_receives, assert_silent, connected, tcp_listener};
use crate::support::{assert_sleeps, seen, wait};
use epoll_kit_testing::in_own_process;
use epoll_reactor::net::{Address, ListenOptions, Listener, Stream};
use epoll_reactor::{Interest, Reactor, Watch};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Keeps the process from opening descriptors until it is dropped.
struct Exhausted {
    before: Rlimit,
}

impl Exhausted {
    /// Leaves room for so many descriptors more.
    fn but_for(room: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        // The lowest free number: all below it are in use.
        let lowest = File::open("/dev/null").unwrap().as_raw_fd();
        let current = Some(u64::try_from(lowest).unwrap() + room);
        setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
        Self { before }
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

/// So many connections in the listener's queue, in that order.
fn queued(listener: &Listener, count: usize) -> Vec<Stream> {
    let address = listener.address().inet().unwrap();
    (0..count).map(|_| TcpStream::connect(address).unwrap().try_into().unwrap()).collect()
}

/// The pauses in milliseconds, from the first to the second that is the longest.
const PAUSES: [u64; 10] = [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000];

#[test]
fn pauses_grow_and_each_sheds_one_connection() {
    const NAME: &str = "net::shedding::pauses_grow_and_each_sheds_one_connection";
    in_own_process(NAME, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let (mut old_client, old_server) = connected(&mut listener);
        let clients = queued(&listener, PAUSES.len() + 3);
        let exhausted = Exhausted::but_for(0);
        for (index, pause) in PAUSES.into_iter().enumerate() {
            assert_eq!(listener.accept_batch().count(), 0);
            assert_eq!(listener.pause(), Some(Duration::from_millis(pause)));
            assert_eq!(listener.counters().shed, index as u64 + 1);
            assert_eq!(listener.counters().pauses, index as u64 + 1);
            assert_ends(&clients[index]);
            clients[index + 1..].iter().for_each(|client| assert_silent(client));
        }
        // Connections that were there before notice nothing.
        old_client.write_all(b"still here").unwrap();
        assert_receives(&old_server, b"still here");
        drop(exhausted);

        let mut streams: Vec<Stream> = listener.accept_batch().map(|one| one.stream).collect();
        assert_eq!(streams.len(), 3);
        assert_eq!(listener.pause(), None);
        for (stream, client) in streams.iter_mut().zip(&clients[PAUSES.len()..]) {
            stream.write_all(b"welcome").unwrap();
            assert_receives(client, b"welcome");
        }
    });
}

#[test]
fn pauses_begin_anew_once_a_connection_was_accepted() {
    const NAME: &str = "net::shedding::pauses_begin_anew_once_a_connection_was_accepted";
    in_own_process(NAME, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let _clients = queued(&listener, 8);
        let pause = |listener: &mut Listener| {
            assert_eq!(listener.accept_batch().count(), 0);
            listener.pause().unwrap().as_millis()
        };
        let exhausted = Exhausted::but_for(0);
        assert_eq!([(); 3].map(|()| pause(&mut listener)), [5, 10, 20]);
        drop(exhausted);
        let _accepted = listener.accept_batch().next().unwrap();
        assert_eq!(listener.pause(), None);
        let exhausted = Exhausted::but_for(0);
        assert_eq!([(); 2].map(|()| pause(&mut listener)), [5, 10]);
        drop(exhausted);
        assert_eq!(listener.accept_batch().count(), 2);
    });
}

#[test]
fn a_batch_ends_with_the_last_descriptor() {
    const NAME: &str = "net::shedding::a_batch_ends_with_the_last_descriptor";
    in_own_process(NAME, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let clients = queued(&listener, 5);
        let exhausted = Exhausted::but_for(2);
        let accepted: Vec<Stream> = listener.accept_batch().map(|one| one.stream).collect();
        assert_eq!(accepted.len(), 2);
        assert_eq!(listener.pause(), Some(Duration::from_millis(5)));
        assert_ends(&clients[2]);
        // Whoever closes a connection makes room for one that waits, not for one that is shed.
        drop(accepted);
        assert_eq!(listener.accept_batch().count(), 2);
        assert_eq!(listener.pause(), None);
        drop(exhausted);
        assert_eq!(listener.counters().accepted, 4);
        assert_eq!((listener.counters().shed, listener.counters().pauses), (1, 1));
    });
}

#[test]
fn a_loop_sleeps_while_its_listener_pauses() {
    const NAME: &str = "net::shedding::a_loop_sleeps_while_its_listener_pauses";
    in_own_process(NAME, || {
        let watch = Watch::level(Interest::IN);
        let mut listener = tcp_listener(&ListenOptions::default());
        let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
        let token = reactor.watch(&listener, 'l', watch).unwrap();
        let (mut old_client, old_server) = connected(&mut listener);
        let old = reactor.insert(old_server, watch).unwrap();
        let _clients = queued(&listener, 3);
        let exhausted = Exhausted::but_for(0);
        assert_eq!(wait(&mut reactor)[0].0, token);
        assert_eq!(listener.accept_batch().count(), 0);
        assert!(listener.pause().is_some());
        reactor.unwatch(token, &listener).unwrap();
        assert_sleeps(&mut reactor);
        old_client.write_all(b"w").unwrap();
        assert_eq!(wait(&mut reactor)[0].0, old);
        drop(exhausted);
        let token = reactor.watch(&listener, 'l', watch).unwrap();
        assert!(seen(&mut reactor).contains(&token));
        assert_eq!(listener.accept_batch().count(), 2);
    });
}

#[test]
fn a_listener_without_a_spare_pauses_all_the_same() {
    const NAME: &str = "net::shedding::a_listener_without_a_spare_pauses_all_the_same";
    in_own_process(NAME, || {
        // Its socket takes the only descriptor that is left.
        let exhausted = Exhausted::but_for(1);
        let mut listener = tcp_listener(&ListenOptions::default());
        drop(exhausted);
        let clients = queued(&listener, 3);
        let exhausted = Exhausted::but_for(0);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(listener.pause(), Some(Duration::from_millis(5)));
        assert_eq!(listener.counters().shed, 0);
        clients.iter().for_each(assert_silent);
        drop(exhausted);
        // The next pause finds room for a spare, and the one after sheds.
        let room = Exhausted::but_for(0);
        assert_eq!(listener.accept_batch().count(), 0);
        drop(room);
        assert_eq!(listener.accept_batch().count(), 3);
    });
}

#[test]
fn a_unix_listener_sheds_likewise() {
    const NAME: &str = "net::shedding::a_unix_listener_sheds_likewise";
    in_own_process(NAME, || {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::Unix(directory.path().join("socket"));
        let mut listener = Listener::bind(&address, &ListenOptions::default()).unwrap();
        let clients = [(); 2].map(|()| Stream::connect(&address).unwrap());
        let exhausted = Exhausted::but_for(0);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(listener.pause(), Some(Duration::from_millis(5)));
        assert_ends(&clients[0]);
        assert_silent(&clients[1]);
        drop(exhausted);
        accept(&mut listener);
    });
}
