//! Pauses: what they hold back, what they cost, and what ends them.

use crate::harness::{
    Answers, BOTH, Obedient, PLENTY, answers, arrive, buffer, obedient, obedient_with,
};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Consumed, Flow};
use epoll_reactor::Interest;
use std::time::Duration;

#[test]
fn a_pause_shows_no_input_until_a_message_ends_it() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        arrive(&mut driver, "pause\nsay kept\n");
        arrive(&mut driver, "say later\n");
        assert_eq!(*driver.local(), ["open", "pause"], "{trigger:?}");
        assert!(driver.is_paused());
        driver.message(&["keep"]);
        assert!(driver.is_paused(), "any other answer leaves it paused");
        driver.message(&["read"]);
        assert!(!driver.is_paused());
        assert_eq!(driver.sent(), b"keptlater", "{trigger:?}");
    }
}

#[test]
fn a_deadline_ends_a_pause() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient { deadline: "read", ..Obedient::NEW });
        arrive(&mut driver, "after 5; pause\nsay kept\n");
        arrive(&mut driver, "say later\n");
        driver.pass_time(Duration::from_secs(4));
        assert_eq!(driver.sent(), b"");
        driver.pass_time(Duration::from_secs(1));
        assert_eq!(driver.sent(), b"keptlater", "{trigger:?}");
    }
}

#[test]
fn a_pause_that_ends_before_more_arrives_costs_nothing() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        for round in 1..=10 {
            arrive(&mut driver, "pause\n");
            driver.message(&["say done; read"]);
            assert_eq!(driver.calls(), 2 * round, "{trigger:?}: a read and a write");
            assert_eq!(driver.interest_changes(), 0, "{trigger:?}");
        }
    }
}

#[test]
fn input_during_a_pause_silences_a_level_triggered_connection() {
    let mut driver = obedient(Trigger::Level, Obedient::NEW);
    arrive(&mut driver, "pause\n");
    assert_eq!(driver.registered(), Some(Interest::IN | Interest::RDHUP));
    let calls = driver.calls();
    arrive(&mut driver, "say a\n");
    assert_eq!(driver.registered(), Some(Interest::empty()));
    assert_eq!(driver.calls(), calls, "nothing is read");
    arrive(&mut driver, "say b\n");
    driver.act(Act::Fin);
    assert_eq!(driver.interest_changes(), 1, "the connection is silent");
    driver.message(&["read"]);
    assert_eq!(driver.sent(), b"ab");
    assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
}

#[test]
fn the_interest_comes_back_with_the_end_of_the_pause() {
    let mut driver = obedient(Trigger::Level, Obedient { deadline: "read", ..Obedient::NEW });
    for end in ["message", "deadline"] {
        arrive(&mut driver, "after 1; pause\n");
        arrive(&mut driver, "say a\n");
        assert_eq!(driver.registered(), Some(Interest::empty()));
        if end == "message" {
            driver.message(&["read"]);
        } else {
            driver.pass_time(Duration::from_secs(1));
        }
        assert_eq!(driver.registered(), Some(Interest::IN | Interest::RDHUP), "{end}");
    }
    assert_eq!(driver.sent(), b"aa");
}

#[test]
fn a_message_that_was_shown_before_a_pause_is_shown_again_after_it() {
    for trigger in BOTH {
        let pause = Consumed::nothing().then(Flow::Pause);
        let mut driver = answers(trigger, &[pause], buffer(16));
        arrive(&mut driver, "ab");
        driver.message(&[Flow::Read]);
        assert_eq!(*driver.local(), [b"ab", b"ab"], "{trigger:?}");
    }
}

#[test]
fn a_message_that_is_not_complete_is_not_shown_again_after_a_pause() {
    for trigger in BOTH {
        let pause = Consumed::need(3).then(Flow::Pause);
        let mut driver = answers(trigger, &[pause], buffer(16));
        arrive(&mut driver, "ab");
        driver.message(&[Flow::Read]);
        assert_eq!(driver.local().len(), 1, "{trigger:?}");
        arrive(&mut driver, "c");
        assert_eq!(*driver.local(), [&b"ab"[..], b"abc"], "{trigger:?}");
    }
}

#[test]
fn a_message_of_the_length_that_was_asked_for_is_shown_after_a_pause() {
    for trigger in BOTH {
        let pause = Consumed::need(2).then(Flow::Pause);
        let mut driver = answers(trigger, &[pause], buffer(16));
        arrive(&mut driver, "ab");
        driver.message(&[Flow::Read]);
        assert_eq!(driver.local().len(), 2, "{trigger:?}");
    }
}

#[test]
fn a_full_buffer_that_is_kept_during_a_pause_is_no_overflow() {
    for trigger in BOTH {
        let mut driver = Driver::with_limits(
            trigger,
            Answers(vec![Consumed::nothing().then(Flow::Pause)]),
            Vec::new(),
            buffer(4),
        );
        arrive(&mut driver, "abcdef");
        assert_eq!(driver.closed(), None, "{trigger:?}");
        assert_eq!(driver.counts().3, 4);
        driver.message(&[Flow::Read]);
        assert_eq!(*driver.local(), [&b"abcd"[..], b"abcd", b"ef"], "{trigger:?}");
    }
}

#[test]
fn a_peer_that_resets_ends_a_pause() {
    for trigger in BOTH {
        for before in ["", "say unread\n"] {
            let mut driver = obedient(trigger, Obedient::NEW);
            arrive(&mut driver, "pause\n");
            arrive(&mut driver, before);
            driver.act(Act::Reset);
            let reset = std::io::ErrorKind::ConnectionReset;
            assert_eq!(driver.closed(), Some(CloseReason::Failed(reset)), "{trigger:?}");
        }
    }
}

#[test]
fn what_a_peer_sends_before_both_halves_are_closed_is_read_after_a_pause() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        arrive(&mut driver, "end; pause\n");
        assert!(driver.is_output_closed());
        arrive(&mut driver, "keep\n");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), None, "{trigger:?}");
        if trigger == Trigger::Level {
            assert_eq!(driver.registered(), None, "or it would spin");
        }
        driver.message(&["read"]);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
        assert!(driver.local().iter().any(|call| call == "keep"), "{:?}", driver.local());
    }
}

#[test]
fn a_peer_that_closes_its_half_does_not_end_a_pause() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        arrive(&mut driver, "pause\n");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), None, "{trigger:?}");
        driver.message(&["say still here"]);
        assert_eq!(driver.sent(), b"still here");
        driver.message(&["read"]);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
    }
}

#[test]
fn an_end_that_is_announced_before_or_during_a_pause_is_found_after_it() {
    let input = "pause\nsay a\nsay b\nsay c\n";
    for trigger in BOTH {
        for is_later in [false, true] {
            for read_buffer_len in 6..40 {
                let mut driver = obedient_with(trigger, Obedient::NEW, buffer(read_buffer_len));
                if is_later {
                    arrive(&mut driver, input);
                } else {
                    driver.prepare(Act::Arrive(input.into()));
                }
                driver.act(Act::Fin);
                assert_eq!(driver.closed(), None);
                driver.message(&["read"]);
                assert_eq!(driver.sent(), b"abc");
                let closed = Some(CloseReason::PeerClosed);
                assert_eq!(driver.closed(), closed, "{trigger:?} {is_later} {read_buffer_len}");
            }
        }
    }
}

#[test]
fn a_paused_connection_waits_for_room_and_stays_paused() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        arrive(&mut driver, "say abc; pause\nsay d\n");
        assert!(driver.registered().unwrap().contains(Interest::OUT));
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"abc");
        assert_eq!(*driver.local(), ["open", "say abc; pause", "written"]);
        arrive(&mut driver, "say e\n");
        driver.message(&["read"]);
        assert_eq!(driver.sent(), b"abcde", "{trigger:?}");
    }
}

#[test]
fn a_pause_from_the_beginning_shows_nothing() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient { open: "pause", ..Obedient::NEW });
        arrive(&mut driver, "say a\n");
        assert_eq!(driver.calls(), 0, "{trigger:?}");
        driver.message(&["read"]);
        assert_eq!(driver.sent(), b"a");
    }
}
