//! Outgoing connections: established, refused, and ended before either.

use crate::harness::{BOTH, Calls, Obedient, PLENTY, arrive};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{Awaits, Clocks, CloseReason, Connection, Limits, Step, ThreadState};
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Readiness, Token};
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

const GREETING: Obedient = Obedient { open: "say hi", finish: "say bye", ..Obedient::NEW };

fn connecting(trigger: Trigger, protocol: Obedient) -> Driver<Obedient> {
    let mut driver = Driver::connecting(trigger, protocol, Calls::new());
    driver.prepare(PLENTY);
    driver
}

#[test]
fn it_is_opened_when_it_is_established() {
    for trigger in BOTH {
        let mut driver = connecting(trigger, GREETING);
        assert_eq!(driver.awaits(), Awaits::Connect);
        assert!(driver.registered().unwrap().contains(Interest::OUT));
        assert!(driver.local().is_empty());
        driver.connect(Ok(()));
        assert_eq!(driver.awaits(), Awaits::Input, "{trigger:?}");
        assert!(driver.registered().unwrap().contains(Interest::IN | Interest::RDHUP));
        assert_eq!(driver.sent(), b"hi");
        arrive(&mut driver, "say a\n");
        driver.act(Act::Fin);
        assert_eq!(driver.sent(), b"hiabye", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn what_the_peer_sends_at_once_is_shown_when_it_is_opened() {
    for trigger in BOTH {
        let mut driver = connecting(trigger, GREETING);
        driver.prepare(Act::Arrive(b"say a\n".to_vec()));
        driver.connect(Ok(()));
        assert_eq!(driver.sent(), b"hia", "{trigger:?}");
    }
}

#[test]
fn a_refusal_closes_it_and_it_is_never_opened() {
    for trigger in BOTH {
        let mut driver = connecting(trigger, GREETING);
        driver.connect(Err(ErrorKind::ConnectionRefused.into()));
        let refused = CloseReason::ConnectFailed(ErrorKind::ConnectionRefused);
        assert_eq!(driver.closed(), Some(refused), "{trigger:?}");
        assert_eq!(*driver.local(), ["ConnectFailed(ConnectionRefused)"]);
        assert_eq!(driver.calls(), 0, "neither a read nor a write");
    }
}

#[test]
fn an_open_that_aborts_or_finishes_ends_it() {
    for trigger in BOTH {
        let mut driver = connecting(trigger, Obedient { open: "say a; abort", ..GREETING });
        driver.connect(Ok(()));
        assert_eq!(driver.closed(), Some(CloseReason::Aborted), "{trigger:?}");
        let mut driver = connecting(trigger, Obedient { open: "say a; finish", ..GREETING });
        driver.connect(Ok(()));
        assert_eq!(driver.sent(), b"abye", "{trigger:?}");
    }
}

#[test]
fn it_gets_no_callback_before_it_is_established() {
    for trigger in BOTH {
        let mut driver = connecting(trigger, GREETING);
        driver.message(&["say too early"]);
        driver.drain();
        driver.pass_time(Duration::from_secs(1));
        assert!(driver.local().is_empty(), "{trigger:?}");
        driver.connect(Ok(()));
        driver.message(&["say now"]);
        assert_eq!(driver.sent(), b"hinow", "{trigger:?}");
    }
}

#[test]
fn an_end_before_it_is_established_comes_after_it_is_opened() {
    for trigger in BOTH {
        for end in [Driver::finish, Driver::end] {
            let mut driver = connecting(trigger, GREETING);
            end(&mut driver);
            assert_eq!((driver.closed(), driver.awaits()), (None, Awaits::Connect));
            driver.connect(Ok(()));
            assert_eq!(driver.sent(), b"hibye", "{trigger:?}");
            assert_eq!(driver.awaits(), Awaits::Close);
            driver.act(Act::Fin);
            assert_eq!(driver.closed(), Some(CloseReason::Drained), "{trigger:?}");
        }
    }
}

#[test]
fn one_that_cannot_be_made_is_told_so_and_what_it_writes_then_reaches_nobody() {
    let mut thread = ThreadState::new(0, Calls::new(), Limits::default(), Clocks::default());
    let token = Token::detached(0);
    let reason = CloseReason::ConnectFailed(ErrorKind::QuotaExceeded);
    thread.refuse(Obedient { close: "say lost", ..GREETING }, reason, token);
    assert_eq!(thread.local, ["ConnectFailed(QuotaExceeded)"]);
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut other = Connection::new(Obedient::NEW, ours);
    assert_eq!(other.open(token, &mut thread), Step::Wait);
    theirs.write_all(b"say a\n").unwrap();
    assert_eq!(other.step(Readiness::IN, token, &mut thread), Step::Wait);
    drop(other);
    let mut received = String::new();
    theirs.read_to_string(&mut received).unwrap();
    assert_eq!(received, "a");
}
