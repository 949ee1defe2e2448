//! Random scripts: whatever happens in whatever order, what comes out is what went in.

use crate::wire::{Act, Talk};
use epoll_echo::{Mode, Reason, Rules};
use proptest::prelude::*;
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

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Level), Just(Mode::Edge), Just(Mode::Oneshot), Just(Mode::EdgeShared)]
}

/// How many bytes a pipe takes at once, if there is one, and how many it is asked to take.
fn splicing() -> impl Strategy<Value = (Option<usize>, Option<NonZeroUsize>)> {
    (prop::option::of(0_usize..50), (0_usize..50).prop_map(NonZeroUsize::new))
}

fn talk(mode: Mode, rules: Rules, buffer_len: usize, piece_max: Option<usize>) -> Talk {
    let talk = Talk::new(mode, rules, buffer_len);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_byte_comes_back_once_and_in_order(
        mode in mode(),
        between in prop::collection::vec(act(), 0..30),
        during in prop::collection::vec(act(), 0..30),
        buffer_len in 1_usize..50,
        (piece_max, splice_bytes_max) in splicing(),
        step_bytes_max in 0_usize..60,
    ) {
        let rules = Rules { step_bytes_max, splice_bytes_max, ..Rules::default() };
        let mut talk = talk(mode, rules, buffer_len, piece_max);
        talk.wire.lend().during.extend(during.clone());
        for act in between.clone() {
            talk.happen(act);
        }
        talk.end_well();
        prop_assert_eq!(talk.over, Some(Reason::PeerClosed));
        let wire = talk.wire.lend();
        prop_assert_eq!(wire.outbox.len(), arrived(&between).len() + arrived(&during).len());
        prop_assert_eq!(talk.connection.received(), wire.outbox.len() as u64);
        prop_assert_eq!(talk.connection.sent(), wire.outbox.len() as u64);
        prop_assert_eq!(&wire.outbox, &wire.arrived);
    }

    #[test]
    fn a_reset_at_any_point_ends_it_after_a_prefix(
        mode in mode(),
        between in prop::collection::vec(act(), 0..20),
        during in prop::collection::vec(act(), 0..20),
        reset_during in any::<prop::sample::Index>(),
        buffer_len in 1_usize..50,
        (piece_max, splice_bytes_max) in splicing(),
    ) {
        let rules = Rules { splice_bytes_max, ..Rules::default() };
        let mut talk = talk(mode, rules, buffer_len, piece_max);
        let mut during = during;
        during.insert(reset_during.index(during.len() + 1), Act::Reset);
        talk.wire.lend().during.extend(during);
        for act in between {
            talk.happen(act);
        }
        if talk.over.is_none() {
            talk.happen(Act::Reset);
        }
        let broken = matches!(talk.over, Some(Reason::Failed(std::io::ErrorKind::ConnectionReset)));
        prop_assert!(broken, "{:?}", talk.over);
        let wire = talk.wire.lend();
        prop_assert!(wire.arrived.starts_with(&wire.outbox));
    }

    #[test]
    fn what_has_arrived_is_echoed_before_a_finish_and_what_was_read_before_an_end(
        mode in mode(),
        before in prop::collection::vec(act(), 0..20),
        during in prop::collection::vec(act(), 0..20),
        after in prop::collection::vec(act(), 0..20),
        finish in any::<bool>(),
        buffer_len in 1_usize..50,
        (piece_max, splice_bytes_max) in splicing(),
        step_bytes_max in 0_usize..60,
    ) {
        let rules = Rules { step_bytes_max, splice_bytes_max, ..Rules::default() };
        let mut talk = talk(mode, rules, buffer_len, piece_max);
        before.into_iter().for_each(|act| talk.happen(act));
        let arrived = talk.wire.lend().arrived.len();
        let read = usize::try_from(talk.connection.received()).unwrap();
        talk.wire.lend().during.extend(during);
        if finish { talk.finish() } else { talk.end() }
        after.into_iter().for_each(|act| talk.happen(act));
        talk.happen(Act::Room(1 << 20));
        prop_assert!(talk.wire.lend().fin_sent, "our half is closed before the peer's");
        talk.end_well();
        prop_assert_eq!(talk.over, Some(Reason::Ended));
        let wire = talk.wire.lend();
        prop_assert!(wire.arrived.starts_with(&wire.outbox));
        let promised = if finish { arrived } else { read };
        prop_assert!(wire.outbox.len() >= promised);
    }

    #[test]
    fn the_quit_word_ends_it_after_its_line_however_it_is_split(
        mode in mode(),
        before in "([a-pr-z]{0,9}\r?\n){0,5}",
        after in "[a-z\n]{0,40}",
        ending in prop_oneof![Just("\n"), Just("\r\n")],
        cuts in prop::collection::vec(1_usize..7, 0..40),
        rooms in prop::collection::vec(0_usize..7, 0..40),
        buffer_len in 1_usize..50,
        (piece_max, splice_bytes_max) in splicing(),
    ) {
        let quit_word = Some("quit".parse().unwrap());
        let rules = Rules { quit_word, splice_bytes_max, ..Rules::default() };
        let mut talk = talk(mode, rules, buffer_len, piece_max);
        let conversation = format!("{before}quit{ending}");
        let text = format!("{conversation}{after}");
        let mut rest = text.as_bytes();
        for (cut, room) in cuts.into_iter().zip(rooms.into_iter().chain(std::iter::repeat(3))) {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            rest = tail;
            talk.happen(Act::Arrive(piece.to_vec()));
            talk.happen(Act::Room(room));
        }
        talk.happen(Act::Arrive(rest.to_vec()));
        talk.happen(Act::Room(1 << 20));
        prop_assert!(talk.wire.lend().fin_sent, "our half is closed before the peer's");
        prop_assert_eq!(talk.over, None);
        talk.happen(Act::Arrive(b"more".to_vec()));
        talk.happen(Act::Fin);
        prop_assert_eq!(talk.over, Some(Reason::Quit));
        prop_assert_eq!(&talk.wire.lend().outbox, conversation.as_bytes());
    }
}
