//! Ends: in order, truncated, by either side.

use crate::harness::{BOTH, PLENTY, Talk, VERSIONS};
use crate::script::Script;
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Trigger};
use epoll_tls::rustls::version::TLS13;
use std::io::ErrorKind;
use std::time::Duration;

#[test]
fn a_stream_that_is_truncated_is_told_from_one_that_has_ended() {
    for trigger in BOTH {
        for version in VERSIONS {
            let mut talk = Talk::open(trigger, Script::NEW, version);
            talk.say("say a\nsay");
            talk.driver.act(Act::Fin);
            assert_eq!(talk.driver.closed(), Some(CloseReason::Aborted));
            assert_eq!(talk.calls(), ["open", "say a", "Failed(UnexpectedEof)"]);

            let mut talk = Talk::open(trigger, Script::NEW, version);
            talk.say("say a\nsay");
            talk.close();
            assert_eq!(talk.calls()[2], "peer finished after \"say\"");
            assert_eq!(talk.calls().last().unwrap(), "PeerClosed");
        }
    }
}

#[test]
fn a_record_that_is_cut_short_is_truncated() {
    let mut talk = Talk::open(Trigger::Level, Script::NEW, &TLS13);
    talk.write("say a\n");
    let mut bytes = talk.outgoing();
    bytes.pop();
    talk.driver.act(Act::Arrive(bytes));
    talk.driver.act(Act::Fin);
    assert_eq!(talk.calls(), ["open", "Failed(UnexpectedEof)"]);
}

#[test]
fn a_protocol_goes_on_writing_after_the_end_of_its_peer() {
    for trigger in BOTH {
        for version in VERSIONS {
            let script = Script {
                peer_finished: "say p; after 5",
                deadline: "say d; finish",
                ..Script::NEW
            };
            let mut talk = Talk::open(trigger, script, version);
            talk.close();
            assert_eq!(talk.received, b"p");
            assert_eq!(talk.driver.closed(), None);
            talk.driver.message(&["say m"]);
            talk.driver.pass_time(Duration::from_secs(5));
            talk.take();
            assert_eq!(talk.received, b"pmd", "{trigger:?}");
            assert!(talk.is_closed);
            assert_eq!(talk.driver.closed(), Some(CloseReason::PeerClosed));
        }
    }
}

#[test]
fn what_follows_a_close_notify_means_nothing() {
    for trigger in BOTH {
        let script = Script { peer_finished: "keep", ..Script::NEW };
        let mut talk = Talk::open(trigger, script, &TLS13);
        talk.client.send_close_notify();
        let mut bytes = talk.outgoing();
        bytes.extend_from_slice(b"garbage that is no record");
        talk.driver.act(Act::Arrive(bytes));
        talk.driver.act(Act::Arrive(b"and more".to_vec()));
        assert_eq!(talk.driver.closed(), None);
        talk.driver.message(&["say m; finish"]);
        talk.driver.act(Act::Fin);
        talk.take();
        assert_eq!(talk.received, b"m");
        assert_eq!(talk.driver.closed(), Some(CloseReason::Finished), "{trigger:?}");
    }
}

#[test]
fn a_protocol_that_ends_its_output_goes_on_reading() {
    for trigger in BOTH {
        for version in VERSIONS {
            let script = Script { finish: "say bye", ..Script::NEW };
            let mut talk = Talk::open(trigger, script, version);
            talk.say("say a; end\n");
            assert_eq!(talk.received, b"abye");
            assert!(talk.is_closed && talk.driver.is_output_closed());
            if version == &TLS13 {
                // What this would have sent back has no way any more.
                talk.client.refresh_traffic_keys().unwrap();
            }
            talk.say("keep\n");
            assert_eq!(talk.calls().last().unwrap(), "keep");
            talk.client.send_close_notify();
            talk.exchange();
            talk.driver.act(Act::Fin);
            assert_eq!(talk.driver.closed(), Some(CloseReason::Finished));
            assert_eq!(talk.calls().last().unwrap(), "PeerClosed");
        }
    }
}

#[test]
fn writing_after_the_end_of_the_output_is_misuse() {
    let mut talk = Talk::open(Trigger::Level, Script::NEW, &TLS13);
    talk.say("end\n");
    talk.say("say no\n");
    assert!(matches!(talk.driver.closed(), Some(CloseReason::Misuse(_))));
    assert!(talk.calls().last().unwrap().starts_with("Misuse"));
}

#[test]
fn consuming_more_than_there_is_is_misuse() {
    for (line, message, closed) in
        [("take 99\n", "keep", "Misuse"), ("pause\ntake 99\n", "read", "Aborted")]
    {
        let mut talk = Talk::open(Trigger::Level, Script::NEW, &TLS13);
        talk.say(line);
        talk.driver.message(&[message]);
        assert!(format!("{:?}", talk.driver.closed().unwrap()).starts_with(closed));
        assert!(talk.calls().last().unwrap().starts_with("Misuse"));
    }
}

#[test]
fn a_finish_sends_everything_then_a_close_notify_then_the_end() {
    for trigger in BOTH {
        for version in VERSIONS {
            for room in [1, 30, PLENTY] {
                let script = Script { finish: "say bye", ..Script::NEW };
                let mut talk = Talk::open(trigger, script, version);
                talk.room = room;
                talk.say("fill 100; finish\nsay no\n");
                talk.exchange();
                assert!(talk.received.ends_with(b"xbye") && talk.received.len() == 103);
                assert!(talk.is_closed && talk.driver.is_output_closed());
                talk.say("ignored");
                talk.driver.act(Act::Fin);
                assert_eq!(talk.driver.closed(), Some(CloseReason::Finished));
            }
        }
    }
}

#[test]
fn an_abort_sends_nothing_more() {
    let mut talk = Talk::open(Trigger::Level, Script::NEW, &TLS13);
    talk.say("say no; abort\n");
    assert_eq!(talk.driver.closed(), Some(CloseReason::Aborted));
    assert_eq!(talk.calls().last().unwrap(), "Aborted");
    assert!(talk.received.is_empty() && !talk.is_closed);
}

#[test]
fn an_owner_ends_it_in_order() {
    for trigger in BOTH {
        for end in 0..3 {
            let script = Script { drain: "say drain", finish: "say bye", ..Script::NEW };
            let mut talk = Talk::open(trigger, script, &TLS13);
            talk.write("say a\n");
            let bytes = talk.outgoing();
            talk.driver.prepare(Act::Arrive(bytes));
            match end {
                0 => talk.driver.finish(),
                1 => talk.driver.end(),
                _ => {
                    talk.driver.drain();
                    talk.driver.finish();
                }
            }
            talk.take();
            let expected = [&b"abye"[..], b"bye", b"drainabye"][end];
            // A drain may come before or after what has arrived.
            let mut received = talk.received.clone();
            if end == 2 && received == b"adrainbye" {
                received = expected.to_vec();
            }
            assert_eq!(received, expected, "{trigger:?} {end}");
            assert!(talk.is_closed && talk.driver.is_output_closed());
            talk.driver.act(Act::Fin);
            assert_eq!(talk.driver.closed(), Some(CloseReason::Drained));
        }
    }
}

#[test]
fn a_drain_that_finishes_says_goodbye() {
    let script = Script { drain: "say drain; finish", ..Script::NEW };
    let mut talk = Talk::open(Trigger::Edge, script, &TLS13);
    talk.driver.drain();
    talk.take();
    assert_eq!(talk.received, b"drain");
    assert!(talk.is_closed && talk.driver.is_output_closed());
}

#[test]
fn it_is_busy_with_a_handshake_with_a_part_of_a_message_and_with_its_protocol() {
    for trigger in BOTH {
        let mut talk = Talk::new(trigger, Script::NEW, &TLS13);
        talk.driver.act(Act::Room(PLENTY));
        assert!(!talk.driver.is_busy(), "{trigger:?}: nothing has come");
        let hello = talk.outgoing();
        talk.driver.act(Act::Arrive(hello));
        assert!(talk.driver.is_busy(), "{trigger:?}: a handshake");
        talk.take();
        talk.exchange();
        assert!(!talk.driver.is_busy(), "{trigger:?}: it is open");
        talk.say("say");
        assert!(talk.driver.is_busy(), "{trigger:?}: a part of a message");
        talk.say(" a\n");
        assert!(!talk.driver.is_busy(), "{trigger:?}: a whole message");
        let script = Script { is_busy: true, ..Script::NEW };
        assert!(Talk::open(trigger, script, &TLS13).driver.is_busy());
    }
}

#[test]
fn a_reset_at_any_call_ends_it() {
    for trigger in BOTH {
        for call in 0..20 {
            let mut talk = Talk::new(trigger, Script::NEW, &TLS13);
            talk.driver.act_during(std::iter::repeat_n(Act::Pass, call).chain([Act::Reset]));
            (talk.piece, talk.room) = (100, PLENTY);
            talk.write("say a\nsay b\n");
            let mut rounds = 0;
            while talk.driver.closed().is_none() && rounds < 20 {
                talk.exchange();
                talk.say("say a\n");
                rounds += 1;
            }
            let reason = CloseReason::Failed(ErrorKind::ConnectionReset);
            assert_eq!(talk.driver.closed(), Some(reason), "{trigger:?} {call}");
            assert_eq!(*talk.calls().last().unwrap(), format!("{reason:?}"));
        }
    }
}

#[test]
fn what_a_protocol_keeps_is_freed_when_it_is_consumed() {
    let mut talk = Talk::open(Trigger::Level, Script::NEW, &TLS13);
    talk.say("say");
    assert!(format!("{:?}", talk.driver.protocol()).contains("kept: 3"));
    talk.say(" a\n");
    assert!(format!("{:?}", talk.driver.protocol()).contains("kept: 0"));
    assert_eq!(talk.received, b"a");
}
