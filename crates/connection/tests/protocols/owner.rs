//! Requests of a connection's owner: drain, finish, end, close, in every state.

use crate::harness::{BOTH, Obedient, PLENTY, arrive, obedient};
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Driver};

const LAST_WORDS: Obedient = Obedient { finish: "say bye", ..Obedient::NEW };

#[test]
fn a_drain_asks_the_protocol_and_goes_on_by_default() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        driver.drain();
        assert_eq!(*driver.local(), ["open", "drain"], "{trigger:?}");
        arrive(&mut driver, "say a\n");
        assert_eq!(driver.sent(), b"a");
        driver.finish();
        assert_eq!(driver.sent(), b"abye", "{trigger:?}");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::Drained));
    }
}

#[test]
fn a_drain_that_is_answered_with_finish_is_the_reason_of_the_end() {
    for trigger in BOTH {
        let mut driver =
            Driver::new(trigger, Obedient { drain: "say d; finish", ..LAST_WORDS }, Vec::new());
        arrive(&mut driver, "say abc\n");
        driver.drain();
        driver.act(PLENTY);
        driver.act(Act::Fin);
        assert_eq!(driver.sent(), b"abcdbye", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::Drained));
    }
}

#[test]
fn a_drain_can_abort() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient { drain: "abort", ..LAST_WORDS });
        driver.drain();
        assert_eq!(driver.closed(), Some(CloseReason::Aborted), "{trigger:?}");
    }
}

#[test]
fn a_finish_has_everything_shown_that_has_arrived() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        driver.prepare(Act::Arrive(b"say a\nsay b\nsay".to_vec()));
        driver.finish();
        assert_eq!(driver.sent(), b"abbye", "{trigger:?}");
        arrive(&mut driver, "say c\n");
        driver.act(Act::Fin);
        assert_eq!(driver.sent(), b"abbye");
        assert_eq!(driver.closed(), Some(CloseReason::Drained), "{trigger:?}");
    }
}

#[test]
fn a_finish_waits_for_the_end_of_a_pause() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        arrive(&mut driver, "pause\nsay a\n");
        driver.finish();
        arrive(&mut driver, "say b\n");
        assert!(!driver.is_output_closed(), "{trigger:?}");
        driver.message(&["say answer; read"]);
        assert_eq!(driver.sent(), b"answerabbye", "{trigger:?}");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::Drained));
    }
}

#[test]
fn a_finish_waits_for_an_answer_that_is_being_produced() {
    for trigger in BOTH {
        let protocol = Obedient { written: "say more", ..LAST_WORDS };
        let mut driver = Driver::new(trigger, protocol, Vec::new());
        arrive(&mut driver, "say abc; produce\n");
        driver.finish();
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abcmorebye", "{trigger:?}");
    }
}

#[test]
fn a_finish_ends_a_connection_that_went_on_after_the_end_of_its_peer() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient { peer_finished: "keep", ..LAST_WORDS });
        driver.act(Act::Fin);
        driver.finish();
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
        assert_eq!(driver.sent(), b"bye");
    }
}

#[test]
fn a_connection_that_is_to_finish_does_so_at_the_end_of_its_peer() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient { peer_finished: "keep", ..LAST_WORDS });
        arrive(&mut driver, "pause\n");
        driver.finish();
        driver.act(Act::Fin);
        driver.message(&["read"]);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
        assert_eq!(driver.sent(), b"bye");
    }
}

#[test]
fn an_end_shows_no_more_input_but_sends_everything() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, LAST_WORDS, Vec::new());
        arrive(&mut driver, "say abc\n");
        arrive(&mut driver, "say d\n");
        driver.end();
        assert!(!driver.is_output_closed());
        driver.act(PLENTY);
        assert!(driver.is_output_closed(), "{trigger:?}");
        driver.act(Act::Fin);
        assert_eq!(driver.sent(), b"abcbye");
        assert_eq!(driver.closed(), Some(CloseReason::Drained));
    }
}

#[test]
fn an_end_ends_a_pause() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        arrive(&mut driver, "pause\nsay kept\n");
        arrive(&mut driver, "say unread\n");
        driver.end();
        assert!(driver.is_output_closed(), "{trigger:?}");
        assert_eq!((driver.counts().3, driver.unread()), (0, 0));
        arrive(&mut driver, "more");
        assert_eq!(driver.unread(), 0, "{trigger:?}");
        driver.act(Act::Fin);
        assert_eq!(driver.sent(), b"bye");
        assert_eq!(driver.closed(), Some(CloseReason::Drained));
    }
}

#[test]
fn nothing_of_this_does_more_than_once() {
    let calls = [Driver::drain, Driver::finish, Driver::end];
    for trigger in BOTH {
        for first in calls {
            for second in calls {
                let mut driver = obedient(trigger, Obedient { drain: "finish", ..LAST_WORDS });
                first(&mut driver);
                second(&mut driver);
                driver.pass_time(std::time::Duration::from_secs(1));
                assert!(driver.is_output_closed(), "{trigger:?}");
                driver.act(Act::Fin);
                first(&mut driver);
                assert_eq!(driver.sent(), b"bye", "{trigger:?}");
                assert_eq!(driver.closed(), Some(CloseReason::Drained));
            }
        }
    }
}

#[test]
fn the_owner_ends_a_connection_that_has_closed_its_output() {
    for trigger in BOTH {
        for end in [Driver::finish, Driver::end] {
            let mut driver = obedient(trigger, LAST_WORDS);
            arrive(&mut driver, "end\n");
            end(&mut driver);
            assert_eq!(driver.closed(), None, "{trigger:?}");
            driver.act(Act::Fin);
            assert_eq!(driver.sent(), b"bye");
            assert_eq!(driver.closed(), Some(CloseReason::Drained), "{trigger:?}");
        }
    }
}

#[test]
fn a_finish_of_a_connection_that_is_interrupted_goes_on() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        driver.prepare(Act::Arrive(b"say a\n".to_vec()));
        driver.prepare(Act::Interrupt);
        driver.finish();
        assert_eq!(driver.sent(), b"abye", "{trigger:?}");
    }
}
