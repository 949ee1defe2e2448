//! Protocols made of others: one of two, and boxed ones.

use crate::harness::{Answers, BOTH, Calls, Obedient, ObedientContext, PLENTY, arrive};
use epoll_connection::test_kit::{Act, Driver};
use epoll_connection::{CloseReason, Consumed, Context, Either, Flow, Limits, Protocol};
use std::time::Duration;

const ALL: Obedient = Obedient {
    open: "say 1; after 1",
    overflow: "say 2; finish",
    peer_finished: "say 3; finish",
    written: "say 4",
    deadline: "say 5",
    drain: "say 6",
    finish: "say 7",
    close: "keep",
    is_busy: false,
};

/// Runs two connections that make the protocol call every callback.
fn call_everything<P: Protocol<Message = &'static str>>(
    protocol: impl Fn() -> P,
    local: impl Fn() -> P::Local,
) -> [Driver<P>; 2] {
    let limits = crate::harness::buffer(20);
    let driver = || {
        let mut driver = Driver::with_limits(BOTH[0], protocol(), local(), limits.clone());
        driver.act(PLENTY);
        driver
    };
    let mut first = driver();
    arrive(&mut first, "say a; produce\n");
    first.message(&["say b"]);
    first.pass_time(Duration::from_secs(1));
    first.drain();
    first.act(Act::Fin);
    assert_eq!(first.sent(), b"14a4b5637");
    assert_eq!(first.closed(), Some(CloseReason::PeerClosed));
    let mut second = driver();
    arrive(&mut second, "a line that is too long");
    second.act(Act::Fin);
    assert_eq!(second.sent(), b"1427");
    [first, second]
}

const FIRST_CALLS: [&str; 10] = [
    "open",
    "written",
    "say a; produce",
    "written",
    "message with 0 pending",
    "deadline",
    "drain",
    "peer finished after \"\"",
    "last words",
    "PeerClosed",
];
const SECOND_CALLS: [&str; 5] = ["open", "written", "overflow", "last words", "Finished"];

#[test]
fn either_delegates_every_callback_to_the_one_that_it_is_with_its_part_of_the_state() {
    type Two = Either<Obedient, Obedient>;
    let [mut first, mut second] = call_everything(|| Two::A(ALL), || (Calls::new(), Calls::new()));
    assert_eq!(first.local().0, FIRST_CALLS);
    assert_eq!(second.local().0, SECOND_CALLS);
    assert!(first.local().1.is_empty());
    let [mut first, mut second] = call_everything(|| Two::B(ALL), || (Calls::new(), Calls::new()));
    assert_eq!(first.local().1, FIRST_CALLS);
    assert_eq!(second.local().1, SECOND_CALLS);
    assert!(second.local().0.is_empty());
}

#[test]
fn a_boxed_protocol_is_called_like_the_one_within() {
    type Boxed = Box<dyn Protocol<Local = Calls, Message = &'static str>>;
    let [mut first, mut second] = call_everything(|| Box::new(ALL) as Boxed, Calls::new);
    assert_eq!(*first.local(), FIRST_CALLS);
    assert_eq!(*second.local(), SECOND_CALLS);
}

#[test]
fn either_and_a_box_are_busy_where_the_one_within_is() {
    type Two = Either<Obedient, Obedient>;
    type Boxed = Box<dyn Protocol<Local = Calls, Message = &'static str>>;
    for is_busy in [true, false] {
        let protocol = Obedient { is_busy, ..Obedient::NEW };
        assert_eq!(Two::A(protocol).is_busy(), is_busy);
        assert_eq!(Two::B(protocol).is_busy(), is_busy);
        assert_eq!((Box::new(protocol) as Boxed).is_busy(), is_busy);
    }
}

/// Passes everything back if the thread says so.
#[derive(Clone, Copy, Debug)]
struct Mirror;

impl Protocol for Mirror {
    type Local = bool;
    type Message = Flow;

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, bool, Flow>) -> Consumed {
        Consumed::bytes(input.len())
    }

    fn passes_everything(&self, local: &bool) -> bool {
        *local
    }
}

#[test]
fn either_and_a_box_pass_everything_where_the_one_within_does() {
    for passes in [true, false] {
        let sent: &[u8] = if passes { b"abc" } else { b"" };
        let mut driver =
            Driver::new(BOTH[0], Either::<Mirror, Answers>::A(Mirror), (passes, Vec::new()));
        driver.act(PLENTY);
        arrive(&mut driver, "abc");
        assert_eq!(driver.sent(), sent);
        let mut driver =
            Driver::new(BOTH[0], Either::<Answers, Mirror>::B(Mirror), (Vec::new(), passes));
        driver.act(PLENTY);
        arrive(&mut driver, "abc");
        assert_eq!(driver.sent(), sent);
        let mut driver = Driver::new(BOTH[0], Box::new(Mirror), passes);
        driver.act(PLENTY);
        arrive(&mut driver, "abc");
        assert_eq!(driver.sent(), sent);
    }
}

/// Doubles what the protocol within writes, and takes its input as it comes.
struct Doubled(Obedient);

impl Protocol for Doubled {
    type Local = (usize, Calls);
    type Message = &'static str;

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, Self::Message>,
    ) -> Consumed {
        let mut output = Vec::new();
        let mut inner: ObedientContext<'_> = context.within(|(_, calls)| calls, Some(&mut output));
        let consumed = self.0.on_input(input, &mut inner);
        for byte in output {
            context.write(&[byte; 2]);
        }
        context.local().0 += 1;
        consumed
    }
}

#[test]
fn a_protocol_around_another_transforms_what_it_writes() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Doubled(Obedient::NEW), (0, Calls::new()));
        driver.act(PLENTY);
        arrive(&mut driver, "say ab; after 7\nsay c; end\n");
        assert_eq!(driver.sent(), b"aabbcc", "{trigger:?}");
        assert_eq!(*driver.local(), (2, vec!["say ab; after 7".into(), "say c; end".into()]));
        assert_eq!(driver.timer_changes(), 1, "the deadline is that of the connection");
        assert!(driver.is_output_closed());
    }
}

/// Writes the limits that it sees, from within another protocol.
struct Bounds;

impl Protocol for Bounds {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, (), ()>) -> Consumed {
        let inner = context.within(|local| local, None);
        let (input_max, output_max) = (inner.limits().input_max, inner.limits().output_max);
        context.write(format!("{input_max} {output_max}").as_bytes());
        Consumed::bytes(input.len())
    }
}

#[test]
fn a_protocol_within_another_sees_the_limits_of_the_connection() {
    let limits = Limits { input_max: 12, output_max: 34, ..Limits::default() };
    let mut driver = Driver::with_limits(BOTH[0], Bounds, (), limits);
    driver.act(PLENTY);
    arrive(&mut driver, "?");
    assert_eq!(driver.sent(), b"12 34");
}
