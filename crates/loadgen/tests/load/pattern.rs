//! The pattern and the exchange, as properties: what was sent is taken in any pieces, and anything
//! else is not.

use epoll_load::{EchoCheck, Mismatch, Pattern};
use epoll_sys::Timestamp;
use proptest::prelude::*;

/// The bytes of messages `numbers` of a connection.
fn messages(pattern: &Pattern, connection: u64, size: usize, count: usize) -> Vec<u8> {
    let mut place = pattern.beginning(connection);
    let mut bytes = Vec::new();
    while bytes.len() < size * count {
        let slice = pattern.slice(place, (size * count - bytes.len()) as u64);
        bytes.extend_from_slice(slice);
        place = pattern.after(place, slice.len());
    }
    bytes
}

/// A connection on which `count` messages were sent.
fn sent(pattern: &Pattern, connection: u64, size: usize, count: usize) -> EchoCheck {
    let mut check = EchoCheck::new(pattern, connection, size as u64, count);
    for at in 0..count {
        check.begin(Timestamp::from_nanos(at as u64));
    }
    while check.has_unsent() {
        let len = check.unsent(pattern).len();
        check.sent(pattern, len);
    }
    check
}

/// Receives `bytes` in pieces that are as long as `cuts` say, over and over.
fn receive(
    check: &mut EchoCheck,
    pattern: &Pattern,
    bytes: &[u8],
    cuts: &[usize],
) -> Result<Vec<u64>, Mismatch> {
    let mut answered = Vec::new();
    let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
    while !rest.is_empty() {
        let len = cuts.next().map_or(rest.len(), |cut| rest.len().min(*cut));
        check.receive(pattern, &rest[..len], |due| answered.push(due.as_nanos()))?;
        rest = &rest[len..];
    }
    Ok(answered)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..5000_usize, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_right_bytes_answer_every_message_in_its_turn(
        connection: u64, size in 1..3000_usize, count in 1..20_usize, cuts in cuts(),
    ) {
        let pattern = Pattern::for_size(size as u64);
        let bytes = messages(&pattern, connection, size, count);
        let mut check = sent(&pattern, connection, size, count);
        let answered = receive(&mut check, &pattern, &bytes, &cuts);
        prop_assert_eq!(answered, Ok((0..count as u64).collect()));
        prop_assert_eq!(check.in_flight(), 0);
        let extra = receive(&mut check, &pattern, &[0], &[]);
        prop_assert_eq!(extra, Err(Mismatch::Extra { sent: bytes.len() as u64 }));
    }

    #[test]
    fn one_wrong_bit_is_found_where_it_is(
        size in 1..3000_usize, count in 1..20_usize, at: prop::sample::Index, bit in 0..8_u32,
        cuts in cuts(),
    ) {
        let pattern = Pattern::for_size(size as u64);
        let mut bytes = messages(&pattern, 3, size, count);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let found = receive(&mut sent(&pattern, 3, size, count), &pattern, &bytes, &cuts);
        prop_assert_eq!(found, Err(Mismatch::Byte { position: at as u64, size: size as u64 }));
    }

    #[test]
    fn a_piece_that_is_elsewhere_is_found(
        size in 8..2000_usize, from: prop::sample::Index, to: prop::sample::Index,
        len in 8..100_usize, cuts in cuts(),
    ) {
        // Eight bytes or more that were copied over others of the same connection.
        let pattern = Pattern::for_size(size as u64);
        let mut bytes = messages(&pattern, 5, size, 20);
        let (from, to) = (from.index(bytes.len() - len), to.index(bytes.len() - len));
        prop_assume!(from != to);
        bytes.copy_within(from..from + len, to);
        prop_assert!(receive(&mut sent(&pattern, 5, size, 20), &pattern, &bytes, &cuts).is_err());
    }

    #[test]
    fn messages_of_one_connection_and_of_two_differ(
        size in 8..600_000_u64, first in 0..100_000_u64, other in 0..100_000_u64,
    ) {
        let pattern = Pattern::for_size(size);
        prop_assume!(first != other);
        // Those of one number, on two connections.
        let start = |connection| pattern.slice(pattern.beginning(connection), 8);
        prop_assert_ne!(start(first), start(other));
        // Those of two numbers, on one connection.
        let start = |number: u64| {
            let mut place = pattern.beginning(1);
            // A number that fits in 64 bits fits in a machine of 64 bits.
            place = pattern.after(place, usize::try_from(number * size).unwrap());
            pattern.slice(place, 8)
        };
        prop_assert_ne!(start(first), start(other));
    }

    #[test]
    fn what_was_never_sent_cannot_come_back(
        size in 1..100_usize, begun in 1..5_usize, sent_len: prop::sample::Index,
    ) {
        let pattern = Pattern::for_size(size as u64);
        let mut check = EchoCheck::new(&pattern, 9, size as u64, begun);
        for _ in 0..begun {
            check.begin(Timestamp::EPOCH);
        }
        let sent_len = sent_len.index(size * begun);
        check.sent(&pattern, sent_len);
        let bytes = messages(&pattern, 9, size, begun);
        let early = check.receive(&pattern, &bytes[..=sent_len], |_| {});
        prop_assert_eq!(early, Err(Mismatch::Extra { sent: sent_len as u64 }));
    }
}

#[test]
fn a_connection_that_starts_over_is_another_one() {
    let pattern = Pattern::for_size(16);
    let mut check = sent(&pattern, 1, 16, 2);
    check.restart(&pattern, 2);
    assert_eq!(check.in_flight(), 0);
    assert!(!check.has_unsent());
    check.begin(Timestamp::EPOCH);
    assert_eq!(check.unsent(&pattern), messages(&pattern, 2, 16, 1));
}
