//! Long streams, which go through the pipe, one case at a time.

use crate::wire::{Act, Talk};
use epoll_echo::{Mode, Reason, Rules};
use std::num::NonZeroUsize;

const ALL: [Mode; 4] = [Mode::Level, Mode::Edge, Mode::Oneshot, Mode::EdgeShared];
const BUFFER_LEN: usize = 16;

/// Ten bytes at once are much.
fn rules() -> Rules {
    Rules { splice_bytes_max: NonZeroUsize::new(40), ..Rules::default() }
}

fn talk(mode: Mode) -> Talk {
    Talk::new(mode, rules(), BUFFER_LEN).with_pipe(64)
}

#[test]
fn what_follows_a_full_buffer_goes_through_the_pipe() {
    for mode in ALL {
        let mut talk = talk(mode);
        talk.happen(Act::Room(1 << 20));
        talk.happen(Act::Arrive(vec![1; 100]));
        assert_eq!(talk.wire.lend().piped, 100 - BUFFER_LEN, "{mode:?}");
        // And so does what comes later, from the beginning.
        talk.happen(Act::Arrive(vec![2; 100]));
        assert_eq!(talk.wire.lend().piped, 200 - BUFFER_LEN, "{mode:?}");
        talk.end_well();
        let wire = talk.wire.lend();
        assert_eq!(wire.outbox, wire.arrived);
    }
}

#[test]
fn short_messages_are_copied_again() {
    for mode in ALL {
        let mut talk = talk(mode);
        talk.happen(Act::Room(1 << 20));
        talk.happen(Act::Arrive(vec![1; 100]));
        talk.happen(Act::Arrive(vec![2; 9]));
        let piped = talk.wire.lend().piped;
        let calls = talk.wire.lend().calls;
        for message in 1..=5 {
            talk.happen(Act::Arrive(vec![3; 9]));
            assert_eq!(talk.wire.lend().piped, piped, "{mode:?}");
            assert_eq!(talk.wire.lend().calls, calls + 2 * message, "{mode:?}");
        }
    }
}

#[test]
fn what_the_peer_does_not_take_is_kept_and_the_pipe_is_free() {
    for mode in ALL {
        let mut talk = talk(mode);
        talk.happen(Act::Room(BUFFER_LEN + 3));
        talk.happen(Act::Arrive(vec![1; 100]));
        assert_eq!(talk.connection.buffered(), 37, "{mode:?}");
        assert_eq!(talk.connection.received(), BUFFER_LEN as u64 + 40);
        // The wire refuses a pipe that is not empty.
        talk.happen(Act::Room(1 << 20));
        assert_eq!(talk.connection.buffered(), 0);
        assert_eq!(talk.wire.lend().outbox, vec![1; 100]);
    }
}

#[test]
fn a_buffer_as_long_as_a_step_may_be_is_no_obstacle() {
    let rules = Rules { step_bytes_max: BUFFER_LEN, ..rules() };
    let mut talk = Talk::new(Mode::Edge, rules, BUFFER_LEN).with_pipe(64);
    talk.happen(Act::Room(1 << 20));
    talk.happen(Act::Arrive(vec![1; 100]));
    assert_eq!(talk.wire.lend().piped, 100 - BUFFER_LEN);
}

#[test]
fn a_splice_that_stops_short_for_no_reason_is_gone_on_with() {
    for mode in ALL {
        let mut talk = talk(mode);
        talk.happen(Act::Room(1 << 20));
        talk.wire.lend().happen(Act::Cut);
        talk.happen(Act::Arrive(vec![1; 100]));
        assert_eq!(talk.wire.lend().outbox, vec![1; 100], "{mode:?}");
        assert_eq!(talk.connection.buffered(), 0);
    }
}

#[test]
fn many_small_pieces_are_copied() {
    for mode in ALL {
        let mut talk = Talk::new(mode, rules(), BUFFER_LEN).with_pipe(1);
        talk.happen(Act::Room(1 << 20));
        talk.happen(Act::Arrive(vec![1; BUFFER_LEN + 5]));
        assert_eq!(talk.wire.lend().outbox, vec![1; BUFFER_LEN + 5], "{mode:?}");
        assert!(talk.wire.lend().piped < 5, "{mode:?}");
    }
}

#[test]
fn the_end_behind_a_stream_is_found() {
    for mode in ALL {
        let mut talk = talk(mode);
        talk.happen(Act::Room(1 << 20));
        talk.wire.lend().happen(Act::Arrive(vec![1; 100]));
        talk.happen(Act::Fin);
        assert_eq!(talk.over, Some(Reason::PeerClosed), "{mode:?}");
        assert_eq!(talk.wire.lend().outbox, vec![1; 100]);
    }
}

#[test]
fn bytes_behind_an_urgent_one_are_read() {
    for mode in ALL {
        let mut talk = talk(mode);
        talk.happen(Act::Room(1 << 20));
        talk.happen(Act::Arrive(vec![1; 100]));
        talk.wire.lend().happen(Act::Urgent);
        talk.happen(Act::Arrive(vec![2; 100]));
        assert_eq!(talk.wire.lend().outbox.len(), 200, "{mode:?}");
    }
}

#[test]
fn a_transport_that_cannot_be_spliced_is_copied() {
    for mode in ALL {
        let mut talk = Talk::new(mode, rules(), BUFFER_LEN).with_pipe(0);
        talk.happen(Act::Room(1 << 20));
        talk.happen(Act::Arrive(vec![1; 100]));
        assert_eq!(talk.wire.lend().outbox, vec![1; 100], "{mode:?}");
        assert_eq!(talk.wire.lend().piped, 0);
    }
}

#[test]
fn a_quit_word_is_looked_for_in_every_byte() {
    let quit_word = Some("quit".parse().unwrap());
    let rules = Rules { quit_word, ..rules() };
    let mut talk = Talk::new(Mode::Level, rules, BUFFER_LEN).with_pipe(64);
    talk.happen(Act::Room(1 << 20));
    talk.happen(Act::Arrive([&[b'\n'; 100][..], b"quit\n"].concat()));
    assert!(talk.wire.lend().fin_sent);
    assert_eq!(talk.wire.lend().piped, 0);
}

#[test]
fn a_finish_leaves_the_stream_for_the_end() {
    for mode in ALL {
        let mut talk = talk(mode);
        talk.happen(Act::Room(1 << 20));
        talk.happen(Act::Arrive(vec![1; 100]));
        talk.finish();
        assert!(talk.wire.lend().fin_sent, "{mode:?}");
        talk.happen(Act::Arrive(vec![2; 100]));
        talk.happen(Act::Fin);
        assert_eq!(talk.over, Some(Reason::Ended));
        assert_eq!(talk.wire.lend().outbox, vec![1; 100]);
    }
}
