//! Bytes that mean nothing: an alert and the end, and never a panic.

use crate::harness::{BOTH, PLENTY, Talk, VERSIONS};
use crate::script::Script;
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Trigger};
use epoll_tls::rustls::version::{TLS12, TLS13};
use proptest::prelude::*;
use proptest::sample::Index;

#[test]
fn what_is_not_tls_gets_an_alert_and_the_end() {
    for trigger in BOTH {
        for garbage in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01\xff\xff",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x02\x01\x00\x05hello",
            b"\x80\x2e\x01\x03\x01\x00",
            b"\x17\x03\x03\x00\x05hello",
            b"\x16\x03\x01\x00\x05hello",
        ] {
            let mut talk = Talk::new(trigger, Script::NEW, &TLS13);
            talk.driver.act(Act::Room(PLENTY));
            talk.driver.act(Act::Arrive(garbage.to_vec()));
            if garbage.ends_with(b"hello")
                && talk.driver.closed().is_none()
                && !talk.driver.is_output_closed()
            {
                panic!("{garbage:?} is not refused");
            }
            assert!(talk.driver.is_output_closed(), "{trigger:?} {garbage:?}");
            let sent = talk.driver.sent();
            assert!(sent.is_empty() || (sent[0] == 21 && sent.len() == 7), "{sent:?}");
            talk.driver.act(Act::Arrive(b"more".to_vec()));
            talk.driver.act(Act::Fin);
            assert_eq!(talk.driver.closed(), Some(CloseReason::Finished));
            assert_eq!(talk.calls(), ["Failed(InvalidData)"]);
        }
    }
}

#[test]
fn a_header_is_refused_before_what_it_announces_arrives() {
    let mut talk = Talk::new(Trigger::Level, Script::NEW, &TLS13);
    talk.driver.act(Act::Room(PLENTY));
    talk.driver.act(Act::Arrive(b"\x16\x03\x01\x48".to_vec()));
    assert!(!talk.driver.is_output_closed());
    talk.driver.act(Act::Arrive(b"\x00".to_vec()));
    assert!(talk.driver.is_output_closed());
}

#[test]
fn a_record_that_was_changed_on_its_way_ends_an_open_connection_with_an_alert() {
    for version in VERSIONS {
        for trigger in BOTH {
            let mut talk = Talk::open(trigger, Script::NEW, version);
            talk.write("say a\n");
            talk.write("say b\n");
            let mut bytes = talk.outgoing();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            talk.driver.act(Act::Arrive(bytes));
            talk.take();
            let alert = epoll_tls::rustls::AlertDescription::BadRecordMac;
            assert_eq!(talk.error, Some(epoll_tls::rustls::Error::AlertReceived(alert)));
            talk.driver.act(Act::Fin);
            assert_eq!(talk.calls()[1..], ["say a", "Failed(InvalidData)"]);
        }
    }
}

#[test]
fn an_alert_of_the_peer_is_the_end() {
    let mut talk = Talk::new(Trigger::Level, Script::NEW, &TLS13);
    talk.driver.act(Act::Room(PLENTY));
    talk.driver.act(Act::Arrive(b"\x15\x03\x03\x00\x02\x02\x28".to_vec()));
    assert!(talk.driver.is_output_closed());
    assert!(talk.driver.sent().is_empty());
    talk.driver.act(Act::Fin);
    assert_eq!(talk.calls(), ["Failed(ConnectionAborted)"]);
}

/// An endless handshake message in records of one byte.
#[test]
fn a_handshake_message_in_endless_pieces_is_refused() {
    let mut talk = Talk::new(Trigger::Level, Script::NEW, &TLS13);
    talk.driver.act(Act::Room(PLENTY));
    // A ClientHello of 60 000 bytes.
    talk.driver.act(Act::Arrive(b"\x16\x03\x01\x00\x04\x01\x00\xea\x60".to_vec()));
    let piece = b"\x16\x03\x01\x00\x01\x00".repeat(100);
    let mut pieces = 0;
    while !talk.driver.is_output_closed() {
        talk.driver.act(Act::Arrive(piece.clone()));
        pieces += 1;
        assert!(pieces < 200, "it is never refused");
    }
    assert!(pieces > 50);
}

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), 1_u8..).prop_map(|(at, with)| Change::Flip(at, with)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    match change {
        Change::Flip(at, with) => {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Change::Insert(at, new) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, new.iter().copied());
        }
        Change::Repeat(from, to) => {
            let (one, other) = (from.index(bytes.len()), to.index(bytes.len()));
            let part = bytes[one.min(other)..one.max(other)].to_vec();
            bytes.extend(part);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_end_it_or_wait_for_more(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        kind in prop_oneof![Just(None), (20_u8..25).prop_map(Some)],
        piece in 1_usize..60,
        room in prop_oneof![Just(1), Just(PLENTY)],
    ) {
        let mut talk = Talk::new(Trigger::Edge, Script::NEW, &TLS13);
        let mut bytes = bytes;
        if let Some(kind) = kind {
            // A header that makes sense.
            let len = u16::try_from(bytes.len()).unwrap().saturating_sub(9).max(1).to_be_bytes();
            bytes.splice(0..0, [kind, 3, 3, len[0], len[1]]);
        }
        for piece in bytes.chunks(piece) {
            talk.driver.act(Act::Arrive(piece.to_vec()));
            talk.driver.act(Act::Room(room));
        }
        talk.driver.end_well();
        prop_assert!(talk.driver.closed().is_some());
        prop_assert_eq!(talk.calls().len(), 1, "never opened, and told once");
    }

    #[test]
    fn a_handshake_that_is_changed_anywhere_ends_and_never_panics(
        is_new in any::<bool>(),
        changes in prop::collection::vec((0_usize..5, change()), 1..4),
        piece in prop_oneof![Just(PLENTY), 1_usize..300],
    ) {
        let version = if is_new { &TLS13 } else { &TLS12 };
        let mut talk = Talk::new(Trigger::Level, Script::NEW, version);
        talk.driver.act(Act::Room(PLENTY));
        talk.write("say a\n");
        for flight in 0..5 {
            let mut bytes = talk.outgoing();
            let of_flight = changes.iter().filter(|(number, _)| *number == flight);
            of_flight.for_each(|(_, change)| apply(change, &mut bytes));
            for piece in bytes.chunks(piece) {
                talk.driver.act(Act::Arrive(piece.to_vec()));
            }
            talk.take();
        }
        talk.driver.end_well();
        prop_assert!(talk.driver.closed().is_some());
        let calls = talk.calls();
        let is_known = |call: &String| call == "open" || call == "say a";
        let known = calls.iter().take_while(|call| is_known(call)).count();
        prop_assert!(calls.len() - known <= 3, "{:?}", calls);
    }
}
