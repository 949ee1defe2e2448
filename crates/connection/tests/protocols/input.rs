//! Input that is kept, asked for by its length, or too long.

use crate::harness::{
    BOTH, Calls, Frames, Obedient, PLENTY, answers, arrive, buffer, obedient, obedient_with,
};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{Clocks, CloseReason, Connection, Consumed, Flow, Limits, ThreadState};
use epoll_reactor::net::Stream;
use epoll_reactor::{Readiness, Token};
use std::io::{Read, Write};

fn frames(trigger: Trigger, limits: Limits) -> Driver<Frames> {
    let mut driver = Driver::with_limits(trigger, Frames, 0, limits);
    driver.act(PLENTY);
    driver
}

#[test]
fn what_is_not_consumed_is_shown_again_with_what_follows() {
    for trigger in BOTH {
        let mut driver = answers(trigger, &[Consumed::nothing(), Consumed::bytes(3)], buffer(16));
        arrive(&mut driver, "abc");
        assert_eq!(driver.counts(), (3, 0, 0, 3), "{trigger:?}");
        arrive(&mut driver, "def");
        assert_eq!(*driver.local(), [&b"abc"[..], b"abcdef", b"def"], "{trigger:?}");
        assert_eq!(driver.counts(), (6, 0, 0, 0));
    }
}

#[test]
fn a_message_that_is_asked_for_is_shown_once_when_it_is_complete() {
    for trigger in BOTH {
        for read_buffer_len in [1, 2, 3, 7, 64] {
            let mut driver = frames(trigger, buffer(read_buffer_len));
            let frame = Frames::frame(b"hello world");
            for byte in &frame {
                arrive(&mut driver, [*byte]);
            }
            assert_eq!(driver.sent(), frame, "{trigger:?} {read_buffer_len}");
            let shown = *driver.local();
            assert!(shown <= 3, "{shown} times for {read_buffer_len} bytes of buffer");
            assert_eq!(driver.counts(), (13, 13, 0, 0));
            driver.end_well();
            assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
        }
    }
}

#[test]
fn a_message_that_is_asked_for_before_any_of_it_is_there_is_shown_when_it_is_complete() {
    for trigger in BOTH {
        // Both where everything was consumed at once, and message by message.
        let consumed = Consumed { need: 3, ..Consumed::bytes(2) };
        for (first, script) in
            [("ab", vec![consumed]), ("abcd", vec![Consumed::bytes(2), consumed])]
        {
            let mut driver = answers(trigger, &script, buffer(16));
            arrive(&mut driver, first);
            let shown = driver.local().len();
            arrive(&mut driver, "12");
            assert_eq!(driver.local().len(), shown, "{trigger:?}: two of three bytes");
            assert_eq!(driver.counts().3, 2);
            arrive(&mut driver, "3");
            assert_eq!(driver.local().last().unwrap(), b"123", "{trigger:?}");
        }
    }
}

#[test]
fn a_message_that_is_asked_for_when_all_of_it_is_there_is_shown_at_once() {
    for trigger in BOTH {
        let consumed = Consumed { need: 3, ..Consumed::bytes(2) };
        let mut driver = answers(trigger, &[consumed], buffer(16));
        arrive(&mut driver, "ab123");
        assert_eq!(*driver.local(), [&b"ab123"[..], b"123"], "{trigger:?}");
    }
}

#[test]
fn the_need_of_a_message_outlasts_a_wait_for_room() {
    for trigger in BOTH {
        let passed = Consumed { need: 4, ..Consumed::pass(2) };
        let mut driver = Driver::with_limits(
            trigger,
            crate::harness::Answers(vec![passed.then(Flow::Produce); 2]),
            Vec::new(),
            buffer(16),
        );
        arrive(&mut driver, "ab");
        arrive(&mut driver, "cdef");
        assert_eq!(driver.counts().2, 2, "{trigger:?}: nothing was taken");
        driver.act(Act::Room(2));
        assert_eq!(*driver.local(), [&b"ab"[..], b"cdef"], "{trigger:?}");
        // `ef` is kept, and shorter than what was asked for.
        driver.act(PLENTY);
        assert_eq!(driver.local().len(), 2, "{trigger:?}");
        assert_eq!(driver.counts().3, 2);
        arrive(&mut driver, "gh");
        assert_eq!(driver.local().last().unwrap(), b"efgh", "{trigger:?}");
    }
}

#[test]
fn a_message_longer_than_the_buffer_is_read_into_one_that_grows() {
    for trigger in BOTH {
        let mut driver = frames(trigger, buffer(8));
        let frame = Frames::frame(&[7; 1000]);
        arrive(&mut driver, &frame);
        assert_eq!(driver.sent(), frame);
        assert_eq!(*driver.local(), 2, "{trigger:?}: the length, then all of it");
        // Reads up to 8, 32, 128, 512 and 1002 bytes, and one finds no more; then a write.
        assert_eq!(driver.calls(), 7, "{trigger:?}");
        assert_eq!(driver.counts().3, 0);
    }
}

#[test]
fn what_follows_a_long_message_is_shown() {
    for trigger in BOTH {
        let mut driver = frames(trigger, buffer(8));
        let mut bytes = Frames::frame(&[7; 100]);
        bytes.extend(Frames::frame(b"x"));
        bytes.extend(Frames::frame(&[8; 50]));
        arrive(&mut driver, &bytes);
        assert_eq!(driver.sent(), bytes, "{trigger:?}");
    }
}

#[test]
fn a_message_of_input_max_is_taken_and_a_longer_one_is_not() {
    for trigger in BOTH {
        for read_buffer_len in [8, 500] {
            let limits = Limits { input_max: 100, ..buffer(read_buffer_len) };
            let mut driver = frames(trigger, limits.clone());
            arrive(&mut driver, Frames::frame(&[7; 98]));
            assert_eq!(driver.sent().len(), 100, "{trigger:?}");
            assert_eq!(driver.closed(), None);

            let mut driver = frames(trigger, limits);
            arrive(&mut driver, &Frames::frame(&[7; 99])[..4]);
            assert_eq!(driver.closed(), Some(CloseReason::InputTooLong), "{trigger:?}");
        }
    }
}

#[test]
fn a_need_beyond_the_limit_is_refused_even_while_output_waits() {
    for trigger in BOTH {
        let passed = Consumed { need: usize::MAX, ..Consumed::pass(2) };
        let mut driver = Driver::with_limits(
            trigger,
            crate::harness::Answers(vec![passed]),
            Vec::new(),
            buffer(16),
        );
        arrive(&mut driver, "ab");
        driver.end_well();
        assert_eq!(driver.closed(), Some(CloseReason::InputTooLong), "{trigger:?}");
    }
}

#[test]
fn an_overflow_closes_unless_it_is_answered_with_finish() {
    let full = "a line without an end";
    for trigger in BOTH {
        for overflow in ["keep", "read", "say lost; abort", "produce", "pause"] {
            let protocol = Obedient { overflow, ..Obedient::NEW };
            let mut driver = obedient_with(trigger, protocol, buffer(8));
            arrive(&mut driver, full);
            assert_eq!(driver.closed(), Some(CloseReason::InputTooLong), "{overflow}");
            assert_eq!(driver.sent(), b"");
            assert_eq!(*driver.local(), ["open", "overflow", "InputTooLong"]);
        }
        let protocol =
            Obedient { overflow: "say too long; finish", finish: "say .", ..Obedient::NEW };
        let mut driver = obedient_with(trigger, protocol, buffer(8));
        arrive(&mut driver, full);
        assert!(driver.is_output_closed(), "{trigger:?}");
        assert_eq!(driver.counts().3, 0, "nothing is kept for the end");
        driver.end_well();
        assert_eq!(driver.sent(), b"too long.");
        assert_eq!(driver.closed(), Some(CloseReason::Finished));
    }
}

#[test]
fn input_that_fills_the_buffer_exactly_overflows_only_if_it_is_not_consumed() {
    for trigger in BOTH {
        let mut driver = obedient_with(trigger, Obedient::NEW, buffer(8));
        arrive(&mut driver, "say 123\n");
        assert_eq!(driver.sent(), b"123");
        arrive(&mut driver, "say 123");
        assert_eq!(driver.closed(), None, "{trigger:?}: one byte less");
        arrive(&mut driver, "4");
        assert_eq!(driver.closed(), Some(CloseReason::InputTooLong), "{trigger:?}");
    }
}

#[test]
fn a_partial_line_is_the_rest_at_the_end() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        arrive(&mut driver, "say a\nsay ");
        driver.act(Act::Fin);
        let calls: Calls = std::mem::take(driver.local());
        let told = "peer finished after \"say \"";
        assert_eq!(calls, ["open", "say a", told, "last words", "PeerClosed"], "{trigger:?}");
    }
}

#[test]
fn a_rest_of_a_long_message_is_the_rest_at_the_end() {
    for trigger in BOTH {
        let mut driver = frames(trigger, buffer(4));
        arrive(&mut driver, &Frames::frame(&[1; 50])[..20]);
        assert_eq!(driver.counts().3, 20);
        // The kit compares the rest with what was kept.
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
    }
}

#[test]
fn input_is_shown_as_the_protocol_left_it() {
    struct Upper;
    impl epoll_connection::Protocol for Upper {
        type Local = ();
        type Message = ();

        fn on_input(
            &mut self,
            input: &mut [u8],
            context: &mut epoll_connection::Context<'_, (), ()>,
        ) -> Consumed {
            let is_new = input.iter().any(u8::is_ascii_lowercase);
            input.make_ascii_uppercase();
            if is_new && !input.ends_with(b".") {
                return Consumed::nothing();
            }
            context.write(input);
            Consumed::bytes(input.len())
        }
    }
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Upper, ());
        driver.act(PLENTY);
        arrive(&mut driver, "ab");
        arrive(&mut driver, "cd");
        arrive(&mut driver, "e.");
        assert_eq!(driver.sent(), b"ABCDE.", "{trigger:?}");
    }
}

#[test]
fn a_message_that_comes_in_pieces_is_not_copied_for_each() {
    // Quadratic copying would move 2 GiB here; what is counted is that one buffer serves to the end.
    let mut driver = frames(Trigger::Edge, Limits::default());
    let frame = Frames::frame(&[1; 60_000]);
    for byte in &frame {
        driver.act(Act::Arrive(vec![*byte]));
    }
    assert_eq!(driver.sent(), frame);
    assert!(*driver.local() <= 3);
}

#[test]
fn the_buffer_of_a_long_message_grows_with_what_has_come_of_it() {
    const READ: usize = 64;
    let (ours, theirs) = Stream::pair().unwrap();
    let mut connection = Connection::new(Frames, ours);
    let mut thread = ThreadState::new(0, 0, buffer(READ), Clocks::default());
    let token = Token::detached(0);
    let _ = connection.open(token, &mut thread);
    let frame = Frames::frame(&[1; 5_000]);
    // Of each piece but the last a part is left, and a buffer with it.
    for (sent, piece) in (1..).zip(frame.chunks(30)) {
        (&theirs).write_all(piece).unwrap();
        while connection.received() < (30 * sent).min(frame.len()) as u64 {
            let _ = connection.step(Readiness::IN, token, &mut thread);
        }
        let received = usize::try_from(connection.received()).unwrap();
        let buffered = connection.count_buffered().now;
        assert!(buffered <= (4 * received).max(received + READ), "{buffered} for {received}");
    }
    let mut echoed = vec![0; frame.len()];
    (&theirs).read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, frame);
}

#[test]
fn one_that_needs_no_more_than_fills_the_buffer_and_takes_nothing_is_too_long() {
    for trigger in BOTH {
        let mut driver = answers(trigger, &[Consumed::need(16)], buffer(16));
        arrive(&mut driver, [b'a'; 16]);
        assert_eq!(driver.closed(), Some(CloseReason::InputTooLong), "{trigger:?}");
    }
}
