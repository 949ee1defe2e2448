//! Protocols that break the rules: the connection is closed for that reason, and nothing panics.

use crate::harness::{BOTH, Obedient, PLENTY, answers, arrive, buffer, obedient};
use epoll_connection::test_kit::{Act, Driver};
use epoll_connection::{CloseReason, Consumed, Flow, Misuse};
use std::time::Duration;

const TOO_MUCH: Option<CloseReason> = Some(CloseReason::Misuse(Misuse::ConsumedTooMuch));
const TOO_LATE: Option<CloseReason> = Some(CloseReason::Misuse(Misuse::WroteAfterEnd));

#[test]
fn consuming_more_than_was_shown_closes_the_connection() {
    let wrong = [
        Consumed::bytes(4),
        Consumed::bytes(usize::MAX),
        Consumed::pass(4),
        Consumed::pass(usize::MAX),
        Consumed { passed: 3, ..Consumed::bytes(2) },
        Consumed { passed: 4, ..Consumed::bytes(3) },
        Consumed::bytes(4).then(Flow::Pause),
        Consumed { need: 2, ..Consumed::bytes(4) },
    ];
    for trigger in BOTH {
        for consumed in wrong {
            let mut driver = answers(trigger, &[consumed], buffer(16));
            arrive(&mut driver, "abc");
            assert_eq!(driver.closed(), TOO_MUCH, "{trigger:?} {consumed:?}");
            assert_eq!(driver.sent(), b"");
        }
    }
}

#[test]
fn so_it_does_for_input_that_was_kept() {
    for trigger in BOTH {
        for kept in [Consumed::nothing(), Consumed::bytes(1).then(Flow::Pause)] {
            let mut driver = answers(trigger, &[kept, Consumed::bytes(7)], buffer(16));
            arrive(&mut driver, "abc");
            driver.message(&[Flow::Read]);
            arrive(&mut driver, "def");
            assert_eq!(driver.closed(), TOO_MUCH, "{trigger:?} {kept:?}");
        }
    }
}

#[test]
fn writing_after_the_end_of_output_closes_the_connection() {
    for trigger in BOTH {
        let protocol = Obedient {
            written: "say late",
            deadline: "say late",
            drain: "say late",
            peer_finished: "say late",
            overflow: "say late; finish",
            ..Obedient::NEW
        };
        let scripts: [fn(&mut Driver<Obedient>); 7] = [
            |driver| arrive(driver, "say late\n"),
            |driver| driver.message(&["say late"]),
            |driver| driver.message(&["produce"]),
            |driver| {
                driver.message(&["after 1"]);
                driver.pass_time(Duration::from_secs(1));
            },
            Driver::drain,
            |driver| driver.act(Act::Fin),
            |driver| arrive(driver, "a line that is longer than the buffer"),
        ];
        for (index, script) in scripts.into_iter().enumerate() {
            let mut driver = Driver::with_limits(trigger, protocol, Vec::new(), buffer(16));
            driver.act(PLENTY);
            arrive(&mut driver, "end\n");
            script(&mut driver);
            assert_eq!(driver.closed(), TOO_LATE, "{trigger:?} {index}");
            assert_eq!(driver.sent(), b"");
        }
    }
}

#[test]
fn passing_input_after_the_end_of_output_closes_the_connection() {
    for trigger in BOTH {
        struct Pass;
        impl epoll_connection::Protocol for Pass {
            type Local = ();
            type Message = ();

            fn on_input(
                &mut self,
                input: &mut [u8],
                context: &mut epoll_connection::Context<'_, (), ()>,
            ) -> Consumed {
                context.end_output();
                Consumed::pass(input.len())
            }
        }
        let mut driver = Driver::new(trigger, Pass, ());
        driver.act(PLENTY);
        arrive(&mut driver, "ab");
        assert_eq!(driver.closed(), None, "{trigger:?}: the end follows what was passed with it");
        arrive(&mut driver, "c");
        assert_eq!(driver.closed(), TOO_LATE, "{trigger:?}");
        assert_eq!(driver.sent(), b"ab");
    }
}

#[test]
fn writing_while_the_end_of_output_waits_is_too_late_already() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        arrive(&mut driver, "say abc; end\n");
        driver.message(&["say late"]);
        assert_eq!(driver.closed(), TOO_LATE, "{trigger:?}");
    }
}

#[test]
fn the_end_of_output_twice_is_no_misuse() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        arrive(&mut driver, "end\nend; end\n");
        driver.message(&["end"]);
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
    }
}
