//! Bytes that go to another connection of the thread.

use crate::harness::{BOTH, PLENTY, arrive, buffer};
use epoll_connection::test_kit::{Act, Driver};
use epoll_connection::{
    Clocks, CloseReason, Connection, ConnectionId, Consumed, Context, Either, Flow, Forward,
    Limits, Protocol, Request, Step, ThreadState,
};
use epoll_reactor::net::Stream;
use epoll_reactor::{Readiness, Token};
use std::io::Write;
use std::num::NonZeroUsize;

/// Forwards everything to a connection; a line that begins with `!` is for itself, and `end` ends its output.
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
            Some(len) if input.starts_with(b"end") => {
                context.end_output();
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

/// Sends what is forwarded to it, after a length.
struct Framing;

impl Protocol for Framing {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::bytes(input.len())
    }

    fn on_forwarded(&mut self, bytes: &[u8], context: &mut Context<'_, (), ()>) -> bool {
        context.write(format!("{}:", bytes.len()).as_bytes());
        false
    }
}

#[test]
fn what_a_receiver_writes_goes_out_before_what_is_forwarded() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Framing, ());
        driver.act(Act::Room(3));
        driver.receive_forward(to_receiver(b"abcd"));
        driver.receive_forward(to_receiver(b"ef"));
        assert_eq!(driver.sent(), b"4:a", "{trigger:?}");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"4:abcd2:ef", "{trigger:?}");
        driver.end_well();
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
fn one_that_has_ended_its_output_takes_nothing_more() {
    for trigger in BOTH {
        for room in [0, 100] {
            let mut driver = Driver::new(trigger, forwarding(), ());
            driver.act(Act::Room(room));
            arrive(&mut driver, "!own\nend\n");
            assert_eq!(driver.is_output_closed(), room > 0);
            assert!(!driver.receive_forward(to_receiver(b"ab")), "nobody waits for it");
            driver.act(PLENTY);
            assert_eq!(driver.sent(), b"own\n", "{trigger:?} {room}");
            driver.act(Act::Fin);
            assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
        }
    }
}

#[test]
fn what_is_forwarded_follows_what_waits_even_if_there_is_room_again() {
    for trigger in BOTH {
        for transforms in [false, true] {
            let mut driver = Driver::new(trigger, Receiving { transforms }, ());
            driver.act(Act::Room(1));
            assert!(driver.receive_forward(to_receiver(b"ab")));
            // Before it is reported.
            driver.prepare(PLENTY);
            driver.receive_forward(to_receiver(b"cd"));
            assert_eq!(driver.sent().to_ascii_lowercase(), b"abcd", "{trigger:?} {transforms}");
        }
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

#[test]
fn what_arrived_before_both_halves_were_closed_is_forwarded() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, forwarding(), ());
        driver.act(PLENTY);
        driver.give_receiver_room(0);
        arrive(&mut driver, "end\none\n");
        assert!(driver.is_output_closed());
        assert_eq!(forwarded(&driver), b"one\n", "which the receiver has no room for");
        arrive(&mut driver, "two\n");
        driver.act(Act::Fin);
        assert_eq!(driver.closed(), None, "{trigger:?}");
        assert_eq!(forwarded(&driver), b"one\n", "{trigger:?}");
        driver.give_receiver_room(100);
        assert_eq!(forwarded(&driver), b"one\ntwo\n");
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

/// Forwards everything, whatever happens in the other direction. A message ends its output.
pub(crate) struct Relay;

impl Protocol for Relay {
    type Local = ();
    type Message = Flow;

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), Flow>) -> Consumed {
        let link = context.link(forwarding().0).expect("a connection of the thread");
        Consumed::forward(input.len(), link)
    }

    fn on_message(&mut self, flow: &Flow, context: &mut Context<'_, (), Flow>) -> Flow {
        context.end_output();
        *flow
    }

    fn on_peer_finished(&mut self, _: &[u8], _: &mut Context<'_, (), Flow>) -> Flow {
        Flow::Keep
    }

    fn forwards_to(&self) -> Option<ConnectionId> {
        Some(forwarding().0)
    }
}

pub(crate) fn forwarded_by_relay(driver: &Driver<Relay>) -> Vec<u8> {
    driver.forwarded().iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

#[test]
fn one_that_forwards_everything_reads_while_its_output_waits() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Relay, ());
        driver.act(Act::Room(3));
        let from = Token::detached(9);
        assert!(driver.receive_forward(Forward::of(from, Token::detached(0), b"waits")));
        arrive(&mut driver, "one");
        assert_eq!(forwarded_by_relay(&driver), b"one", "{trigger:?}");
        // Silent while the receiver has no room, and read again when it has.
        driver.give_receiver_room(0);
        arrive(&mut driver, "two");
        arrive(&mut driver, "three");
        assert_eq!(forwarded_by_relay(&driver), b"onetwo", "{trigger:?}");
        driver.give_receiver_room(100);
        assert_eq!(forwarded_by_relay(&driver), b"onetwothree", "{trigger:?}");
        driver.act(Act::Fin);
        assert_eq!((driver.closed(), driver.sent()), (None, b"wai".to_vec()));
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"waits", "{trigger:?}");
        assert_eq!(driver.take_requests().len(), 1, "the one whose bytes waited is told");
        driver.finish();
        assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
    }
}

#[test]
fn one_that_ends_reads_no_more_while_its_output_waits() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Relay, ());
        let from = Token::detached(9);
        assert!(driver.receive_forward(Forward::of(from, Token::detached(0), b"waits")));
        driver.end();
        arrive(&mut driver, "late");
        assert_eq!(forwarded_by_relay(&driver), b"", "{trigger:?}");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), b"waits");
        assert!(driver.is_output_closed());
    }
}

#[test]
fn much_that_is_forwarded_goes_through_the_pipe_and_none_of_it_is_lost() {
    for trigger in BOTH {
        for piece_max in [64, 1000] {
            let limits = Limits { splice_bytes_max: NonZeroUsize::new(256), ..buffer(64) };
            let mut driver = Driver::with_limits(trigger, Relay, (), limits).with_pipe(piece_max);
            // The other direction is over, and does not matter.
            driver.act(Act::Room(3));
            assert!(driver.receive_forward(Forward::of(other(), Token::detached(0), b"waits")));
            let sent: Vec<u8> = (0..200).cycle().take(5000).collect();
            for piece in sent.chunks(1000) {
                arrive(&mut driver, piece);
            }
            assert_eq!(forwarded_by_relay(&driver), sent, "{trigger:?} {piece_max}");
            assert!(driver.piped() > 2000, "{} bytes", driver.piped());
            // Other connections come between two splices.
            assert!(driver.turns() >= driver.piped() / 256, "{} turns", driver.turns());
            assert_eq!(driver.counts().0, 5000);
            driver.give_receiver_room(100);
            arrive(&mut driver, &sent[..1000]);
            assert!(driver.is_paused(), "the receiver has no room");
            driver.give_receiver_room(5000);
            arrive(&mut driver, &sent[..1000]);
            assert_eq!(forwarded_by_relay(&driver).len(), 7000);
            driver.act(PLENTY);
            driver.act(Act::Fin);
            driver.end();
            assert_eq!(driver.closed(), Some(CloseReason::PeerClosed), "{trigger:?}");
        }
    }
}

#[test]
fn what_comes_in_a_pipe_is_sent_in_order_whatever_fits() {
    let from = Token::detached(9);
    let bytes: Vec<u8> = (0..100).collect();
    for trigger in BOTH {
        for room in [0, 1, 99, 100, 150] {
            let mut driver = Driver::new(trigger, Relay, ()).with_pipe(64);
            driver.act(Act::Room(room));
            assert_eq!(driver.receive_piped(from, &bytes), room < 100, "{trigger:?} {room}");
            assert_eq!(driver.receive_piped(from, &bytes), room < 200);
            driver.act(PLENTY);
            assert_eq!(driver.sent(), [&bytes[..], &bytes].concat(), "{trigger:?} {room}");
        }
        // One that does not forward what arrives itself may transform it.
        let mut driver = Driver::new(trigger, forwarding(), ()).with_pipe(64);
        driver.act(PLENTY);
        assert!(!driver.receive_piped(from, &bytes));
        assert_eq!((driver.sent(), driver.piped()), (bytes.clone(), 0));
        driver.end();
        assert!(!driver.receive_piped(from, &bytes), "it is dropped, pipe and all");
        assert_eq!(driver.sent(), bytes);
    }
}

/// Forwards a byte at a time, and asks for more than there may be.
struct Greedy;

impl Protocol for Greedy {
    type Local = ();
    type Message = Flow;

    fn on_input(&mut self, _: &mut [u8], context: &mut Context<'_, (), Flow>) -> Consumed {
        let link = context.link(forwarding().0).expect("a connection of the thread");
        Consumed { need: usize::MAX, ..Consumed::forward(1, link) }
    }
}

#[test]
fn a_need_beyond_the_limit_is_refused_also_behind_what_is_forwarded() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Greedy, ());
        driver.act(PLENTY);
        arrive(&mut driver, "ab");
        assert_eq!(driver.closed(), Some(CloseReason::InputTooLong), "{trigger:?}");
    }
}

/// Opens a connection of this thread that forwards, and returns what it answers to its first bytes.
fn first_step(thread: &mut ThreadState<Forwarding>) -> Step {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let (mut connection, token) = (Connection::new(forwarding(), ours), Token::detached(0));
    assert_eq!(connection.open(token, thread), Step::Wait);
    theirs.write_all(b"one").unwrap();
    connection.step(Readiness::IN, token, thread)
}

#[test]
fn there_is_no_link_to_a_connection_of_another_thread_or_to_one_that_threads_share() {
    let thread = |number| ThreadState::new(number, (), Limits::default(), Clocks::default());
    let mut own = thread(0);
    assert_eq!(first_step(&mut own), Step::Forward);
    assert!(own.has_forward());
    let forward = own.take_forward().unwrap();
    assert_eq!((forward.from(), forward.to()), (Token::detached(0), other()));
    assert_eq!((forward.bytes(), forward.readiness()), (&b"one"[..], Readiness::IN));
    assert!(!own.has_forward() && !forward.is_waiting());
    for mut strange in [thread(1), thread(0).without_links()] {
        assert_eq!(first_step(&mut strange), Step::Done(CloseReason::Aborted));
        assert!(!strange.has_forward());
    }
}

/// Notes whether there is a link: by itself, within a protocol that leaves its output as it is, within one
/// that transforms it, and within one that leaves that one's as it is.
struct Nested;

impl Protocol for Nested {
    type Local = Vec<bool>;
    type Message = ();

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, ()>,
    ) -> Consumed {
        let id = context.id();
        let mut links = vec![context.link(id).is_some()];
        links.push(context.within(|local| local, None).link(id).is_some());
        let mut output = Vec::new();
        let mut transformed = context.within(|local| local, Some(&mut output));
        links.push(transformed.link(id).is_some());
        links.push(transformed.within(|local| local, None).link(id).is_some());
        *context.local() = links;
        Consumed::bytes(input.len())
    }
}

#[test]
fn there_is_no_link_from_within_a_protocol_that_transforms_what_is_read() {
    let mut driver = Driver::new(BOTH[0], Nested, Vec::new());
    arrive(&mut driver, "x");
    assert_eq!(*driver.local(), [true, true, false, false]);
}

#[test]
fn either_and_a_box_take_what_is_forwarded_as_the_one_within_does() {
    fn sent<P: Protocol>(protocol: P, local: P::Local) -> Vec<u8> {
        let mut driver = Driver::new(BOTH[0], protocol, local);
        driver.act(PLENTY);
        assert!(!driver.receive_forward(to_receiver(b"ab")));
        driver.sent()
    }
    for (transforms, wanted) in [(false, b"ab"), (true, b"AB")] {
        let receiving = || Receiving { transforms };
        assert_eq!(sent(Either::<_, Receiving>::A(receiving()), ((), ())), wanted);
        assert_eq!(sent(Either::<Receiving, _>::B(receiving()), ((), ())), wanted);
        assert_eq!(sent(Box::new(receiving()), ()), wanted);
    }
}
