//! The costs of a connection: system calls, changes of the interest, and memory at rest.

use crate::harness::{Answers, BOTH, Obedient, arrive, obedient, obedient_with};
use epoll_connection::test_kit::Act;
use epoll_connection::{Connection, Consumed, Limits};
use epoll_reactor::net::Stream;

#[test]
fn sixteen_requests_in_one_segment_are_one_read_and_one_write() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        for round in 1..=5 {
            arrive(&mut driver, "say answer\n".repeat(16));
            assert_eq!(driver.calls(), 2 * round, "{trigger:?}");
        }
        assert_eq!(driver.sent().len(), 5 * 16 * 6);
        assert_eq!(driver.interest_changes(), 0);
    }
}

#[test]
fn a_request_that_is_split_is_one_read_for_each_piece_and_one_write() {
    for trigger in BOTH {
        let mut driver = obedient(trigger, Obedient::NEW);
        arrive(&mut driver, "say an");
        arrive(&mut driver, "swer\n");
        assert_eq!(driver.calls(), 3, "{trigger:?}");
        assert_eq!(driver.interest_changes(), 0);
    }
}

#[test]
fn a_buffer_that_is_filled_is_read_again() {
    for trigger in BOTH {
        let mut driver = obedient_with(trigger, Obedient::NEW, crate::harness::buffer(6));
        arrive(&mut driver, "say a\n");
        assert_eq!(
            driver.calls(),
            3,
            "{trigger:?}: a read, a write, and a read that finds nothing"
        );
        arrive(&mut driver, "keep\n");
        assert_eq!(driver.calls(), 4, "{trigger:?}: it is known to be dry");
    }
}

#[test]
fn waiting_for_room_changes_the_interest_once_each_way() {
    let trigger = epoll_connection::test_kit::Trigger::Level;
    let mut driver = epoll_connection::test_kit::Driver::new(trigger, Obedient::NEW, Vec::new());
    arrive(&mut driver, "say abcdef\n");
    for _ in 0..5 {
        driver.act(Act::Room(1));
    }
    assert_eq!(driver.interest_changes(), 1);
    driver.act(Act::Room(1));
    assert_eq!(driver.interest_changes(), 2);
}

#[test]
fn a_passed_input_is_written_from_where_it_is() {
    for trigger in BOTH {
        let mut driver = crate::harness::answers(trigger, &[Consumed::pass(3)], Limits::default());
        arrive(&mut driver, "abc");
        assert_eq!((driver.sent(), driver.calls()), (b"abc".to_vec(), 2), "{trigger:?}");
    }
}

#[test]
fn passed_input_and_output_keep_their_order_in_one_write() {
    struct Frame;
    impl epoll_connection::Protocol for Frame {
        type Local = ();
        type Message = ();

        fn on_input(
            &mut self,
            input: &mut [u8],
            context: &mut epoll_connection::Context<'_, (), ()>,
        ) -> Consumed {
            context.write(b"<");
            Consumed { bytes: 2.min(input.len()), ..Consumed::pass(1) }
        }
    }
    for trigger in BOTH {
        let mut driver = epoll_connection::test_kit::Driver::new(trigger, Frame, ());
        driver.act(crate::harness::PLENTY);
        arrive(&mut driver, "a.b.c");
        assert_eq!(driver.sent(), b"<a<b<c", "{trigger:?}");
        assert_eq!(driver.calls(), 2, "{trigger:?}");
    }
}

#[test]
fn messages_that_are_passed_from_one_read_are_one_write() {
    for trigger in BOTH {
        let piece = Consumed { bytes: 2, ..Consumed::pass(1) };
        let mut driver = crate::harness::answers(trigger, &[piece; 3], Limits::default());
        arrive(&mut driver, "a.b.c.");
        assert_eq!((driver.sent(), driver.calls()), (b"abc".to_vec(), 2), "{trigger:?}");
    }
}

#[test]
fn a_connection_takes_32_bytes_besides_its_protocol() {
    struct Eight(#[expect(dead_code, reason = "only its size counts")] u64);
    impl epoll_connection::Protocol for Eight {
        type Local = ();
        type Message = ();

        fn on_input(
            &mut self,
            input: &mut [u8],
            _: &mut epoll_connection::Context<'_, (), ()>,
        ) -> Consumed {
            Consumed::bytes(input.len())
        }
    }
    assert_eq!(size_of::<Connection<Eight, Stream>>(), 32 + size_of::<Eight>());
    assert!(size_of::<Connection<Answers, Stream>>() <= 32 + size_of::<Answers>());
}
