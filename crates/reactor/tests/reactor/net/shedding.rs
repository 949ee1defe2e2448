//! Out of descriptors: the batch ends, the listener pauses, one client is told that the server is full,
//! and nobody else notices.
//!
//! Descriptors belong to the process, so each test has one of its own.

use super::{
    accept, assert_ends, assert_receives, assert_silent, connected, pause_of, queued, tcp_listener,
};
use crate::support::{assert_sleeps, wait};
use epoll_kit_testing::{assert_errno, close, in_own_process};
use epoll_reactor::epoll_sys::socket;
use epoll_reactor::net::{Address, BatchEnd, ListenOptions, Listener, PausedBy, Stream};
use epoll_reactor::{ExclusiveInterest, ExclusiveWatch, Interest, Reactor, Watch};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

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
            assert_eq!(pause_of(&listener), Some(Duration::from_millis(pause)));
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
        assert_eq!(pause_of(&listener), None);
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
            pause_of(listener).unwrap().as_millis()
        };
        let exhausted = Exhausted::but_for(0);
        assert_eq!([(); 3].map(|()| pause(&mut listener)), [5, 10, 20]);
        drop(exhausted);
        let _accepted = listener.accept_batch().next().unwrap();
        assert_eq!(pause_of(&listener), None);
        let exhausted = Exhausted::but_for(0);
        assert_eq!([(); 2].map(|()| pause(&mut listener)), [5, 10]);
        drop(exhausted);
        assert_eq!(listener.accept_batch().count(), 2);
    });
}

#[test]
fn a_queue_that_is_empty_while_descriptors_are_short_ends_the_batch_alone() {
    const NAME: &str =
        "net::shedding::a_queue_that_is_empty_while_descriptors_are_short_ends_the_batch_alone";
    in_own_process(NAME, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let clients = queued(&listener, 2);
        let exhausted = Exhausted::but_for(0);
        for (client, pause) in clients.iter().zip([5, 10]) {
            assert_eq!(listener.accept_batch().count(), 0);
            assert_eq!(pause_of(&listener), Some(Duration::from_millis(pause)));
            assert_ends(client);
        }
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(listener.batch_end(), Some(BatchEnd::QueueEmpty));
        drop(exhausted);
        // It says nothing of descriptors, so the pauses go on.
        let _client = queued(&listener, 1);
        let exhausted = Exhausted::but_for(0);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(pause_of(&listener), Some(Duration::from_millis(20)));
        drop(exhausted);
        assert_eq!((listener.counters().shed, listener.counters().pauses), (3, 3));
    });
}

#[test]
fn one_that_was_shut_down_while_descriptors_are_short_pauses() {
    const NAME: &str = "net::shedding::one_that_was_shut_down_while_descriptors_are_short_pauses";
    in_own_process(NAME, || {
        let options = ListenOptions { paused_by: PausedBy::Owner, ..ListenOptions::default() };
        let mut listener = tcp_listener(&options);
        socket::shutdown(&listener, Shutdown::Both).unwrap();
        let exhausted = Exhausted::but_for(0);
        assert_eq!(listener.accept_batch().count(), 0);
        // It is reported for ever, so it must not look like a queue that is empty.
        assert_eq!(pause_of(&listener), Some(Duration::from_millis(5)));
        drop(exhausted);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(listener.batch_end(), Some(BatchEnd::Closed));
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
        assert_eq!(pause_of(&listener), Some(Duration::from_millis(5)));
        assert_ends(&clients[2]);
        // Whoever closes a connection makes room for one that waits, not for one that is shed.
        drop(accepted);
        assert_eq!(listener.accept_batch().count(), 2);
        assert_eq!(pause_of(&listener), None);
        drop(exhausted);
        assert_eq!(listener.counters().accepted, 4);
        assert_eq!((listener.counters().shed, listener.counters().pauses), (1, 1));
    });
}

/// Lengthens the listener's pause to a second.
fn pause_long(listener: &mut Listener) {
    while pause_of(listener) != Some(Duration::from_secs(1)) {
        assert_eq!(listener.accept_batch().count(), 0);
        assert!(pause_of(listener).is_some());
    }
}

#[test]
fn a_loop_sleeps_while_its_listener_pauses_and_hears_it_again_after_that() {
    const NAME: &str =
        "net::shedding::a_loop_sleeps_while_its_listener_pauses_and_hears_it_again_after_that";
    in_own_process(NAME, || {
        let watch = Watch::level(Interest::IN);
        let mut listener = tcp_listener(&ListenOptions::default());
        let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
        let token = reactor.watch(&listener, 'l', watch).unwrap();
        let (mut old_client, old_server) = connected(&mut listener);
        let old = reactor.insert(old_server, watch).unwrap();
        // The ninth pause, of a second, begins with so many shed.
        let _clients = queued(&listener, 9 + 2);
        let exhausted = Exhausted::but_for(0);
        assert_eq!(wait(&mut reactor)[0].0, token);
        pause_long(&mut listener);
        let begun = Instant::now();
        assert_sleeps(&mut reactor);
        old_client.write_all(b"w").unwrap();
        assert_eq!(wait(&mut reactor)[0].0, old);
        reactor.close(old);
        drop(exhausted);
        assert_eq!(wait(&mut reactor)[0].0, token);
        assert!(begun.elapsed() > Duration::from_millis(900), "the pause was cut short");
        assert_eq!(listener.accept_batch().count(), 2);
        assert_eq!(listener.batch_end(), Some(BatchEnd::QueueEmpty));
        // The timer is not heard a second time.
        assert_sleeps(&mut reactor);
    });
}

#[test]
fn a_call_during_a_pause_ends_it() {
    const NAME: &str = "net::shedding::a_call_during_a_pause_ends_it";
    in_own_process(NAME, || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
        let token = reactor.watch(&listener, 'l', Watch::level(Interest::IN)).unwrap();
        let _clients = queued(&listener, 9 + 1);
        let exhausted = Exhausted::but_for(0);
        pause_long(&mut listener);
        drop(exhausted);
        assert_eq!(listener.accept_batch().count(), 1);
        assert_sleeps(&mut reactor);
        let _client = queued(&listener, 1);
        assert_eq!(wait(&mut reactor)[0].0, token);
    });
}

#[test]
fn the_owner_of_a_listener_may_pause_it() {
    const NAME: &str = "net::shedding::the_owner_of_a_listener_may_pause_it";
    in_own_process(NAME, || {
        let options = ListenOptions { paused_by: PausedBy::Owner, ..ListenOptions::default() };
        let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
        let mut listener = tcp_listener(&options);
        let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
        let token = reactor.watch_exclusive(&listener, 'l', watch).unwrap();
        let _clients = queued(&listener, 2);
        let exhausted = Exhausted::but_for(0);
        assert_eq!(wait(&mut reactor)[0].0, token);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(pause_of(&listener), Some(Duration::from_millis(5)));
        // It does not pause by itself.
        assert_eq!(wait(&mut reactor)[0].0, token);
        reactor.unwatch(token, &listener).unwrap();
        assert_sleeps(&mut reactor);
        drop(exhausted);
        let token = reactor.watch_exclusive(&listener, 'l', watch).unwrap();
        assert_eq!(wait(&mut reactor)[0].0, token);
        assert_eq!(listener.accept_batch().count(), 1);
    });
}

#[test]
fn a_listener_without_a_spare_pauses_all_the_same() {
    const NAME: &str = "net::shedding::a_listener_without_a_spare_pauses_all_the_same";
    in_own_process(NAME, || {
        // The socket, the epoll instance and the timer take all that are left.
        let exhausted = Exhausted::but_for(3);
        let mut listener = tcp_listener(&ListenOptions::default());
        drop(exhausted);
        let clients = queued(&listener, 3);
        let exhausted = Exhausted::but_for(0);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(pause_of(&listener), Some(Duration::from_millis(5)));
        assert_eq!(listener.counters().shed, 0);
        clients.iter().for_each(assert_silent);
        drop(exhausted);
        assert_eq!(listener.accept_batch().count(), 3);
    });
}

#[test]
fn a_listener_that_lacks_descriptors_is_not_made() {
    const NAME: &str = "net::shedding::a_listener_that_lacks_descriptors_is_not_made";
    in_own_process(NAME, || {
        for room in 0..3 {
            let exhausted = Exhausted::but_for(room);
            let bound = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default());
            assert_errno(bound, Errno::MFILE);
            drop(exhausted);
        }
    });
}

#[test]
fn what_a_closing_listener_cannot_accept_ends_it_early() {
    const NAME: &str = "net::shedding::what_a_closing_listener_cannot_accept_ends_it_early";
    in_own_process(NAME, || {
        let listener = tcp_listener(&ListenOptions::default());
        let clients = queued(&listener, 3);
        let exhausted = Exhausted::but_for(1);
        let mut closing = listener.close();
        let accepted: Vec<_> = closing.by_ref().collect();
        assert_eq!(accepted.len(), 1);
        assert!(matches!(closing.end(), Some(BatchEnd::Paused(_))));
        assert_eq!((closing.counters().accepted, closing.counters().shed), (1, 1));
        assert_silent(&clients[0]);
        assert_silent(&clients[2]);
        close(closing);
        assert_ends(&clients[2]);
        drop(exhausted);
    });
}

#[test]
fn a_unix_listener_sheds_likewise() {
    const NAME: &str = "net::shedding::a_unix_listener_sheds_likewise";
    in_own_process(NAME, || {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::unix(directory.path().join("socket")).unwrap();
        let mut listener = Listener::bind(&address, &ListenOptions::default()).unwrap();
        let clients = [(); 2].map(|()| Stream::connect(&address).unwrap());
        let exhausted = Exhausted::but_for(0);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(pause_of(&listener), Some(Duration::from_millis(5)));
        assert_ends(&clients[0]);
        assert_silent(&clients[1]);
        drop(exhausted);
        accept(&mut listener);
    });
}
