//! Messages between connections, without a service: the test delivers them.

use crate::support::{Client, array, connect, request, shared};
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Trigger};

const HELLO: &str = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n";

#[test]
fn a_message_reaches_those_that_listen() {
    let shared = shared(2);
    let (mut publisher, mut listener) = (Client::of(&shared), Client::of(&shared));
    listener.ask("SUBSCRIBE c d");
    publisher.assert_answers("PUBLISH c hello", ":1\r\n");
    publisher.assert_answers("PUBLISH x hello", ":0\r\n");
    let messages = publisher.messages();
    assert_eq!(messages.len(), 1);
    listener.driver.message(&messages);
    assert_eq!(listener.received(), HELLO);
    // The channel was left before the message came.
    listener.ask("UNSUBSCRIBE c");
    listener.driver.message(&messages);
    assert_eq!(listener.received(), "");
    publisher.assert_answers("PUBLISH c hello", ":0\r\n");
    publisher.assert_answers("PUBLISH d hello", ":1\r\n");
    listener.driver.act(Act::Fin);
    publisher.assert_answers("PUBLISH d hello", ":0\r\n");
}

#[test]
fn a_listener_that_takes_nothing_is_dropped() {
    let shared = shared(1);
    let mut publisher = Client::of(&shared);
    let mut listener = connect(Trigger::Level, &shared);
    listener.act(Act::Room(100));
    listener.act(Act::Arrive(array("SUBSCRIBE c")));
    publisher.send(&request(&["PUBLISH", "c", &"x".repeat(1 << 20)]));
    let messages = publisher.messages();
    for _ in 0..32 {
        assert_eq!(listener.closed(), None);
        listener.message(&messages);
    }
    listener.message(&messages);
    listener.message(&messages);
    assert_eq!(listener.closed(), Some(CloseReason::Aborted));
    publisher.assert_answers("PUBLISH c hello", ":0\r\n");
}

#[test]
fn a_turn_makes_a_bounded_number_of_messages() {
    let shared = shared(1);
    let (mut publisher, mut listener) = (Client::of(&shared), Client::of(&shared));
    listener.ask("SUBSCRIBE c");
    let replies = publisher.send(&array("PUBLISH c hello").repeat(1500));
    assert_eq!(replies, ":1\r\n".repeat(1024));
    assert!(publisher.driver.is_paused());
    let mut messages = publisher.messages();
    assert_eq!(messages.len(), 1025);
    // When the turn is over, it goes on by its message to itself.
    let delivered = messages.pop().expect("the last one");
    publisher.driver.message(&[delivered]);
    assert_eq!(publisher.received(), ":1\r\n".repeat(476));
    assert!(!publisher.driver.is_paused());
    listener.driver.message(&messages);
    assert_eq!(listener.received(), HELLO.repeat(1024));
}
