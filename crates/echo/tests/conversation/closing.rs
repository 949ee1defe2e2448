//! How a conversation rests, waits and ends, one case at a time.

use crate::wire::{Act, Talk};
use epoll_echo::{Mode, Reason, Rules};

const BOTH: [Mode; 2] = [Mode::Level, Mode::Edge];

fn talk(mode: Mode) -> Talk {
    Talk::new(mode, Rules::default(), 16)
}

#[test]
fn a_message_costs_one_read_and_one_write() {
    for mode in BOTH {
        let mut talk = talk(mode);
        talk.happen(Act::Room(1 << 20));
        assert_eq!(talk.wire.lend().calls, 0, "{mode:?}: room alone is no reason to read");
        for message in 1..=10 {
            talk.happen(Act::Arrive(b"message".to_vec()));
            assert_eq!(talk.wire.lend().calls, 2 * message, "{mode:?}");
        }
    }
}

#[test]
fn the_end_that_came_with_the_data_is_read_in_the_same_step() {
    for mode in BOTH {
        let mut talk = talk(mode);
        talk.happen(Act::Room(1 << 20));
        talk.wire.lend().happen(Act::Arrive(b"last".to_vec()));
        talk.happen(Act::Fin);
        assert_eq!(talk.over, Some(Reason::PeerClosed));
        assert_eq!(talk.wire.lend().calls, 3, "{mode:?}: read, write, read");
    }
}

#[test]
fn a_connection_at_rest_owns_no_buffer() {
    for mode in BOTH {
        let mut talk = talk(mode);
        talk.happen(Act::Arrive(b"twelve bytes".to_vec()));
        assert_eq!(talk.connection.buffered(), 12);
        talk.happen(Act::Room(5));
        assert_eq!(talk.connection.buffered(), 7);
        talk.happen(Act::Room(7));
        assert_eq!(talk.connection.buffered(), 0);
    }
}

#[test]
fn nothing_is_read_while_a_rest_waits() {
    for mode in BOTH {
        let mut talk = talk(mode);
        talk.happen(Act::Arrive(b"first".to_vec()));
        talk.happen(Act::Arrive(vec![0; 1 << 16]));
        assert_eq!(talk.connection.received(), 5, "{mode:?}");
        assert_eq!(talk.connection.buffered(), 5, "{mode:?}");
    }
}

#[test]
fn a_peer_that_closes_its_half_gets_what_it_sent_before_the_end() {
    for mode in BOTH {
        let mut talk = talk(mode);
        talk.happen(Act::Arrive(b"all of this".to_vec()));
        talk.happen(Act::Fin);
        assert_eq!(talk.over, None, "{mode:?}: the echo has not been taken yet");
        talk.happen(Act::Room(4));
        assert_eq!(talk.over, None, "{mode:?}");
        talk.happen(Act::Room(1 << 20));
        assert_eq!(talk.over, Some(Reason::PeerClosed), "{mode:?}");
        assert_eq!(talk.wire.lend().outbox, b"all of this");
    }
}

#[test]
fn the_end_of_our_half_waits_for_a_rest() {
    for mode in BOTH {
        let rules = Rules { quit_word: Some("quit".parse().unwrap()), ..Rules::default() };
        let mut talk = Talk::new(mode, rules, 16);
        talk.happen(Act::Arrive(b"one\nquit\nignored".to_vec()));
        assert!(!talk.wire.lend().fin_sent);
        talk.happen(Act::Room(9));
        assert!(talk.wire.lend().fin_sent, "{mode:?}");
        assert_eq!(talk.over, None, "{mode:?}: it lingers until the peer closes");
        talk.happen(Act::Fin);
        assert_eq!(talk.over, Some(Reason::Quit));
    }
}
