//! Messages: when they come, what they can do, and what they cost.

use crate::harness::{BOTH, Calls, Obedient, PLENTY, arrive, obedient};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{Clocks, CloseReason, Connection, Limits, Misuse, Step, ThreadState};
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Readiness, Token};
use std::io::Write;

#[test]
fn messages_of_a_turn_are_one_send() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        driver.message(&["say a", "say b", "keep", "say c"]);
        assert_eq!(driver.sent(), b"abc");
        assert_eq!(driver.calls(), 1, "{trigger:?}");
        let calls = [0, 1, 2, 2].map(|pending| format!("message with {pending} pending"));
        assert_eq!(driver.local()[1..], calls, "{trigger:?}");
        assert_eq!(driver.interest_changes(), 0);
    }
}

#[test]
fn messages_that_write_much_are_sent_when_so_much_has_gathered() {
    for trigger in BOTH {
        let limits = Limits { output_max: 4, ..Limits::default() };
        let mut driver = Driver::with_limits(trigger, Obedient::NEW, Vec::new(), limits);
        driver.act(Act::Room(9));
        driver.message(&["say abc", "say de", "say f", "say ghi", "say jk", "say l", "keep"]);
        // A peer that takes everything lets nothing gather; one that does not is not asked again.
        let calls = [0, 3, 0, 1, 0, 2, 3].map(|pending| format!("message with {pending} pending"));
        assert_eq!(driver.local()[1..], calls, "{trigger:?}");
        assert_eq!((driver.calls(), driver.sent()), (3, b"abcdefghi".to_vec()), "{trigger:?}");
        assert!(driver.registered().unwrap().contains(Interest::OUT));
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abcdefghijkl", "{trigger:?}");
        assert_eq!(driver.local().last().unwrap(), "written");
    }
}

#[test]
fn a_failure_to_send_early_is_told_once() {
    for trigger in BOTH {
        let limits = Limits { output_max: 1, ..Limits::default() };
        let mut driver = Driver::with_limits(trigger, Obedient::NEW, Vec::new(), limits);
        driver.act_during([Act::Reset]);
        driver.message(&["say a", "say b"]);
        assert!(matches!(driver.closed(), Some(CloseReason::Failed(_))), "{trigger:?}");
    }
}

#[test]
fn messages_that_write_nothing_cost_nothing() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        driver.message(&["keep", "read", "keep"]);
        driver.message(&[]);
        assert_eq!((driver.calls(), driver.interest_changes()), (0, 0), "{trigger:?}");
        arrive(&mut driver, "say a\n");
        assert_eq!(driver.calls(), 2, "{trigger:?}: a read and a write");
    }
}

#[test]
fn messages_come_while_output_waits_and_know_how_much() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        arrive(&mut driver, "say abc\n");
        driver.message(&["say de"]);
        driver.message(&["say f", "keep"]);
        let calls = [3, 5, 6].map(|pending| format!("message with {pending} pending"));
        assert_eq!(driver.local()[2..], calls, "{trigger:?}");
        assert_eq!(driver.counts(), (8, 0, 6, 0));
        driver.act(Act::Room(4));
        assert_eq!(driver.counts().2, 2);
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abcdef", "{trigger:?}");
        assert_eq!(driver.local().last().unwrap(), "written");
    }
}

#[test]
fn a_message_that_does_not_fit_waits_for_room() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        driver.act(Act::Room(1));
        driver.message(&["say a", "say b"]);
        assert_eq!(driver.counts().2, 1, "{trigger:?}");
        assert!(driver.registered().unwrap().contains(Interest::OUT));
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"ab");
        assert_eq!(driver.local().last().unwrap(), "written");
    }
}

#[test]
fn a_connection_that_is_about_to_end_gets_no_message() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        driver.message(&["say a; finish", "say b"]);
        assert!(driver.is_output_closed());
        driver.message(&["say c"]);
        driver.act(Act::Fin);
        assert_eq!(driver.sent(), b"a", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::Finished));
    }
}

#[test]
fn an_abort_by_a_message_is_the_last_callback_but_the_close() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        driver.message(&["say a", "say b; abort", "say c", "finish"]);
        assert_eq!(driver.closed(), Some(CloseReason::Aborted), "{trigger:?}");
        assert_eq!(driver.sent(), b"");
        assert_eq!(driver.local().len(), 4, "{trigger:?}");
    }
}

#[test]
fn a_message_can_abort_while_output_waits() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        arrive(&mut driver, "say abc\n");
        driver.message(&["abort"]);
        assert_eq!(driver.closed(), Some(CloseReason::Aborted), "{trigger:?}");
    }
}

#[test]
fn a_message_can_break_the_rules() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        driver.message(&["end", "say too late", "keep"]);
        let misuse = CloseReason::Misuse(Misuse::WroteAfterEnd);
        assert_eq!(driver.closed(), Some(misuse), "{trigger:?}");
        assert_eq!(driver.local().len(), 4, "{trigger:?}");
    }
}

#[test]
fn a_message_that_ends_a_pause_while_output_waits_is_heeded_when_it_is_sent() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        arrive(&mut driver, "say abc; pause\n");
        arrive(&mut driver, "say d\n");
        driver.message(&["read"]);
        assert_eq!(driver.counts().0, 15, "{trigger:?}: nothing is read yet");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abcd", "{trigger:?}");
    }
}

#[test]
fn a_message_that_reads_and_one_that_pauses_again_leave_the_interest_right() {
    let mut driver = obedient(Trigger::Level, Obedient::NEW);
    arrive(&mut driver, "pause\n");
    arrive(&mut driver, "say a\n");
    assert_eq!(driver.registered(), Some(Interest::empty()));
    driver.message(&["read", "pause"]);
    // What has arrived is reported again, and silences the connection again.
    assert_eq!(driver.registered(), Some(Interest::empty()));
    assert_eq!(driver.sent(), b"");
    driver.message(&["pause", "read"]);
    assert_eq!(driver.sent(), b"a");
    assert_eq!(driver.registered(), Some(Interest::IN | Interest::RDHUP));
}

#[test]
fn a_message_can_begin_an_answer_of_any_length() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient { written: "say more", ..Obedient::NEW });
        driver.message(&["say a; produce", "say b"]);
        assert_eq!(driver.sent(), b"abmore", "{trigger:?}");
    }
}

#[test]
fn a_message_closes_our_half() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        driver.message(&["say a; end"]);
        assert!(driver.is_output_closed(), "{trigger:?}");
        assert_eq!(driver.sent(), b"a");
        arrive(&mut driver, "keep\n");
        assert_eq!(driver.local().last().unwrap(), "keep");
    }
}

#[test]
fn a_step_between_an_abort_and_its_settling_ends_the_connection() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut thread = ThreadState::new(0, Calls::new(), Limits::default(), Clocks::default());
    let (mut connection, token) = (Connection::new(Obedient::NEW, ours), Token::detached(0));
    assert_eq!(connection.open(token, &mut thread), Step::Wait);
    assert!(connection.message(&"say a", token, &mut thread), "the first has it settled");
    assert!(!connection.message(&"abort", token, &mut thread));
    assert!(!connection.message(&"say b", token, &mut thread));
    theirs.write_all(b"say c\n").unwrap();
    let step = connection.step(Readiness::IN, token, &mut thread);
    assert_eq!(step, Step::Done(CloseReason::Aborted));
    assert_eq!(thread.local.len(), 4, "{:?}", thread.local);
}

#[test]
fn nothing_but_the_settling_comes_of_an_abort_before_it() {
    let (ours, _theirs) = Stream::pair().unwrap();
    let mut thread = ThreadState::new(0, Calls::new(), Limits::default(), Clocks::default());
    let (mut connection, token) = (Connection::new(Obedient::NEW, ours), Token::detached(0));
    assert_eq!(connection.open(token, &mut thread), Step::Wait);
    assert!(connection.message(&"after 1; abort", token, &mut thread));
    assert_eq!(connection.drain(token, &mut thread), Step::Wait);
    assert_eq!(connection.expire(token, &mut thread), Step::Wait);
    assert_eq!(connection.settle(token, &mut thread), Step::Done(CloseReason::Aborted));
    assert_eq!(thread.local.len(), 3, "{:?}", thread.local);
}
