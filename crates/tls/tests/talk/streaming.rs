//! Input and output while the connection is open.

use crate::harness::{BOTH, PLENTY, Talk, VERSIONS, buffer, client, server};
use crate::script::Script;
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Consumed, Context, Forward, Limits, Protocol};
use epoll_reactor::Token;
use epoll_tls::TlsLocal;
use epoll_tls::rustls::version::TLS13;

#[test]
fn lines_are_answered_in_both_versions() {
    for trigger in BOTH {
        for version in VERSIONS {
            let script = Script { open: "say hello", finish: "say bye", ..Script::NEW };
            let mut talk = Talk::open(trigger, script, version);
            assert_eq!(talk.received, b"hello", "the server speaks first");
            talk.say("say one\nsay two\nsay");
            assert_eq!(talk.received, b"helloonetwo");
            talk.say(" three\n");
            talk.close();
            assert_eq!(talk.received, b"helloonetwothreebye");
            assert!(talk.is_closed, "a close_notify");
            assert_eq!(talk.driver.closed(), Some(CloseReason::Finished));
            let calls = ["open", "say one", "say two", "say three", "peer finished after \"\""];
            assert_eq!(talk.calls()[..5], calls);
            assert_eq!(talk.calls()[5..], ["last words", "PeerClosed"]);
        }
    }
}

#[test]
fn every_split_and_every_room_give_the_same_answers() {
    let lines = "say ab\nsay c; produce\nfill 40\nsay d\n";
    for trigger in BOTH {
        for version in VERSIONS {
            for (piece, room) in [(1, 1), (1, PLENTY), (3, 2), (7, 50), (64, 1), (PLENTY, 3)] {
                for limits in [
                    buffer(1),
                    Limits { output_max: 1, ..buffer(60) },
                    Limits { step_bytes_max: 1, ..Limits::default() },
                ] {
                    let script = Script { open: "say o", finish: "say f", ..Script::NEW };
                    let mut talk = Talk::with_limits(trigger, script, version, limits);
                    (talk.piece, talk.room) = (piece, room);
                    talk.exchange();
                    lines.split_inclusive('\n').for_each(|line| talk.write(line));
                    talk.exchange();
                    talk.client.send_close_notify();
                    talk.exchange();
                    talk.driver.end_well();
                    talk.take();
                    let expected = format!("oabc{}df", "x".repeat(40));
                    let received = String::from_utf8_lossy(&talk.received).into_owned();
                    assert_eq!(received, expected, "{trigger:?} {version:?} {piece} {room}");
                    assert!(talk.is_closed && talk.driver.closed().is_some());
                }
            }
        }
    }
}

/// One pair of pieces for each place at which the client's bytes can be split, handshake included.
#[test]
fn every_place_to_split_gives_the_same_answers() {
    for version in VERSIONS {
        for trigger in BOTH {
            let (mut cut, mut is_past) = (1, false);
            while !is_past {
                is_past = true;
                let mut at = 0;
                let mut talk = Talk::new(trigger, Script::NEW, version);
                talk.write("say a\nsay b\n");
                talk.driver.act(Act::Room(PLENTY));
                loop {
                    let bytes = talk.outgoing();
                    let split = cut - at.min(cut);
                    is_past &= split >= bytes.len();
                    let (one, other) = bytes.split_at(split.min(bytes.len()));
                    talk.driver.act(Act::Arrive(one.to_vec()));
                    talk.driver.act(Act::Arrive(other.to_vec()));
                    at += bytes.len();
                    if !talk.take() && bytes.is_empty() {
                        break;
                    }
                }
                assert_eq!(talk.received, b"ab", "cut at {cut}");
                cut += 1;
            }
            assert!(cut > 200, "{cut}");
        }
    }
}

#[test]
fn what_is_interrupted_at_any_call_goes_on() {
    for trigger in BOTH {
        for call in 0..30 {
            let mut talk = Talk::new(trigger, Script::NEW, &TLS13);
            let before = std::iter::repeat_n(Act::Pass, call);
            talk.driver.act_during(before.chain([Act::Interrupt]));
            (talk.piece, talk.room) = (50, 60);
            talk.exchange();
            talk.say("say a\n");
            assert_eq!(talk.received, b"a");
        }
    }
}

#[test]
fn sixteen_requests_are_one_read_and_one_send_however_many_records_they_are() {
    for trigger in BOTH {
        for version in VERSIONS {
            let mut talk = Talk::open(trigger, Script::NEW, version);
            let changes = talk.driver.interest_changes();
            for is_one_record in [true, false] {
                let (calls, sent) = (talk.driver.calls(), talk.driver.sent().len());
                if is_one_record {
                    talk.write("say answer\n".repeat(16));
                } else {
                    (0..16).for_each(|_| talk.write("say answer\n"));
                }
                let bytes = talk.outgoing();
                talk.driver.act(Act::Arrive(bytes));
                assert_eq!(talk.driver.calls() - calls, 2, "{trigger:?}");
                let overhead = talk.driver.sent().len() - sent - 16 * 6;
                assert!(overhead < 30, "one record: {overhead} bytes more than the answers");
                talk.take();
            }
            assert_eq!(talk.received, b"answer".repeat(32));
            assert_eq!(talk.driver.interest_changes(), changes);
            assert!(talk.driver.is_at_rest());
        }
    }
}

#[test]
fn a_pause_holds_input_back_within_a_record_and_between_records() {
    for trigger in BOTH {
        for version in VERSIONS {
            let mut talk = Talk::open(trigger, Script::NEW, version);
            talk.write("say a\npause\nsay b\n");
            talk.write("say c\n");
            talk.exchange();
            assert_eq!(talk.received, b"a");
            talk.say("say d\n");
            talk.driver.message(&["say m"]);
            talk.take();
            assert_eq!(talk.received, b"am", "a message that keeps the pause");
            talk.driver.message(&["read"]);
            talk.take();
            assert_eq!(talk.received, b"ambcd", "{trigger:?}");
            talk.say("say e\n");
            assert_eq!(talk.received, b"ambcde");
        }
    }
}

#[test]
fn a_pause_that_ends_while_output_waits_shows_nothing_before_it_is_sent() {
    for trigger in BOTH {
        let mut talk = Talk::new(trigger, Script::NEW, &TLS13);
        talk.room = 2000;
        talk.exchange();
        talk.write("fill 50000\npause\nsay b\n");
        let bytes = talk.outgoing();
        talk.driver.act(Act::Arrive(bytes));
        assert!(talk.driver.counts().2 > 0, "output waits");
        let calls = talk.calls().len();
        talk.driver.message(&["read"]);
        assert_eq!(talk.calls().len(), calls + 1, "nothing but the message");
        talk.room = PLENTY;
        talk.exchange();
        talk.exchange();
        assert!(talk.received.ends_with(b"xb"), "{trigger:?}");
    }
}

#[test]
fn a_message_that_is_asked_for_by_its_length_is_shown_once_when_it_is_there() {
    for trigger in BOTH {
        for len in [10, 40_000, 900_000] {
            let mut talk = Talk::open(trigger, Script::NEW, &TLS13);
            talk.say(format!("need {len}\n"));
            let text = format!("say {}\n", "y".repeat(len - 5));
            talk.client.set_buffer_limit(None);
            talk.say(&text);
            assert_eq!(talk.received.len(), len - 5);
            assert_eq!(talk.calls().len(), 3);
        }
    }
}

#[test]
fn an_input_that_is_never_consumed_overflows() {
    for trigger in BOTH {
        for (len, overflow, told) in [
            (70_000, "abort", "InputTooLong"),
            (70_000, "say long; finish", "Finished"),
            (60_000, "abort", ""),
        ] {
            let script = Script { overflow, ..Script::NEW };
            let mut talk = Talk::open(trigger, script, &TLS13);
            talk.client.set_buffer_limit(None);
            talk.say(vec![b'x'; len]);
            if told.is_empty() {
                assert_eq!(talk.driver.closed(), None);
                continue;
            }
            talk.driver.act(Act::Fin);
            assert_eq!(format!("{:?}", talk.driver.closed().unwrap()), told);
            assert_eq!(talk.calls().last().unwrap(), told);
            assert_eq!(talk.received, if told == "Finished" { &b"long"[..] } else { b"" });
        }
    }
}

#[test]
fn a_message_longer_than_the_limit_is_refused_even_after_a_pause() {
    for (overflow, closed, told) in [
        ("abort", CloseReason::Aborted, "InputTooLong"),
        ("say long; finish", CloseReason::Finished, "Finished"),
    ] {
        for trigger in BOTH {
            let script = Script { overflow, ..Script::NEW };
            let mut talk = Talk::open(trigger, script, &TLS13);
            talk.say("pause\nneed 2000000\n");
            talk.driver.message(&["read"]);
            talk.take();
            talk.driver.act(Act::Fin);
            assert_eq!(talk.driver.closed(), Some(closed));
            assert_eq!(talk.calls().last().unwrap(), told);
        }
    }
}

#[test]
fn an_answer_of_any_length_is_produced_in_bounded_memory() {
    for trigger in BOTH {
        let script = Script { written: "keep", ..Script::NEW };
        let mut talk = Talk::open(trigger, script, &TLS13);
        talk.say("fill 100000; produce\nsay next\n");
        assert_eq!(talk.received.len(), 100_004);
        let calls = talk.calls();
        let written = calls.iter().position(|call| call == "written").unwrap();
        let next = calls.iter().position(|call| call == "say next").unwrap();
        assert!(written < next, "{calls:?}");
    }
}

#[test]
fn output_beyond_the_limit_is_sent_before_more_input_is_shown() {
    for is_one_record in [true, false] {
        let limits = Limits { output_max: 1000, ..Limits::default() };
        let mut talk = Talk::with_limits(Trigger::Level, Script::NEW, &TLS13, limits);
        talk.room = 2000;
        talk.exchange();
        if is_one_record {
            talk.write("fill 900\n".repeat(100));
        } else {
            (0..100).for_each(|_| talk.write("fill 900\n"));
        }
        let bytes = talk.outgoing();
        talk.driver.act(Act::Arrive(bytes));
        let waiting = talk.driver.counts().2;
        assert!((1..4000).contains(&waiting), "{waiting} bytes wait");
        assert!(talk.calls().len() < 50, "{:?}", talk.calls());
        talk.exchange();
        assert_eq!(talk.received.len(), 100 * 900);
    }
}

/// Passes what it is shown, in the way that its field says.
struct Mirror {
    everything: bool,
}

impl Protocol for Mirror {
    type Local = usize;
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, usize, ()>) -> Consumed {
        *context.local() += 1;
        context.write(b"<");
        input.make_ascii_uppercase();
        Consumed::pass(input.len().min(3))
    }

    fn passes_everything(&self, _: &usize) -> bool {
        self.everything
    }
}

#[test]
fn what_is_passed_is_encrypted_after_what_was_written() {
    for (everything, expected, asked) in [(false, &b"<ABC<D"[..], 2), (true, b"abcd", 0)] {
        let tls = server().accept(Mirror { everything });
        let driver = Driver::new(Trigger::Level, tls, TlsLocal::new(0));
        let mut talk = Talk::of(driver, client(&TLS13));
        talk.exchange();
        talk.say("abcd");
        assert_eq!(talk.received, expected);
        assert_eq!(talk.driver.local().protocol, asked);
    }
}

#[test]
fn new_keys_are_answered_while_a_connection_goes_on() {
    let mut talk = Talk::open(Trigger::Level, Script::NEW, &TLS13);
    for _ in 0..5 {
        talk.client.refresh_traffic_keys().unwrap();
        talk.say("say a\n");
    }
    assert_eq!(talk.received, b"aaaaa");
}

#[test]
fn what_is_forwarded_is_encrypted() {
    for trigger in BOTH {
        for version in VERSIONS {
            let mut talk = Talk::open(trigger, Script::NEW, version);
            let token = Token::detached(0);
            let waits = talk.driver.receive_forward(Forward::of(token, token, b"from elsewhere"));
            assert!(!waits);
            talk.take();
            assert_eq!(talk.received, b"from elsewhere", "{:?}", talk.error);
        }
    }
}
