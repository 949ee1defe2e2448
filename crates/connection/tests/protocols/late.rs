//! Answers that are sent at the end of the turn.

use crate::harness::{BOTH, Calls, Obedient, PLENTY, arrive, buffer, obedient_with};
use epoll_connection::test_kit::Act;
use epoll_connection::test_kit::Driver;
use epoll_connection::{
    Awaits, Clocks, CloseReason, Connection, Limits, Request, Step, ThreadState,
};
use epoll_reactor::net::Stream;
use epoll_reactor::{Readiness, Token};
use std::io::{ErrorKind, Read, Write};

fn late(read_buffer_len: usize) -> Limits {
    Limits { sends_late: true, ..buffer(read_buffer_len) }
}

#[test]
fn an_answer_is_sent_at_the_end_of_the_turn_and_before_more_is_read() {
    for trigger in BOTH {
        let mut driver = obedient_with(trigger, Obedient::NEW, late(64));
        arrive(&mut driver, "say a\n");
        assert_eq!((driver.sent(), driver.calls()), (b"a".to_vec(), 2), "{trigger:?}");
        // What arrives after the read is answered after the first answer.
        driver.act_during([Act::Pass, Act::Arrive(b"say c\n".to_vec())]);
        arrive(&mut driver, "say b\n");
        assert_eq!(driver.sent(), b"abc", "{trigger:?}");
        assert!(driver.is_at_rest());
        assert_eq!(driver.interest_changes(), 0);
    }
}

#[test]
fn what_does_not_fit_waits_and_an_end_comes_after_it() {
    for trigger in BOTH {
        let mut driver = Driver::with_limits(trigger, Obedient::NEW, Vec::new(), late(64));
        driver.act(Act::Room(2));
        arrive(&mut driver, "say abc\n");
        assert_eq!((driver.sent(), driver.awaits()), (b"ab".to_vec(), Awaits::Room), "{trigger:?}");
        arrive(&mut driver, "say d\n");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abcd", "{trigger:?}");
        driver.prepare(Act::Arrive(b"say e\n".to_vec()));
        driver.act(Act::Fin);
        assert_eq!(
            (driver.sent(), driver.closed()),
            (b"abcde".to_vec(), Some(CloseReason::PeerClosed))
        );
    }
}

#[test]
fn nothing_is_sent_before_the_turn_ends() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut thread = ThreadState::new(0, Calls::new(), late(64), Clocks::default());
    let token = Token::detached(0);
    let mut connection = Connection::new(Obedient::NEW, ours);
    assert_eq!(connection.open(token, &mut thread), Step::Wait);
    theirs.write_all(b"say a\n").unwrap();
    assert_eq!(connection.step(Readiness::IN, token, &mut thread), Step::Wait);
    let mut received = [0; 8];
    assert_eq!(theirs.read(&mut received).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut requests = Vec::new();
    thread.swap_requests(&mut requests);
    assert!(matches!(requests[..], [Request::Settle(of)] if of == token), "{requests:?}");
    assert_eq!(connection.settle(token, &mut thread), Step::Wait);
    assert_eq!(theirs.read(&mut received).unwrap(), 1);
    assert!(connection.is_at_rest());
}
