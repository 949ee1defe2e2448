//! Random frames, mutated, in random pieces: nothing panics, what is sent depends on the bytes alone, and is
//! what a server may send.
//!
//! `EPOLL_KIT_WEBSOCKET_SECONDS` says how long it runs, half a second unless set.

use crate::chat::Chat;
use crate::support::{CLOSE, FIN, REQUEST, RESPONSE, TEXT, client, line};
use epoll_connection::Limits;
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_kit_testing::Random;
use std::env;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).unwrap()
}

fn payload(random: &mut Random) -> Vec<u8> {
    let bits = if random.below(50) == 0 { 17 } else { 8 };
    let len = usize::try_from(random.of_any_size(bits)).unwrap();
    let mut payload = vec![0; len];
    if random.below(2) == 0 {
        random.fill(&mut payload);
        return payload;
    }
    // Characters of every length, perhaps cut.
    let mut text = "a\u{fc}\u{1f79}\u{10ffff}".repeat(len / 10 + 1).into_bytes();
    text.rotate_left([0, 1, 3, 6][below(random, 4)]);
    text.truncate(len);
    text
}

fn frame(random: &mut Random) -> Vec<u8> {
    const FIRST: [u8; 12] =
        [0x81, 0x82, 0x01, 0x02, 0x00, 0x00, 0x80, 0x80, 0x89, 0x8a, 0x89, 0x88];
    let first = FIRST[below(random, FIRST.len())];
    let mut payload = payload(random);
    if first & 8 != 0 {
        payload.truncate(below(random, 128));
    }
    if first == CLOSE && payload.len() > 1 && random.below(4) > 0 {
        payload[..2].copy_from_slice(&1000_u16.to_be_bytes());
    }
    client(first, &payload)
}

/// Returns an input that begins with a handshake more often than not, and goes on with frames.
fn input(random: &mut Random) -> Vec<u8> {
    let mut frames: Vec<_> = (0..random.below(12)).flat_map(|_| frame(random)).collect();
    let mut handshake = REQUEST.as_bytes().to_vec();
    if random.below(2) == 0 {
        mutate(random, &mut frames);
    }
    if random.below(8) == 0 {
        mutate(random, &mut handshake);
    }
    [handshake, frames].concat()
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = below(random, bytes.len() + 1);
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, 0xff),
            2 => drop(bytes.drain(at.saturating_sub(below(random, 9))..at)),
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

fn limits(random: &mut Random) -> Limits {
    if random.below(2) == 0 {
        return Limits::default();
    }
    // A request, which is not asked for by its length, has to fit.
    let len = 8 * 1024 + below(random, 1000);
    Limits {
        read_buffer_len: NonZeroUsize::new(len).unwrap(),
        step_bytes_max: below(random, 4000),
        output_max: below(random, 4000),
        ..Limits::default()
    }
}

/// Returns what is sent if the input comes at once and there is room for everything.
fn sent_at_once(input: &[u8]) -> Vec<u8> {
    let mut driver = Driver::new(Trigger::Level, Chat::default(), ());
    driver.act(Act::Room(1 << 24));
    driver.act(Act::Arrive(input.to_vec()));
    driver.end_well();
    assert!(driver.closed().is_some());
    driver.sent()
}

/// Returns what is sent if it comes in pieces, and the peer reads little.
fn sent_in_pieces(random: &mut Random, input: &[u8]) -> Vec<u8> {
    let trigger = if random.below(2) == 0 { Trigger::Level } else { Trigger::Edge };
    let limits = limits(random);
    let mut driver = Driver::with_limits(trigger, Chat::default(), (), limits);
    let mut rest = input;
    let piece_bits = 4 + random.below(14);
    while !rest.is_empty() {
        let piece_len = usize::try_from(random.of_any_size(piece_bits)).unwrap() + 1;
        let (piece, after) = rest.split_at(piece_len.min(rest.len()));
        driver.act(Act::Arrive(piece.to_vec()));
        if random.below(8) == 0 {
            driver.prepare(Act::Interrupt);
        }
        driver.act(Act::Room(usize::try_from(random.of_any_size(10)).unwrap()));
        rest = after;
    }
    driver.end_well();
    assert!(driver.closed().is_some());
    driver.sent()
}

/// Delivers an input while the owner and others interfere: other frames are sent, but whole ones until the end.
fn disturb(random: &mut Random, input: &[u8]) -> Vec<u8> {
    let mut driver = Driver::new(Trigger::Edge, Chat::default(), ());
    for piece in input.chunks(1 + below(random, 400)) {
        driver.act(Act::Arrive(piece.to_vec()));
        match random.below(40) {
            0 => driver.drain(),
            1 => driver.finish(),
            2 => driver.end(),
            3..9 => driver.pass_time(Duration::from_secs(random.below(30))),
            9..20 => driver.message(&[line("from another")]),
            _ => driver.act(Act::Room(below(random, 2000))),
        }
    }
    driver.end_well();
    driver.end();
    assert!(driver.closed().is_some());
    driver.sent()
}

/// Asserts that a server may send this: whole frames, and none after a close frame.
#[track_caller]
fn assert_frames(sent: &[u8]) {
    let Some(mut rest) = sent.strip_prefix(RESPONSE.as_bytes()) else {
        return assert!(sent.is_empty() || sent.starts_with(b"HTTP/1.1 "));
    };
    while let [first, len, after @ ..] = rest {
        let (len, after) = match *len {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            127 => {
                let (len, after) = after.split_first_chunk().unwrap();
                (usize::try_from(u64::from_be_bytes(*len)).unwrap(), after)
            }
            len => (usize::from(len), after),
        };
        assert!([0x81, 0x82, 0x88, 0x89, 0x8a].contains(first), "{first:#x}");
        let (payload, after) = after.split_at(len);
        assert!(*first != TEXT | FIN || std::str::from_utf8(payload).is_ok());
        assert!(first & 8 == 0 || len <= 125);
        assert!(*first != CLOSE || after.is_empty(), "a frame after a close frame");
        rest = after;
    }
    assert!(rest.is_empty(), "half a header");
}

#[test]
fn any_input_is_taken_the_same_in_any_pieces() {
    let seconds = env::var("EPOLL_KIT_WEBSOCKET_SECONDS");
    let seconds = seconds.map_or(0.5, |seconds| seconds.parse().expect("a number of seconds"));
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    // At least some, however slow the machine, and the same ones in every run.
    let mut seed = 0;
    while seed < 100 || Instant::now() < end {
        let mut random = Random::seeded(seed);
        let input = input(&mut random);
        eprintln!("seed {seed}");
        let expected = sent_at_once(&input);
        assert_frames(&expected);
        assert!(sent_in_pieces(&mut random, &input) == expected, "the pieces matter");
        assert_frames(&disturb(&mut random, &input));
        seed += 1;
    }
    println!("{seed} inputs");
}
