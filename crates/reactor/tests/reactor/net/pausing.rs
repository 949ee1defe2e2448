//! Listeners that are over, and loops of other kinds around one that pauses. Pauses for want of
//! descriptors are in `shedding`, those for other errors in `injected`.

use super::{queued, tcp_listener};
use crate::support::{assert_sleeps, wait};
use epoll_kit_testing::{DEADLINE, under_strace};
use epoll_reactor::net::{Address, BatchEnd, ListenOptions, Listener, PausedBy, Stream};
use epoll_reactor::{Interest, Reactor, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Shuts the listening socket down, as another owner of it or `ss -K` would.
fn shut_down(listener: &Listener) {
    rustix::net::shutdown(listener.socket(), Shutdown::Both).unwrap();
}

#[track_caller]
fn is_told_once_and_silent(mut listener: Listener) {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let token = reactor.watch(&listener, 'l', Watch::level(Interest::IN)).unwrap();
    assert_sleeps(&mut reactor);
    shut_down(&listener);
    assert_eq!(wait(&mut reactor)[0].0, token);
    assert_eq!(listener.accept_batch().count(), 0);
    assert_eq!(listener.batch_end(), Some(BatchEnd::Closed));
    assert_sleeps(&mut reactor);
    // Asked again, it says the same, also by a clone and when it is closed.
    assert_eq!(listener.accept_batch().count(), 0);
    assert_eq!(listener.batch_end(), Some(BatchEnd::Closed));
    let mut clone = listener.try_clone().unwrap();
    assert_eq!(clone.accept_batch().count(), 0);
    assert_eq!(clone.batch_end(), Some(BatchEnd::Closed));
    assert_eq!(listener.counters(), Default::default());
    let mut closing = listener.close();
    assert_eq!(closing.by_ref().count(), 0);
    assert_eq!(closing.end(), Some(BatchEnd::Closed));
    assert_sleeps(&mut reactor);
}

#[test]
fn a_listener_that_is_shut_down_from_outside_is_told_once() {
    is_told_once_and_silent(tcp_listener(&ListenOptions::default()));
}

#[test]
fn a_unix_listener_that_is_shut_down_from_outside_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    is_told_once_and_silent(Listener::bind(&address, &ListenOptions::default()).unwrap());
}

#[test]
fn the_owner_of_the_pauses_unwatches_a_listener_that_is_over() {
    let options = ListenOptions { paused_by: PausedBy::Owner, ..ListenOptions::default() };
    let mut listener = tcp_listener(&options);
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let token = reactor.watch(&listener, 'l', Watch::level(Interest::IN)).unwrap();
    shut_down(&listener);
    for _ in 0..2 {
        assert_eq!(wait(&mut reactor)[0].0, token);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(listener.batch_end(), Some(BatchEnd::Closed));
    }
    reactor.unwatch(token, &listener).unwrap();
    assert_sleeps(&mut reactor);
}

#[test]
fn a_listener_that_ends_during_a_pause_is_told_after_it() {
    const NAME: &str = "net::pausing::a_listener_that_ends_during_a_pause_is_told_after_it";
    let inject = "inject=accept4:error=ENOMEM:when=1..9";
    under_strace(NAME, &["-o", "/dev/null", "-e", inject], || {
        let mut listener = tcp_listener(&ListenOptions::default());
        let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
        reactor.watch(&listener, 'l', Watch::level(Interest::IN)).unwrap();
        while listener.batch_end() != Some(BatchEnd::Paused(Duration::from_secs(1))) {
            assert_eq!(listener.accept_batch().count(), 0);
        }
        shut_down(&listener);
        assert_sleeps(&mut reactor);
        wait(&mut reactor);
        assert_eq!(listener.accept_batch().count(), 0);
        assert_eq!(listener.batch_end(), Some(BatchEnd::Closed));
        assert_sleeps(&mut reactor);
    });
}

/// Returns whether `source` becomes readable within `timeout`.
fn is_readable(source: impl AsFd, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).unwrap();
    let mut polled = [PollFd::new(&source, PollFlags::IN)];
    poll(&mut polled, Some(&timeout)).unwrap() == 1
}

#[test]
fn any_loop_hears_a_listener_and_not_its_pauses() {
    const NAME: &str = "net::pausing::any_loop_hears_a_listener_and_not_its_pauses";
    let inject = "inject=accept4:error=EACCES:when=1..9";
    under_strace(NAME, &["-o", "/dev/null", "-e", inject], || {
        let mut listener = tcp_listener(&ListenOptions::default());
        assert!(!is_readable(&listener, Duration::ZERO));
        let _client = queued(&listener, 1);
        assert!(is_readable(&listener, DEADLINE));
        while listener.batch_end() != Some(BatchEnd::Paused(Duration::from_secs(1))) {
            assert_eq!(listener.accept_batch().count(), 0);
        }
        let paused = Instant::now();
        assert!(!is_readable(&listener, Duration::from_millis(20)));
        assert!(is_readable(listener.socket(), Duration::ZERO));
        assert!(is_readable(&listener, DEADLINE));
        assert!(paused.elapsed() > Duration::from_millis(900));
        assert_eq!(listener.accept_batch().count(), 1);
        assert!(!is_readable(&listener, Duration::ZERO));
    });
}
