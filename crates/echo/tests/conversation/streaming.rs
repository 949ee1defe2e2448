//! Long streams, which go through the pipe, one case at a time.

use crate::harness::{BOTH as ALL, buffer, echo, echo_to_quit};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Limits};
use epoll_echo::Echo;
use std::num::NonZeroUsize;

const BUFFER_LEN: usize = 16;

/// Ten bytes at once are much.
fn limits() -> Limits {
    Limits { splice_bytes_max: NonZeroUsize::new(40), ..buffer(BUFFER_LEN) }
}

fn talk(trigger: Trigger) -> Driver<Echo> {
    echo(trigger, limits()).with_pipe(64)
}

#[test]
fn what_follows_a_full_buffer_goes_through_the_pipe() {
    for trigger in ALL {
        let mut talk = talk(trigger);
        talk.act(Act::Room(1 << 20));
        talk.act(Act::Arrive(vec![1; 100]));
        assert_eq!(talk.piped(), 100 - BUFFER_LEN, "{trigger:?}");
        // And so does what comes later, from the beginning.
        talk.act(Act::Arrive(vec![2; 100]));
        assert_eq!(talk.piped(), 200 - BUFFER_LEN, "{trigger:?}");
        talk.end_well();
        assert_eq!(talk.sent(), talk.arrived());
    }
}

#[test]
fn short_messages_are_copied_again() {
    for trigger in ALL {
        let mut talk = talk(trigger);
        talk.act(Act::Room(1 << 20));
        talk.act(Act::Arrive(vec![1; 100]));
        talk.act(Act::Arrive(vec![2; 9]));
        let piped = talk.piped();
        let calls = talk.calls();
        for message in 1..=5 {
            talk.act(Act::Arrive(vec![3; 9]));
            assert_eq!(talk.piped(), piped, "{trigger:?}");
            assert_eq!(talk.calls(), calls + 2 * message, "{trigger:?}");
        }
    }
}

#[test]
fn what_the_peer_does_not_take_is_kept_and_the_pipe_is_free() {
    for trigger in ALL {
        let mut talk = talk(trigger);
        talk.act(Act::Room(BUFFER_LEN + 3));
        talk.act(Act::Arrive(vec![1; 100]));
        assert_eq!(talk.counts().2, 37, "{trigger:?}");
        assert_eq!(talk.counts().0, BUFFER_LEN as u64 + 40);
        // The wire refuses a pipe that is not empty.
        talk.act(Act::Room(1 << 20));
        assert_eq!(talk.counts().2, 0);
        assert_eq!(talk.sent(), vec![1; 100]);
    }
}

#[test]
fn a_buffer_as_long_as_a_step_may_be_is_no_obstacle() {
    let limits = Limits { step_bytes_max: BUFFER_LEN, ..limits() };
    let mut talk = echo(Trigger::Edge, limits).with_pipe(64);
    talk.act(Act::Room(1 << 20));
    talk.act(Act::Arrive(vec![1; 100]));
    assert_eq!(talk.piped(), 100 - BUFFER_LEN);
}

#[test]
fn a_splice_that_stops_short_for_no_reason_is_gone_on_with() {
    for trigger in ALL {
        let mut talk = talk(trigger);
        talk.act(Act::Room(1 << 20));
        talk.prepare(Act::Cut);
        talk.act(Act::Arrive(vec![1; 100]));
        assert_eq!(talk.sent(), vec![1; 100], "{trigger:?}");
        assert_eq!(talk.counts().2, 0);
    }
}

#[test]
fn many_small_pieces_are_copied() {
    for trigger in ALL {
        let mut talk = echo(trigger, limits()).with_pipe(1);
        talk.act(Act::Room(1 << 20));
        talk.act(Act::Arrive(vec![1; BUFFER_LEN + 5]));
        assert_eq!(talk.sent(), vec![1; BUFFER_LEN + 5], "{trigger:?}");
        assert!(talk.piped() < 5, "{trigger:?}");
    }
}

#[test]
fn the_end_behind_a_stream_is_found() {
    for trigger in ALL {
        let mut talk = talk(trigger);
        talk.act(Act::Room(1 << 20));
        talk.prepare(Act::Arrive(vec![1; 100]));
        talk.act(Act::Fin);
        assert_eq!(talk.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
        assert_eq!(talk.sent(), vec![1; 100]);
    }
}

#[test]
fn bytes_behind_an_urgent_one_are_read() {
    for trigger in ALL {
        let mut talk = talk(trigger);
        talk.act(Act::Room(1 << 20));
        talk.act(Act::Arrive(vec![1; 100]));
        talk.prepare(Act::Urgent);
        talk.act(Act::Arrive(vec![2; 100]));
        assert_eq!(talk.sent().len(), 200, "{trigger:?}");
    }
}

#[test]
fn a_transport_that_cannot_be_spliced_is_copied() {
    for trigger in ALL {
        let mut talk = echo(trigger, limits()).with_pipe(0);
        talk.act(Act::Room(1 << 20));
        talk.act(Act::Arrive(vec![1; 100]));
        assert_eq!(talk.sent(), vec![1; 100], "{trigger:?}");
        assert_eq!(talk.piped(), 0);
    }
}

#[test]
fn a_quit_word_is_looked_for_in_every_byte() {
    let mut talk = echo_to_quit(Trigger::Level, limits()).with_pipe(64);
    talk.act(Act::Room(1 << 20));
    talk.act(Act::Arrive([&[b'\n'; 100][..], b"quit\n"].concat()));
    assert!(talk.is_output_closed());
    assert_eq!(talk.piped(), 0);
}

#[test]
fn a_finish_leaves_the_stream_for_the_end() {
    for trigger in ALL {
        let mut talk = talk(trigger);
        talk.act(Act::Room(1 << 20));
        talk.act(Act::Arrive(vec![1; 100]));
        talk.finish();
        assert!(talk.is_output_closed(), "{trigger:?}");
        talk.act(Act::Arrive(vec![2; 100]));
        talk.act(Act::Fin);
        assert_eq!(talk.closed(), Some(CloseReason::Drained));
        assert_eq!(talk.sent(), vec![1; 100]);
    }
}
