//! Messages to all, pings, and ends of connections that the peer did not ask for.

use crate::chat::{ANSWER_TIMEOUT, Chat, PENDING_MAX, QUIET_MAX};
use crate::frame::Data;
use crate::support::{
    CLOSE, FIN, PING, PONG, REQUEST, RESPONSE, TEXT, client, closed_with, line, reply, sent_by,
    server, upgraded,
};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Request};
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn what_one_says_is_broadcast_once() {
    let mut driver = upgraded();
    reply(&mut driver, &[client(TEXT, b"to "), client(FIN, b"all")].concat());
    let requests = driver.take_requests();
    let [Request::Broadcast(line)] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!((line.data, &line.bytes[..]), (Data::Text, &b"to all"[..]));
    // The sender has it already.
    let requests = requests.into_iter().filter_map(|request| match request {
        Request::Broadcast(line) => Some(line),
        _ => None,
    });
    let own: Vec<_> = requests.collect();
    assert_eq!(sent_by(&mut driver, |driver| driver.message(&own)), b"");
}

#[test]
fn what_others_say_arrives_in_order() {
    let mut driver = upgraded();
    let sent = sent_by(&mut driver, |driver| driver.message(&[line("one"), line("two")]));
    assert_eq!(sent, [server(TEXT | FIN, b"one"), server(TEXT | FIN, b"two")].concat());
}

#[test]
fn nothing_is_said_before_the_handshake_and_after_a_close_frame() {
    let mut driver = Driver::new(Trigger::Level, Chat::default(), ());
    driver.act(Act::Room(1 << 20));
    driver.message(&[line("early")]);
    assert_eq!(reply(&mut driver, REQUEST.as_bytes()), RESPONSE.as_bytes());
    assert_eq!(sent_by(&mut driver, Driver::drain), closed_with(1001));
    assert_eq!(sent_by(&mut driver, |driver| driver.message(&[line("late")])), b"");
    assert_eq!(reply(&mut driver, &client(PING, b"late")), b"");
    assert_eq!(driver.closed(), None);
}

#[test]
fn one_that_reads_nothing_is_dropped_beyond_the_limit() {
    let mut driver = Driver::new(Trigger::Level, Chat::default(), ());
    driver.act(Act::Room(RESPONSE.len()));
    driver.act(Act::Arrive(REQUEST.as_bytes().to_vec()));
    let text = "x".repeat(PENDING_MAX / 4);
    for _ in 0..4 {
        driver.message(&[line(&text)]);
    }
    // Exceeded by the headers of the frames; what is pending is looked at before the next message.
    assert!(driver.counts().2 > PENDING_MAX);
    assert_eq!(driver.closed(), None);
    driver.message(&[line("one more")]);
    assert_eq!(driver.closed(), Some(CloseReason::Aborted));
}

#[test]
fn one_that_reads_is_not_dropped_whatever_comes_in_one_turn() {
    let mut driver = upgraded();
    let text = "x".repeat(PENDING_MAX / 4);
    let lines: Vec<_> = (0..20).map(|_| line(&text)).collect();
    let sent = sent_by(&mut driver, |driver| driver.message(&lines));
    assert_eq!(driver.closed(), None);
    assert_eq!(sent.len(), 20 * server(TEXT | FIN, text.as_bytes()).len());
}

#[test]
fn one_that_reads_late_is_not_dropped() {
    let mut driver = Driver::new(Trigger::Edge, Chat::default(), ());
    driver.act(Act::Room(RESPONSE.len()));
    driver.act(Act::Arrive(REQUEST.as_bytes().to_vec()));
    let text = "x".repeat(PENDING_MAX / 4);
    for _ in 0..40 {
        driver.message(&[line(&text)]);
        driver.message(&[line(&text)]);
        driver.act(Act::Room(PENDING_MAX));
    }
    assert_eq!(driver.closed(), None);
    let sent = driver.sent().len() - RESPONSE.len();
    assert_eq!(sent, 80 * server(TEXT | FIN, text.as_bytes()).len());
}

#[test]
fn a_quiet_peer_is_pinged_and_stays_if_it_answers() {
    let mut driver = upgraded();
    for _ in 0..3 {
        assert_eq!(sent_by(&mut driver, |driver| driver.pass_time(QUIET_MAX - MOMENT)), b"");
        let ping = sent_by(&mut driver, |driver| driver.pass_time(MOMENT));
        assert_eq!(ping, server(PING, b""));
        driver.pass_time(ANSWER_TIMEOUT / 2);
        assert_eq!(reply(&mut driver, &client(PONG, b"")), b"");
    }
    // Whatever comes will do.
    for frame in [client(TEXT | FIN, b"here"), client(PING, b""), client(TEXT, b"more follows")] {
        assert_eq!(sent_by(&mut driver, |driver| driver.pass_time(QUIET_MAX)), server(PING, b""));
        reply(&mut driver, &frame);
    }
    driver.pass_time(QUIET_MAX - MOMENT);
    assert_eq!(driver.closed(), None);
    assert!(!driver.is_output_closed());
}

#[test]
fn one_that_does_not_answer_a_ping_is_closed() {
    let mut driver = upgraded();
    driver.pass_time(QUIET_MAX);
    assert_eq!(sent_by(&mut driver, |driver| driver.pass_time(ANSWER_TIMEOUT - MOMENT)), b"");
    assert!(!driver.is_output_closed());
    assert_eq!(sent_by(&mut driver, |driver| driver.pass_time(MOMENT)), closed_with(1008));
    assert!(driver.is_output_closed());
}

#[test]
fn messages_of_others_are_no_sign_of_life() {
    let mut driver = upgraded();
    driver.pass_time(QUIET_MAX / 2);
    driver.message(&[line("something")]);
    assert_eq!(sent_by(&mut driver, |driver| driver.pass_time(QUIET_MAX / 2)), server(PING, b""));
}

#[test]
fn a_drain_closes_and_awaits_the_answer() {
    let mut driver = upgraded();
    assert_eq!(sent_by(&mut driver, Driver::drain), closed_with(1001));
    assert!(!driver.is_output_closed(), "the peer's close frame is awaited");
    // What was under way is received, and matters no more.
    assert_eq!(reply(&mut driver, &client(TEXT | FIN, b"crossed")), b"");
    assert!(driver.take_requests().is_empty());
    assert_eq!(reply(&mut driver, &client(CLOSE, &1001_u16.to_be_bytes())), b"");
    assert!(driver.is_output_closed());
    driver.act(Act::Fin);
    assert_eq!(driver.closed(), Some(CloseReason::Finished));
}

#[test]
fn a_drain_does_not_await_the_answer_for_ever() {
    let mut driver = upgraded();
    driver.drain();
    driver.pass_time(ANSWER_TIMEOUT - MOMENT);
    assert!(!driver.is_output_closed());
    assert_eq!(sent_by(&mut driver, |driver| driver.pass_time(MOMENT)), b"");
    assert!(driver.is_output_closed());
}

#[test]
fn a_handshake_during_a_drain_is_finished_with_1001() {
    let mut driver = Driver::new(Trigger::Level, Chat::default(), ());
    driver.act(Act::Room(1 << 20));
    driver.act(Act::Arrive(REQUEST.as_bytes()[..50].to_vec()));
    driver.drain();
    assert_eq!(reply(&mut driver, &REQUEST.as_bytes()[50..]), RESPONSE.as_bytes());
    assert_eq!(sent_by(&mut driver, Driver::finish), closed_with(1001));
    assert!(driver.is_output_closed());
}

#[test]
fn one_that_the_service_ends_is_told_1001_once() {
    let mut driver = upgraded();
    assert_eq!(sent_by(&mut driver, Driver::end), closed_with(1001));
    assert!(driver.is_output_closed());

    let mut driver = upgraded();
    driver.drain();
    assert_eq!(sent_by(&mut driver, Driver::end), b"");
    assert!(driver.is_output_closed());
}

#[test]
fn a_peer_that_leaves_without_a_word_is_gone() {
    let mut driver = upgraded();
    driver.act(Act::Fin);
    assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    let mut driver = upgraded();
    driver.act(Act::Reset);
    assert!(matches!(driver.closed(), Some(CloseReason::Failed(_))));
}
