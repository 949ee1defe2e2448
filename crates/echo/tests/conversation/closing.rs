//! The pauses, waits and ends of a conversation, one case at a time.

use crate::harness::{BOTH, buffer, echo, echo_to_quit};
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_echo::Echo;

fn talk(trigger: Trigger) -> Driver<Echo> {
    echo(trigger, buffer(16))
}

#[test]
fn a_message_costs_one_read_and_one_write() {
    for trigger in BOTH {
        let mut talk = talk(trigger);
        talk.act(Act::Room(1 << 20));
        assert_eq!(talk.calls(), 0, "{trigger:?}: room alone is no reason to read");
        for message in 1..=10 {
            talk.act(Act::Arrive(b"message".to_vec()));
            assert_eq!(talk.calls(), 2 * message, "{trigger:?}");
        }
    }
}

#[test]
fn the_end_that_came_with_the_data_is_read_in_the_same_step() {
    for trigger in BOTH {
        let mut talk = talk(trigger);
        talk.act(Act::Room(1 << 20));
        talk.prepare(Act::Arrive(b"last".to_vec()));
        talk.act(Act::Fin);
        assert_eq!(talk.closed(), Some(CloseReason::PeerClosed));
        assert_eq!(talk.calls(), 3, "{trigger:?}: read, write, read");
    }
}

#[test]
fn a_connection_at_rest_owns_no_buffer() {
    for trigger in BOTH {
        let mut talk = talk(trigger);
        talk.act(Act::Arrive(b"twelve bytes".to_vec()));
        assert_eq!(talk.counts().2, 12);
        talk.act(Act::Room(5));
        assert_eq!(talk.counts().2, 7);
        talk.act(Act::Room(7));
        assert_eq!(talk.counts().2, 0);
    }
}

#[test]
fn nothing_is_read_while_a_rest_waits() {
    for trigger in BOTH {
        let mut talk = talk(trigger);
        talk.act(Act::Arrive(b"first".to_vec()));
        talk.act(Act::Arrive(vec![0; 1 << 16]));
        assert_eq!(talk.counts().0, 5, "{trigger:?}");
        assert_eq!(talk.counts().2, 5, "{trigger:?}");
    }
}

#[test]
fn a_peer_that_closes_its_half_gets_what_it_sent_before_the_end() {
    for trigger in BOTH {
        let mut talk = talk(trigger);
        talk.act(Act::Arrive(b"all of this".to_vec()));
        talk.act(Act::Fin);
        assert_eq!(talk.closed(), None, "{trigger:?}: the echo has not been taken yet");
        talk.act(Act::Room(4));
        assert_eq!(talk.closed(), None, "{trigger:?}");
        talk.act(Act::Room(1 << 20));
        assert_eq!(talk.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
        assert_eq!(talk.sent(), b"all of this");
    }
}

#[test]
fn the_end_of_our_half_waits_for_a_rest() {
    for trigger in BOTH {
        let mut talk = echo_to_quit(trigger, buffer(16));
        talk.act(Act::Arrive(b"one\nquit\nignored".to_vec()));
        assert!(!talk.is_output_closed());
        talk.act(Act::Room(9));
        assert!(talk.is_output_closed(), "{trigger:?}");
        assert_eq!(talk.closed(), None, "{trigger:?}: it lingers until the peer closes");
        talk.act(Act::Fin);
        assert_eq!(talk.closed(), Some(CloseReason::Finished));
    }
}
