//! Bytes that go to another connection of the thread.

use crate::harness::{BOTH, PLENTY, arrive};
use epoll_connection::test_kit::{Act, Driver};
use epoll_connection::{
    CloseReason, ConnectionId, Consumed, Context, Flow, Forward, Protocol, Request,
};
use epoll_reactor::Token;

/// Forwards everything to a connection; a line that begins with `!` is for itself.
struct Forwarding(ConnectionId);

fn other() -> Token {
    Token::detached(7)
}

impl Protocol for Forwarding {
    type Local = ();
    type Message = Flow;

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), Flow>) -> Consumed {
        let Some(link) = context.link(self.0) else { return Consumed::nothing().then(Flow::Abort) };
        let mut lines = input.split_inclusive(|&byte| byte == b'\n');
        match lines.next().map(<[u8]>::len) {
            Some(_) if input[0] == b'p' => Consumed::forward(input.len(), link).then(Flow::Pause),
            Some(len) if input[0] == b'!' => {
                context.write(&input[1..len]);
                Consumed::bytes(len)
            }
            Some(len) => Consumed::forward(len, link),
            None => Consumed::nothing(),
        }
    }

    fn on_message(&mut self, flow: &Flow, _: &mut Context<'_, (), Flow>) -> Flow {
        *flow
    }
}

fn forwarding() -> Forwarding {
    Forwarding(ConnectionId::new(0, other()))
}

fn forwarded(driver: &Driver<Forwarding>) -> Vec<u8> {
    assert!(driver.forwarded().iter().all(|(to, _)| *to == other()));
    driver.forwarded().iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

#[test]
fn bytes_go_where_they_are_sent_in_order_and_answers_go_back() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, forwarding(), ());
        driver.act(PLENTY);
        arrive(&mut driver, "one\n!two\nthree\n!four\nfive");
        assert_eq!(forwarded(&driver), b"one\nthree\nfive");
        assert_eq!(driver.sent(), b"two\nfour\n");
        assert!(driver.is_at_rest());
        driver.end_well();
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn nothing_is_read_until_the_receiver_has_sent_what_it_took() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, forwarding(), ());
        driver.act(PLENTY);
        driver.give_receiver_room(3);
        arrive(&mut driver, "one\ntwo\n");
        arrive(&mut driver, "three\n");
        assert_eq!(forwarded(&driver), b"one\n");
        assert!(driver.is_paused());
        assert!(driver.unread() > 0 || driver.counts().3 > 0);
        // A message does not end this pause.
        driver.message(&[Flow::Read]);
        assert_eq!(forwarded(&driver), b"one\n");
        driver.give_receiver_room(100);
        assert_eq!(forwarded(&driver), b"one\ntwo\nthree\n");
        assert!(!driver.is_paused());
        driver.end_well();
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn a_pause_of_the_protocol_outlasts_that_for_the_receiver() {
    for trigger in BOTH {
        for pauses_with_it in [true, false] {
            let mut driver = Driver::new(trigger, forwarding(), ());
            driver.act(PLENTY);
            driver.give_receiver_room(0);
            arrive(&mut driver, if pauses_with_it { "p" } else { "x" });
            if !pauses_with_it {
                driver.message(&[Flow::Pause]);
            }
            arrive(&mut driver, "after");
            driver.give_receiver_room(100);
            assert!(driver.is_paused(), "{trigger:?} {pauses_with_it}");
            assert_eq!(forwarded(&driver).len(), 1);
            driver.message(&[Flow::Read]);
            assert!(forwarded(&driver).ends_with(b"after"));
        }
    }
}

#[test]
fn a_sender_that_finishes_meanwhile_waits_for_nobody() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, forwarding(), ());
        driver.act(PLENTY);
        driver.give_receiver_room(0);
        arrive(&mut driver, "x");
        driver.message(&[Flow::Finish]);
        assert!(driver.is_output_closed());
        driver.give_receiver_room(10);
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), Some(CloseReason::Finished));
    }
}

#[test]
fn a_drain_forwards_everything_that_has_arrived() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, forwarding(), ());
        driver.act(PLENTY);
        driver.give_receiver_room(0);
        arrive(&mut driver, "one");
        driver.finish();
        arrive(&mut driver, "two");
        assert!(!driver.is_output_closed(), "bytes wait for their receiver");
        driver.give_receiver_room(10);
        assert_eq!(forwarded(&driver), b"onetwo");
        assert!(driver.is_output_closed());
    }
}

/// Discards what arrives, and sends what is forwarded to it; `transforms` in capitals.
struct Receiving {
    transforms: bool,
}

impl Protocol for Receiving {
    type Local = ();
    type Message = Flow;

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), Flow>) -> Consumed {
        Consumed::bytes(input.len())
    }

    fn on_forwarded(&mut self, bytes: &[u8], context: &mut Context<'_, (), Flow>) -> bool {
        if self.transforms {
            context.write(&bytes.to_ascii_uppercase());
        }
        self.transforms
    }

    fn on_message(&mut self, flow: &Flow, _: &mut Context<'_, (), Flow>) -> Flow {
        *flow
    }
}

fn to_receiver(bytes: &[u8]) -> Forward {
    Forward::of(Token::detached(1), Token::detached(0), bytes)
}

fn is_told(driver: &mut Driver<Receiving>) -> bool {
    match driver.take_requests()[..] {
        [] => false,
        [Request::ResumeForwarding(from)] => from == Token::detached(1),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_forwarded_goes_out_at_once_or_its_sender_is_told_when_it_has() {
    for trigger in BOTH {
        for transforms in [false, true] {
            let mut driver = Driver::new(trigger, Receiving { transforms }, ());
            driver.act(Act::Room(4));
            assert!(!driver.receive_forward(to_receiver(b"abcd")));
            assert_eq!(driver.calls(), 1);
            assert!(driver.receive_forward(to_receiver(b"ef")));
            assert!(!is_told(&mut driver));
            driver.act(Act::Room(1));
            assert!(!is_told(&mut driver), "a part waits still");
            driver.act(Act::Room(10));
            assert!(is_told(&mut driver));
            assert!(driver.is_at_rest());
            let wanted: &[u8] = if transforms { b"ABCDEF" } else { b"abcdef" };
            assert_eq!(driver.sent(), wanted);
            driver.end_well();
            assert!(!is_told(&mut driver), "once");
        }
    }
}

#[test]
fn one_that_goes_away_has_its_senders_told() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Receiving { transforms: false }, ());
        assert!(driver.receive_forward(to_receiver(b"ab")));
        driver.act(Act::Reset);
        assert!(driver.closed().is_some());
        assert!(is_told(&mut driver), "{trigger:?}");
    }
}

#[test]
fn one_that_is_about_to_end_takes_nothing_more() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Receiving { transforms: false }, ());
        driver.act(PLENTY);
        driver.message(&[Flow::Finish]);
        assert!(!driver.receive_forward(to_receiver(b"ab")), "nobody waits for it");
        assert_eq!(driver.sent(), b"");
    }
}

#[test]
fn one_that_is_not_established_takes_nothing() {
    for trigger in BOTH {
        let mut driver = Driver::connecting(trigger, Receiving { transforms: false }, ());
        assert!(!driver.receive_forward(to_receiver(b"early")));
        driver.prepare(PLENTY);
        driver.connect(Ok(()));
        assert_eq!(driver.sent(), b"");
    }
}
