//! Random scripts: whatever happens in whatever order, the answers are those to the whole input.

use crate::forwarding::{Relay, forwarded_by_relay};
use crate::harness::{Calls, Frames, Obedient, buffer};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Consumed, Context, Flow, Forward, Limits, Protocol, Request};
use epoll_reactor::Token;
use proptest::prelude::*;
use proptest::test_runner::RngAlgorithm;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Returns a configuration with at least 1024 cases, or as many as `PROPTEST_CASES` says, and with the generator
/// that takes the least time without optimization.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.max(1024),
        rng_algorithm: RngAlgorithm::XorShift,
        ..config
    }
}

fn trigger() -> impl Strategy<Value = Trigger> {
    prop_oneof![Just(Trigger::Level), Just(Trigger::Edge)]
}

/// Something that happens besides the arrival of input.
fn disturbance() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1_usize..30).prop_map(Act::Room),
        1 => Just(Act::Interrupt),
        2 => Just(Act::Pass),
    ]
}

/// The pieces of an input, and the events between the pieces and during the turns.
#[derive(Clone, Debug)]
struct Script {
    trigger: Trigger,
    cuts: Vec<usize>,
    between: Vec<Act>,
    during: Vec<Act>,
    /// The peer closes its half with the last piece, and one report announces both.
    ends_with_the_last: bool,
    limits: Limits,
}

prop_compose! {
    fn script()(
        trigger in trigger(),
        cuts in prop::collection::vec(1_usize..20, 0..20),
        between in prop::collection::vec(disturbance(), 0..20),
        during in prop::collection::vec(disturbance(), 0..20),
        ends_with_the_last in any::<bool>(),
        buffer_len in 1_usize..40,
        step_bytes_max in 0_usize..60,
        output_max in 0_usize..40,
    ) -> Script {
        let limits = Limits { step_bytes_max, output_max, input_max: 200, ..buffer(buffer_len) };
        Script { trigger, cuts, between, during, ends_with_the_last, limits }
    }
}

impl Script {
    /// Drives a protocol through the script, and calls `each` after every piece.
    fn run<P: Protocol>(
        &self,
        protocol: P,
        local: P::Local,
        input: &[u8],
        mut each: impl FnMut(&mut Driver<P>),
    ) -> Driver<P> {
        let mut driver = Driver::with_limits(self.trigger, protocol, local, self.limits.clone());
        driver.act_during(self.during.clone());
        let mut between = self.between.iter().cloned();
        let mut rest = input;
        for cut in self.cuts.iter().copied().chain([usize::MAX]) {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            rest = tail;
            driver.prepare(Act::Arrive(piece.to_vec()));
            let is_end = self.ends_with_the_last && cut == usize::MAX;
            driver.act(if is_end { Act::Fin } else { Act::Pass });
            each(&mut driver);
            between.next().into_iter().for_each(|act| driver.act(act));
        }
        driver
    }
}

/// Something that happens to one side of a proxy.
#[derive(Clone, Debug)]
enum Event {
    Disturb(Act),
    /// This many bytes come from its peer.
    Arrive(usize),
    /// The other side has room for this many bytes more.
    Release(usize),
    /// The other side forwards this many bytes, in a pipe or not.
    Receive(usize, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        disturbance().prop_map(Event::Disturb),
        (1_usize..100).prop_map(Event::Arrive),
        (0_usize..100).prop_map(Event::Release),
        (1_usize..100, any::<bool>()).prop_map(|(len, is_piped)| Event::Receive(len, is_piped)),
    ]
}

/// Returns the next `len` bytes of a stream of which `stream` holds what came before.
fn next_bytes(stream: &mut Vec<u8>, len: usize) -> Vec<u8> {
    let begin = stream.len();
    stream.extend((0..251).cycle().skip(begin % 251).take(len));
    stream[begin..].to_vec()
}

/// Answers each line `n` with as many `.`, three at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Dots {
    /// The rest of the answer that is being produced, in bytes.
    left: Option<usize>,
}

impl Protocol for Dots {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            return Consumed::nothing();
        };
        self.left = std::str::from_utf8(&input[..end]).unwrap().parse().ok();
        Consumed::bytes(end + 1).then(Flow::Produce)
    }

    fn on_written(&mut self, context: &mut Context<'_, (), ()>) -> Flow {
        let Some(left) = self.left else { return Flow::Keep };
        if left == 0 {
            self.left = None;
            context.write(b"\n");
            return Flow::Keep;
        }
        let dots = left.min(3);
        self.left = Some(left - dots);
        context.write(&b"..."[..dots]);
        Flow::Produce
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn frames_come_back_once_and_in_order(
        script in script(),
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..8),
        cut_off in 0_usize..4,
    ) {
        let mut input: Vec<_> = frames.iter().flat_map(|frame| Frames::frame(frame)).collect();
        let whole = input.clone();
        // The beginning of a frame that never comes.
        input.extend(&Frames::frame(b"abcd")[..cut_off]);
        let mut driver = script.run(Frames, 0, &input, |_| {});
        driver.end_well();
        prop_assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
        prop_assert_eq!(driver.sent(), whole);
        prop_assert_eq!(driver.counts().0, input.len() as u64);
        // Each frame for its length, for its whole, and where a need was met by what was there.
        prop_assert!(*driver.local() <= 3 * frames.len() + 2);
    }

    #[test]
    fn a_side_of_a_proxy_passes_everything_on_in_both_directions(
        trigger in trigger(),
        events in prop::collection::vec(event(), 0..60),
        during in prop::collection::vec(disturbance(), 0..20),
        (buffer_len, step_bytes_max) in (1_usize..40, 0_usize..60),
        splice_bytes_max in prop::option::of(1_usize..200),
        piece_max in 1_usize..64,
        ends_first in any::<bool>(),
    ) {
        let splice_bytes_max = splice_bytes_max.and_then(NonZeroUsize::new);
        let limits = Limits { splice_bytes_max, step_bytes_max, ..buffer(buffer_len) };
        let mut driver = Driver::with_limits(trigger, Relay, (), limits).with_pipe(piece_max);
        driver.give_receiver_room(0);
        driver.act_during(during);
        let other = Token::detached(7);
        let (mut arrived, mut received) = (Vec::new(), Vec::new());
        let mut other_waits = false;
        for event in events {
            match event {
                Event::Disturb(act) => driver.act(act),
                Event::Arrive(len) => driver.act(Act::Arrive(next_bytes(&mut arrived, len))),
                Event::Release(room) => driver.give_receiver_room(room),
                // One that waits sends nothing until it is told.
                Event::Receive(..) if other_waits => {}
                Event::Receive(len, true) => {
                    other_waits = driver.receive_piped(other, &next_bytes(&mut received, len));
                }
                Event::Receive(len, false) => {
                    let bytes = next_bytes(&mut received, len);
                    other_waits = driver.receive_forward(Forward::of(other, Token::detached(0), &bytes));
                }
            }
            for request in driver.take_requests() {
                prop_assert!(matches!(request, Request::ResumeForwarding(to) if to == other));
                prop_assert!(other_waits, "it was told twice");
                other_waits = false;
            }
        }
        if ends_first {
            driver.message(&[Flow::Keep]);
        }
        driver.act(Act::Fin);
        driver.act(Act::Room(1 << 20));
        driver.give_receiver_room(1 << 20);
        if !ends_first {
            driver.message(&[Flow::Keep]);
        }
        prop_assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
        prop_assert_eq!(forwarded_by_relay(&driver), arrived);
        prop_assert_eq!(driver.sent(), received);
    }

    #[test]
    fn answers_of_any_length_are_produced_in_bounded_memory(
        script in script(),
        numbers in prop::collection::vec(0_usize..60, 0..8),
    ) {
        let input: String = numbers.iter().map(|number| format!("{number}\n")).collect();
        let expected: String =
            numbers.iter().map(|&number| ".".repeat(number) + "\n").collect();
        // A number and its line break have to fit.
        let mut script = script;
        script.limits.read_buffer_len = script.limits.read_buffer_len.saturating_add(3);
        let mut most = 0;
        let mut driver = script.run(Dots::default(), (), input.as_bytes(), |driver| {
            most = most.max(driver.counts().2);
        });
        driver.end_well();
        prop_assert_eq!(driver.closed(), Some(CloseReason::PeerClosed));
        prop_assert_eq!(String::from_utf8(driver.sent()).unwrap(), expected);
        prop_assert!(most <= 3, "{} bytes waited", most);
    }

    #[test]
    fn a_protocol_that_pauses_goes_on_with_each_message(
        script in script(),
        lines in prop::collection::vec(
            prop_oneof![Just("say ab"), Just("say c; pause"), Just("pause"), Just("say d; after 3; pause")],
            0..12,
        ),
        messages in prop::collection::vec(
            prop_oneof![Just("read"), Just("keep"), Just("read; say m"), Just("")],
            0..20,
        ),
        seconds in prop::collection::vec(0_u64..3, 0..20),
        ends in 0_usize..3,
    ) {
        let mut script = script;
        script.limits.read_buffer_len = script.limits.read_buffer_len.saturating_add(30);
        let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let protocol = Obedient { deadline: "read", finish: "say .", ..Obedient::NEW };
        let (mut messages, mut seconds) = (messages.into_iter(), seconds.into_iter());
        let mut said = 0;
        let mut driver = script.run(protocol, Calls::new(), input.as_bytes(), |driver| {
            let turn: Vec<_> = messages.next().into_iter().chain(messages.next()).collect();
            // One that is about to end gets no messages.
            if !driver.local().iter().any(|call| call.starts_with("peer finished")) {
                said += turn.iter().filter(|message| message.ends_with('m')).count();
            }
            driver.message(&turn);
            driver.pass_time(Duration::from_secs(seconds.next().unwrap_or(0)));
        });
        match ends {
            0 => {}
            1 => driver.finish(),
            _ => driver.drain(),
        }
        driver.end_well();
        for _ in 0..=lines.len() {
            driver.message(&["read"]);
        }
        let expected: String = lines
            .iter()
            .map(|line| line.split("say ").nth(1).map_or("", |rest| rest.split(';').next().unwrap()))
            .collect();
        let sent = String::from_utf8(driver.sent()).unwrap();
        prop_assert!(driver.closed().is_some());
        prop_assert_eq!(sent.matches('m').count(), said);
        prop_assert_eq!(sent.replace('m', ""), expected + ".");
    }
}
