//! Random scripts: whatever happens in whatever order, what comes out is what went in.

use crate::harness::{buffer, echo, echo_to_quit};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Limits};
use epoll_echo::Echo;
use proptest::prelude::*;
use proptest::test_runner::RngAlgorithm;
use std::num::NonZeroUsize;

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Act::Arrive),
        3 => (1_usize..40).prop_map(Act::Room),
        1 => Just(Act::Interrupt),
        1 => Just(Act::Urgent),
        1 => Just(Act::Cut),
        2 => Just(Act::Pass),
    ]
}

fn trigger() -> impl Strategy<Value = Trigger> {
    prop_oneof![Just(Trigger::Level), Just(Trigger::Edge)]
}

/// Generates the number of bytes that a pipe takes at once, if there is a pipe, and the number that it is
/// asked to take.
fn splicing() -> impl Strategy<Value = (Option<usize>, Option<NonZeroUsize>)> {
    (prop::option::of(0_usize..50), (0_usize..50).prop_map(NonZeroUsize::new))
}

fn talk(trigger: Trigger, limits: Limits, piece_max: Option<usize>) -> Driver<Echo> {
    let talk = echo(trigger, limits);
    match piece_max {
        Some(piece_max) => talk.with_pipe(piece_max),
        None => talk,
    }
}

fn arrived<'a>(acts: impl IntoIterator<Item = &'a Act>) -> Vec<u8> {
    let bytes = acts.into_iter().filter_map(|act| match act {
        Act::Arrive(bytes) => Some(bytes.clone()),
        _ => None,
    });
    bytes.flatten().collect()
}

/// Many cases, with the generator that takes the least time without optimization.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 4096, rng_algorithm: RngAlgorithm::XorShift, ..<_>::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_byte_comes_back_once_and_in_order(
        trigger in trigger(),
        between in prop::collection::vec(act(), 0..30),
        during in prop::collection::vec(act(), 0..30),
        buffer_len in 1_usize..50,
        (piece_max, splice_bytes_max) in splicing(),
        step_bytes_max in 0_usize..60,
    ) {
        let limits = Limits { step_bytes_max, splice_bytes_max, ..buffer(buffer_len) };
        let mut talk = talk(trigger, limits, piece_max);
        talk.act_during(during.clone());
        for act in between.clone() {
            talk.act(act);
        }
        talk.end_well();
        prop_assert_eq!(talk.closed(), Some(CloseReason::PeerClosed));
        let (sent, arrived_all) = (talk.sent(), talk.arrived());
        prop_assert_eq!(sent.len(), arrived(&between).len() + arrived(&during).len());
        prop_assert_eq!(talk.counts().0, sent.len() as u64);
        prop_assert_eq!(talk.counts().1, sent.len() as u64);
        prop_assert_eq!(&sent, &arrived_all);
    }

    #[test]
    fn a_reset_at_any_point_ends_it_after_a_prefix(
        trigger in trigger(),
        between in prop::collection::vec(act(), 0..20),
        during in prop::collection::vec(act(), 0..20),
        reset_during in any::<prop::sample::Index>(),
        buffer_len in 1_usize..50,
        (piece_max, splice_bytes_max) in splicing(),
    ) {
        let limits = Limits { splice_bytes_max, ..buffer(buffer_len) };
        let mut talk = talk(trigger, limits, piece_max);
        let mut during = during;
        during.insert(reset_during.index(during.len() + 1), Act::Reset);
        talk.act_during(during);
        for act in between {
            talk.act(act);
        }
        if talk.closed().is_none() {
            talk.act(Act::Reset);
        }
        let broken = matches!(talk.closed(), Some(CloseReason::Failed(std::io::ErrorKind::ConnectionReset)));
        prop_assert!(broken, "{:?}", talk.closed());
        let (sent, arrived_all) = (talk.sent(), talk.arrived());
        prop_assert!(arrived_all.starts_with(&sent));
    }

    #[test]
    fn what_has_arrived_is_echoed_before_a_finish_and_what_was_read_before_an_end(
        trigger in trigger(),
        before in prop::collection::vec(act(), 0..20),
        during in prop::collection::vec(act(), 0..20),
        after in prop::collection::vec(act(), 0..20),
        finish in any::<bool>(),
        buffer_len in 1_usize..50,
        (piece_max, splice_bytes_max) in splicing(),
        step_bytes_max in 0_usize..60,
    ) {
        let limits = Limits { step_bytes_max, splice_bytes_max, ..buffer(buffer_len) };
        let mut talk = talk(trigger, limits, piece_max);
        before.into_iter().for_each(|act| talk.act(act));
        let arrived = talk.arrived().len();
        let read = usize::try_from(talk.counts().0).unwrap();
        talk.act_during(during);
        if finish { talk.finish() } else { talk.end() }
        after.into_iter().for_each(|act| talk.act(act));
        talk.act(Act::Room(1 << 20));
        prop_assert!(talk.is_output_closed(), "our half is closed before the peer's");
        talk.end_well();
        prop_assert_eq!(talk.closed(), Some(CloseReason::Drained));
        let (sent, arrived_all) = (talk.sent(), talk.arrived());
        prop_assert!(arrived_all.starts_with(&sent));
        let promised = if finish { arrived } else { read };
        prop_assert!(sent.len() >= promised);
    }

    #[test]
    fn the_quit_word_ends_it_after_its_line_however_it_is_split(
        trigger in trigger(),
        before in "([a-pr-z]{0,9}\r?\n){0,5}",
        after in "[a-z\n]{0,40}",
        ending in prop_oneof![Just("\n"), Just("\r\n")],
        cuts in prop::collection::vec(1_usize..7, 0..40),
        rooms in prop::collection::vec(0_usize..7, 0..40),
        buffer_len in 1_usize..50,
        (piece_max, splice_bytes_max) in splicing(),
    ) {
        let limits = Limits { splice_bytes_max, ..buffer(buffer_len) };
        let mut talk = echo_to_quit(trigger, limits);
        if let Some(piece_max) = piece_max {
            talk = talk.with_pipe(piece_max);
        }
        let conversation = format!("{before}quit{ending}");
        let text = format!("{conversation}{after}");
        let mut rest = text.as_bytes();
        for (cut, room) in cuts.into_iter().zip(rooms.into_iter().chain(std::iter::repeat(3))) {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            rest = tail;
            talk.act(Act::Arrive(piece.to_vec()));
            talk.act(Act::Room(room));
        }
        talk.act(Act::Arrive(rest.to_vec()));
        talk.act(Act::Room(1 << 20));
        prop_assert!(talk.is_output_closed(), "our half is closed before the peer's");
        prop_assert_eq!(talk.closed(), None);
        talk.act(Act::Arrive(b"more".to_vec()));
        talk.act(Act::Fin);
        prop_assert_eq!(talk.closed(), Some(CloseReason::Finished));
        prop_assert_eq!(talk.sent(), conversation.as_bytes());
    }
}
