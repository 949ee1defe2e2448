//! The ends of a connection: by its protocol, by its peer, in one half or both.

use crate::harness::{BOTH, Obedient, PLENTY, arrive, obedient};
use epoll_connection::test_kit::{Act, Driver};
use epoll_connection::{Awaits, CloseReason};
use epoll_reactor::Interest;
use std::io::ErrorKind;
use std::time::Duration;

const LAST_WORDS: Obedient = Obedient { finish: "say bye", ..Obedient::NEW };

#[test]
fn a_finish_sends_everything_and_the_last_words_and_lingers() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, LAST_WORDS, Vec::new());
        arrive(&mut driver, "say abc; finish\nsay never\n");
        assert_eq!(*driver.local(), ["open", "say abc; finish"], "{trigger:?}");
        driver.act(Act::Room(2));
        assert!(!driver.is_output_closed());
        driver.act(Act::Room(2));
        assert_eq!(driver.local()[2..], ["last words"]);
        assert!(!driver.is_output_closed(), "{trigger:?}: the last words wait for room");
        driver.act(PLENTY);
        assert!(driver.is_output_closed());
        assert_eq!((driver.awaits(), driver.closed()), (Awaits::Close, None));
        let received = driver.counts().0;
        arrive(&mut driver, "say discarded\n");
        assert_eq!(driver.unread(), 0, "what arrives is discarded");
        assert_eq!(driver.counts().0, received, "and is not counted");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::Finished));
        assert_eq!(driver.sent(), b"abcbye");
        assert_eq!(driver.local().len(), 4, "each callback once");
    }
}

/// Brings a connection to the callback that finishes it.
type Script = fn(&mut Driver<Obedient>);

#[test]
fn every_callback_can_finish_and_each_end_has_its_last_words_once() {
    let scripts: [(Obedient, Script); 7] = [
        (Obedient { open: "finish", ..LAST_WORDS }, |_| {}),
        (LAST_WORDS, |driver| arrive(driver, "finish\n")),
        (LAST_WORDS, |driver| driver.message(&["finish"])),
        (Obedient { written: "finish", ..LAST_WORDS }, |driver| arrive(driver, "produce\n")),
        (Obedient { open: "after 1", ..LAST_WORDS }, |driver| {
            driver.pass_time(Duration::from_secs(1));
        }),
        (Obedient { drain: "finish", ..LAST_WORDS }, Driver::drain),
        (LAST_WORDS, |driver| {
            arrive(driver, "pause\nkept\n");
            driver.message(&["finish"]);
        }),
    ];
    for trigger in BOTH {
        for (index, (protocol, script)) in scripts.into_iter().enumerate() {
            let mut driver = obedient(trigger, protocol);
            script(&mut driver);
            assert!(driver.is_output_closed(), "{trigger:?} {index}");
            assert_eq!(driver.sent(), b"bye", "{trigger:?} {index}");
            driver.act(Act::Fin);
            let reason = if index == 5 { CloseReason::Drained } else { CloseReason::Finished };
            assert_eq!(driver.closed(), Some(reason), "{trigger:?} {index}");
            let count = driver.local().iter().filter(|call| *call == "last words").count();
            assert_eq!(count, 1, "{trigger:?} {index}");
        }
    }
}

#[test]
fn the_owner_has_the_last_words_said_too() {
    for trigger in BOTH {
        for end in [Driver::finish, Driver::end] {
            let mut driver = obedient(trigger, LAST_WORDS);
            end(&mut driver);
            assert_eq!(driver.sent(), b"bye", "{trigger:?}");
            driver.act(Act::Fin);
            assert_eq!(driver.closed(), Some(CloseReason::Drained));
        }
    }
}

#[test]
fn one_is_busy_with_a_part_of_a_message_and_whenever_its_protocol_says_so() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        assert!(!driver.is_busy());
        arrive(&mut driver, "ke");
        assert!(driver.is_busy(), "{trigger:?}: a part of a message");
        arrive(&mut driver, "ep\n");
        assert!(!driver.is_busy(), "{trigger:?}: a whole message");
        arrive(&mut driver, "pause\nkeep\n");
        assert!(driver.is_busy(), "{trigger:?}: a message during a pause");
        driver.message(&["read"]);
        assert!(!driver.is_busy() && driver.is_at_rest(), "{trigger:?}: after it");
        let driver = obedient(trigger, Obedient { is_busy: true, ..Obedient::NEW });
        assert!(driver.is_busy(), "{trigger:?}");
    }
}

#[test]
fn the_last_words_come_after_the_end_of_the_peer() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        driver.act(Act::Fin);
        assert_eq!(driver.sent(), b"bye", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn an_abort_drops_what_was_written() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        arrive(&mut driver, "say a\nsay b; abort\nsay c\n");
        assert_eq!(driver.closed(), Some(CloseReason::Aborted), "{trigger:?}");
        assert_eq!(*driver.local(), ["open", "say a", "say b; abort", "Aborted"]);
        assert_eq!(driver.sent(), b"");
    }
}

#[test]
fn the_end_of_our_output_leaves_reading_as_it_was() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        arrive(&mut driver, "say a; end\nkeep\n");
        assert!(driver.is_output_closed(), "{trigger:?}");
        assert_eq!(driver.sent(), b"abye", "{trigger:?}: the last words come first");
        assert_eq!(driver.awaits(), Awaits::Input);
        arrive(&mut driver, "read\n");
        let calls = ["open", "say a; end", "keep", "last words", "read"];
        assert_eq!(driver.local().len(), calls.len());
        assert!(calls.iter().all(|call| driver.local().iter().any(|other| call == other)));
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
    }
}

#[test]
fn the_end_of_our_output_waits_until_everything_is_sent() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, LAST_WORDS, Vec::new());
        arrive(&mut driver, "say a; end\n");
        assert!(!driver.is_output_closed());
        driver.act(Act::Room(1));
        assert!(!driver.is_output_closed());
        driver.act(PLENTY);
        assert!(driver.is_output_closed(), "{trigger:?}");
        assert_eq!(driver.sent(), b"abye");
    }
}

#[test]
fn a_finish_after_the_end_of_our_output_says_its_last_words_once() {
    for trigger in BOTH {
        for script in ["say a; end; finish\n", "say a; end\nfinish\n"] {
            for room in [0, 2, 1 << 20] {
                let mut driver = Driver::new(trigger, LAST_WORDS, Vec::new());
                driver.act(Act::Room(room));
                arrive(&mut driver, script);
                driver.act(PLENTY);
                assert!(driver.is_output_closed());
                assert_eq!(driver.closed(), None, "{trigger:?} {script:?} {room}");
                driver.act(Act::Fin);
                assert_eq!(driver.sent(), b"abye", "{trigger:?} {script:?} {room}");
                assert_eq!(driver.closed(), Some(CloseReason::Finished));
            }
        }
    }
}

#[test]
fn a_protocol_can_go_on_after_the_end_of_its_peer() {
    for trigger in BOTH {
        let protocol = Obedient { peer_finished: "say a", ..LAST_WORDS };
        let mut driver = obedient(trigger, protocol);
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), None, "{trigger:?}");
        if trigger == epoll_connection::test_kit::Trigger::Level {
            assert_eq!(driver.registered(), Some(Interest::empty()), "or it would spin");
        }
        driver.message(&["say b"]);
        assert_eq!(driver.sent(), b"ab", "{trigger:?}");
        driver.message(&["say c; finish"]);
        assert_eq!(driver.sent(), b"abcbye", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn an_answer_to_the_end_of_the_peer_can_be_produced() {
    for trigger in BOTH {
        let protocol =
            Obedient { peer_finished: "say a; produce", written: "say b; finish", ..LAST_WORDS };
        let mut driver = Driver::new(trigger, protocol, Vec::new());
        driver.act(Act::Fin);
        assert_eq!(driver.counts().2, 1, "{trigger:?}");
        driver.act(Act::Room(1));
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abbye", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn the_end_of_the_peer_while_output_waits_is_told_when_it_is_sent() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, LAST_WORDS, Vec::new());
        arrive(&mut driver, "say abc\n");
        driver.act(Act::Fin);
        assert_eq!(driver.local().len(), 2, "{trigger:?}");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abcbye", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn both_ends_of_a_connection_that_went_on_after_the_first_end_it() {
    for trigger in BOTH {
        let protocol = Obedient { peer_finished: "keep", ..LAST_WORDS };
        // Our end, then the peer's.
        let mut driver = obedient(trigger, protocol);
        arrive(&mut driver, "end\n");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
        // The peer's, then ours.
        let mut driver = obedient(trigger, protocol);
        driver.act(Act::Fin);
        driver.message(&["end"]);
        assert_eq!(driver.sent(), b"bye");
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
    }
}

#[test]
fn a_finishing_connection_is_neither_paused_nor_silent() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        arrive(&mut driver, "pause\n");
        arrive(&mut driver, "say unread\n");
        driver.message(&["finish"]);
        assert!(!driver.is_paused(), "{trigger:?}");
        assert!(driver.is_output_closed());
        assert_eq!(driver.unread(), 0, "{trigger:?}: what arrived is discarded");
        assert!(driver.registered().unwrap().contains(Interest::IN), "{trigger:?}");
        arrive(&mut driver, "more\n");
        assert_eq!(driver.unread(), 0, "{trigger:?}");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::Finished));
    }
}

#[test]
fn a_reset_while_the_connection_lingers_is_a_failure() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, LAST_WORDS);
        arrive(&mut driver, "finish\n");
        driver.act(Act::Reset);
        let reset = CloseReason::Failed(ErrorKind::ConnectionReset);
        assert_eq!(driver.closed(), Some(reset), "{trigger:?}");
    }
}

#[test]
fn a_reset_that_the_shutdown_finds_is_the_reason() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        driver.prepare(Act::Reset);
        driver.message(&["finish"]);
        let gone = CloseReason::Failed(ErrorKind::NotConnected);
        assert_eq!(driver.closed(), Some(gone), "{trigger:?}");
        assert_eq!(driver.local().last().unwrap(), "Failed(NotConnected)");
    }
}

#[test]
fn an_end_of_the_peer_that_comes_while_it_finishes_is_an_orderly_end() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, LAST_WORDS, Vec::new());
        arrive(&mut driver, "say abc; finish\n");
        driver.act(Act::Fin);
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abcbye", "{trigger:?}");
        assert_eq!(driver.closed(), Some(CloseReason::Finished));
    }
}

#[test]
fn what_is_written_when_it_is_closed_is_lost_and_reaches_no_other_connection() {
    for trigger in BOTH {
        // The kit checks that the thread's output is empty afterwards.
        let protocol = Obedient { close: "say lost; after 1; end", ..Obedient::NEW };
        let mut driver = obedient(trigger, protocol);
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
        assert_eq!(driver.sent(), b"");
    }
}
