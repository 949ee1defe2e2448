//! Random bytes, and requests with random faults: nothing panics, and the replies do not depend on the
//! pieces in which the stream comes, nor on the room for them.

use crate::protocol::Resp;
use crate::support::{MUCH, connect, reply_len, request, shared};
use crate::table::{MALFORMED, TABLE};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_kit_testing::Random;
use std::env;
use std::time::{Duration, Instant};

const VARIABLE: &str = "EPOLL_KIT_RESP_SECONDS";
/// The streams of a usual run.
const STREAMS: u64 = 300;

fn index(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).expect("an index")
}

fn bytes(random: &mut Random, bits_max: u64) -> Vec<u8> {
    let len = random.of_any_size(bits_max);
    let mut bytes = vec![0; usize::try_from(len).expect("a length")];
    random.fill(&mut bytes);
    bytes
}

/// Returns a request, or something like one.
fn piece(random: &mut Random) -> Vec<u8> {
    let (words, _) = TABLE[index(random, TABLE.len())];
    match random.below(13) {
        0 => bytes(random, 6),
        1 => format!("{words}\r\n").into_bytes(),
        2 => MALFORMED[index(random, MALFORMED.len())].0.as_bytes().to_vec(),
        3 => request(&[b"SET", &b"k"[..], &bytes(random, 17)]),
        4 => request(&["GET", "k"]),
        5 => {
            let mut arguments = vec![b"MSET".to_vec()];
            (0..random.of_any_size(10)).for_each(|_| arguments.push(bytes(random, 5)));
            request(&arguments)
        }
        6 => request(&[&b"MGET"[..], b"k", b"k", b"a", b"k"]),
        7 => format!("ECHO \"{words}\\x{:02x}\" '\\''\r\n", random.below(256)).into_bytes(),
        8 => format!("*{}\r\n", random.of_any_size(24)).into_bytes(),
        9 => format!("*2\r\n$4\r\nECHO\r\n${}\r\n", random.of_any_size(40)).into_bytes(),
        10 => {
            let [one, other] = [bytes(random, 14), bytes(random, 14)];
            request(&[b"MSET", &b"a"[..], &one, b"k", &other, b"b", &one])
        }
        _ => request(&words.split(' ').collect::<Vec<_>>()),
    }
}

fn stream(random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..random.below(20) {
        stream.extend(piece(random));
    }
    for _ in 0..random.below(4) {
        if stream.is_empty() {
            break;
        }
        let at = index(random, stream.len());
        match random.below(4) {
            0 => stream[at] = random.next().to_le_bytes()[0],
            1 => drop(stream.remove(at)),
            2 => stream.insert(at, b"\r\n*$0-\"'\\9"[index(random, 10)]),
            _ => stream.truncate(at.max(stream.len() / 2)),
        }
    }
    stream
}

/// Delivers a stream in pieces, and returns the bytes that are sent.
#[track_caller]
fn run(random: &mut Random, stream: &[u8], trigger: Trigger, is_whole: bool) -> Vec<u8> {
    let mut driver: Driver<Resp> = connect(trigger, &shared(1));
    let room = if is_whole { MUCH } else { 1 << random.below(18) };
    driver.act(Act::Room(room));
    let piece_bits = 1 + random.below(15);
    let mut rest = stream;
    while !rest.is_empty() {
        let len = usize::try_from(1 + random.of_any_size(piece_bits)).expect("a length");
        let len = if is_whole { rest.len() } else { len.min(rest.len()) };
        driver.act(Act::Arrive(rest[..len].to_vec()));
        if !is_whole {
            driver.act(Act::Room(room));
        }
        rest = &rest[len..];
    }
    driver.act(Act::Room(MUCH));
    driver.act(Act::Fin);
    assert!(driver.closed().is_some(), "the connection does not end");
    driver.sent()
}

fn check(seed: u64) {
    let mut random = Random::seeded(seed);
    let stream = stream(&mut random);
    let expected = run(&mut random, &stream, Trigger::Level, true);
    for trigger in [Trigger::Level, Trigger::Edge] {
        let sent = run(&mut random, &stream, trigger, false);
        assert!(sent == expected, "seed {seed}: {} and {} bytes", sent.len(), expected.len());
    }
    let mut at = 0;
    while at < expected.len() {
        at += reply_len(&expected[at..]).expect("a complete reply");
    }
}

#[test]
fn replies_depend_on_the_bytes_alone() {
    let seconds = env::var(VARIABLE).ok().map(|seconds| seconds.parse().expect("a number"));
    let Some(seconds) = seconds else { return (0..STREAMS).for_each(check) };
    // Others than those of usual runs.
    let (end, mut seed) = (Instant::now() + Duration::from_secs(seconds), 1 << 32);
    while Instant::now() < end {
        check(seed);
        seed += 1;
    }
    eprintln!("{} streams", seed - (1 << 32));
}
