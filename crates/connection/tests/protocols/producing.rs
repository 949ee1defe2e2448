//! Answers that are longer than what may wait in memory, and the budgets of a step.

use crate::harness::{BOTH, Obedient, PLENTY, arrive, buffer, obedient_with};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Consumed, Context, Flow, Limits, Protocol};

/// Answers every byte `n` with as many pieces of 10 bytes, one for each call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pieces(u8);

impl Pieces {
    fn produce(&mut self, context: &mut Context<'_, usize, ()>) -> Flow {
        if self.0 == 0 {
            return Flow::Keep;
        }
        *context.local() = (*context.local()).max(context.pending());
        context.write(&[self.0; 10]);
        self.0 -= 1;
        Flow::Produce
    }
}

impl Protocol for Pieces {
    /// The most that has waited when it was asked for more.
    type Local = usize;
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, usize, ()>) -> Consumed {
        self.0 = input[0];
        Consumed::bytes(1).then(self.produce(context))
    }

    fn on_written(&mut self, context: &mut Context<'_, usize, ()>) -> Flow {
        self.produce(context)
    }
}

fn pieces(bytes: &[u8]) -> Vec<u8> {
    let pieces = bytes.iter().flat_map(|&count| (1..=count).rev());
    pieces.flat_map(|byte| [byte; 10]).collect()
}

#[test]
fn an_answer_of_any_length_is_produced_piece_by_piece() {
    for trigger in BOTH {
        for room in [1, 9, 10, 11, 1 << 20] {
            let mut driver = Driver::new(trigger, Pieces::default(), 0);
            arrive(&mut driver, [3, 0, 2]);
            for _ in 0..60 {
                let waiting = driver.counts().2;
                assert!(waiting <= 10, "{waiting} bytes wait");
                driver.act(Act::Room(room));
            }
            assert_eq!(driver.sent(), pieces(&[3, 0, 2]), "{trigger:?} {room}");
            assert_eq!(*driver.local(), 0, "asked only when everything is sent");
        }
    }
}

#[test]
fn what_is_produced_counts_towards_the_budget() {
    for trigger in BOTH {
        let limits = Limits { step_bytes_max: 20, ..buffer(16) };
        let mut driver = Driver::with_limits(trigger, Pieces::default(), 0, limits);
        driver.act(PLENTY);
        arrive(&mut driver, [100]);
        assert_eq!(driver.sent(), pieces(&[100]));
        assert!(driver.turns() > 50, "{} turns", driver.turns());
    }
}

#[test]
fn a_protocol_that_produces_nothing_for_ever_lets_others_get_their_turn() {
    /// Has more to write, always, and never writes.
    struct Endless(u32);
    impl Protocol for Endless {
        type Local = ();
        type Message = ();

        fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
            Consumed::bytes(input.len()).then(Flow::Produce)
        }

        fn on_written(&mut self, _: &mut Context<'_, (), ()>) -> Flow {
            self.0 += 1;
            if self.0 < 100_000 { Flow::Produce } else { Flow::Finish }
        }
    }
    let mut driver = Driver::new(Trigger::Level, Endless(0), ());
    driver.act(PLENTY);
    arrive(&mut driver, "x");
    assert!(driver.is_output_closed());
    assert!(driver.turns() > 10, "{} turns", driver.turns());
}

#[test]
fn nothing_is_read_or_shown_while_an_answer_is_produced() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Pieces::default(), 0);
        arrive(&mut driver, [2]);
        arrive(&mut driver, [1]);
        assert_eq!(driver.counts().0, 1, "{trigger:?}");
        driver.act(Act::Room(15));
        assert_eq!(driver.counts().0, 1, "{trigger:?}");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), pieces(&[2, 1]));
    }
}

#[test]
fn output_that_had_to_wait_is_followed_by_written_and_other_output_is_not() {
    for trigger in BOTH {
        let mut driver = Driver::new(trigger, Obedient::NEW, Vec::new());
        driver.act(Act::Room(3));
        arrive(&mut driver, "say abc\n");
        assert_eq!(*driver.local(), ["open", "say abc"], "{trigger:?}");
        arrive(&mut driver, "say def\n");
        driver.act(Act::Room(2));
        assert_eq!(driver.local().len(), 3, "{trigger:?}");
        driver.act(Act::Room(2));
        assert_eq!(driver.local()[3..], ["written"], "{trigger:?}");
    }
}

#[test]
fn a_protocol_may_produce_without_having_written() {
    for trigger in BOTH {
        let protocol = Obedient { written: "say later", ..Obedient::NEW };
        let mut driver = obedient_with(trigger, protocol, Limits::default());
        arrive(&mut driver, "produce\nsay x\n");
        assert_eq!(driver.sent(), b"laterx", "{trigger:?}");
    }
}

#[test]
fn a_paused_protocol_goes_on_producing() {
    for trigger in BOTH {
        let protocol = Obedient { written: "say more", ..Obedient::NEW };
        let mut driver = obedient_with(trigger, protocol, Limits::default());
        arrive(&mut driver, "pause\n");
        driver.message(&["produce"]);
        assert_eq!(driver.sent(), b"more", "{trigger:?}");
        assert!(driver.is_paused());
    }
}

#[test]
fn a_step_reads_no_more_than_its_budget() {
    for trigger in BOTH {
        let limits = Limits { step_bytes_max: 32, ..buffer(16) };
        let mut driver = obedient_with(trigger, Obedient::NEW, limits);
        let turns = driver.turns();
        arrive(&mut driver, "say a\n".repeat(100));
        assert_eq!(driver.sent(), "a".repeat(100).as_bytes());
        // 600 bytes, at most 47 of them in each turn: the read that spends the budget may be a whole one.
        assert!(driver.turns() - turns >= 13, "{} turns", driver.turns() - turns);
    }
}

#[test]
fn a_step_shows_no_more_kept_input_than_its_budget() {
    for trigger in BOTH {
        // Each line is sent by itself, out of one read.
        let limits = Limits { step_bytes_max: 8, output_max: 1, ..buffer(1024) };
        let mut driver = obedient_with(trigger, Obedient::NEW, limits);
        let turns = driver.turns();
        arrive(&mut driver, "say abcd\n".repeat(50));
        assert_eq!(driver.sent(), "abcd".repeat(50).as_bytes());
        assert!(driver.turns() - turns >= 25, "{trigger:?} {}", driver.turns() - turns);
    }
}

#[test]
fn output_is_sent_within_a_step_when_much_has_gathered() {
    for trigger in BOTH {
        let limits = Limits { output_max: 8, ..buffer(1024) };
        let mut driver = obedient_with(trigger, Obedient::NEW, limits);
        arrive(&mut driver, "say abcd\n".repeat(6));
        assert_eq!(driver.sent(), "abcd".repeat(6).as_bytes());
        assert_eq!(driver.calls(), 4, "{trigger:?}: a read and three writes");
    }
}

#[test]
fn input_stops_where_output_has_to_wait() {
    for trigger in BOTH {
        let limits = Limits { output_max: 4, ..buffer(1024) };
        let mut driver = Driver::with_limits(trigger, Obedient::NEW, Vec::new(), limits);
        driver.act(Act::Room(6));
        arrive(&mut driver, "say abcd\n".repeat(6));
        assert_eq!(driver.counts(), (54, 6, 2, 36), "{trigger:?}");
        assert_eq!(driver.local().len(), 3, "{trigger:?}");
        driver.act(PLENTY);
        assert_eq!(driver.sent(), "abcd".repeat(6).as_bytes());
    }
}

/// Answers every byte with a million, and notes the room that the output has kept for that.
#[derive(Clone, Copy, Debug, Default)]
struct Huge {
    then: Flow,
}

impl Protocol for Huge {
    type Local = Vec<usize>;
    type Message = ();

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Vec<usize>, ()>,
    ) -> Consumed {
        let capacity = context.output().capacity();
        context.local().push(capacity);
        if input[0] == b'!' {
            context.write(&vec![0; 1_000_000]);
        }
        Consumed::bytes(1).then(self.then)
    }

    fn on_message(&mut self, (): &(), context: &mut Context<'_, Vec<usize>, ()>) -> Flow {
        context.write(&vec![0; 1_000_000]);
        Flow::Keep
    }
}

#[test]
fn a_huge_answer_does_not_keep_its_room_in_the_thread() {
    for (then, room) in [
        (Flow::Keep, 1 << 24),
        (Flow::Keep, 500_000),
        (Flow::Produce, 1 << 24),
        (Flow::Produce, 500_000),
        (Flow::Pause, 500_000),
    ] {
        let mut driver = Driver::new(Trigger::Level, Huge { then }, Vec::new());
        driver.act(Act::Room(room));
        arrive(&mut driver, "!");
        driver.act(PLENTY);
        let mut driver = check_room(driver, then);
        driver.end_well();
    }
    let mut driver = Driver::new(Trigger::Level, Huge::default(), Vec::new());
    driver.message(&[()]);
    driver.message(&[()]);
    driver.act(PLENTY);
    check_room(driver, Flow::Keep);
}

#[test]
fn an_answer_of_up_to_twice_what_may_gather_keeps_its_room_in_the_thread() {
    let limits = Limits { output_max: 600_000, ..Limits::default() };
    let mut driver = Driver::with_limits(Trigger::Level, Huge::default(), Vec::new(), limits);
    driver.act(PLENTY);
    arrive(&mut driver, "!");
    arrive(&mut driver, "?");
    let capacity = *driver.local().last().unwrap();
    assert!(capacity >= 1_000_000, "{capacity} bytes");
}

#[track_caller]
fn check_room(mut driver: Driver<Huge>, then: Flow) -> Driver<Huge> {
    assert_eq!(driver.counts().2, 0);
    let output_max = Limits::default().output_max;
    if then != Flow::Pause {
        arrive(&mut driver, "?");
        let capacity = *driver.local().last().unwrap();
        assert!(capacity <= 2 * output_max, "{capacity} bytes, {then:?}");
    }
    driver
}

#[test]
fn is_full_says_when_output_max_is_reached() {
    struct Fill;
    impl Protocol for Fill {
        type Local = usize;
        type Message = ();

        fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, usize, ()>) -> Consumed {
            for _ in 0..100 {
                if !context.is_full() {
                    context.write(b"abc");
                }
            }
            *context.local() = context.output().len();
            Consumed::bytes(input.len()).then(Flow::Finish)
        }
    }
    let limits = Limits { output_max: 8, ..Limits::default() };
    let mut driver = Driver::with_limits(Trigger::Edge, Fill, 0, limits);
    driver.act(PLENTY);
    arrive(&mut driver, "x");
    assert_eq!(*driver.local(), 9);
    driver.act(Act::Fin);
    assert_eq!(driver.closed(), Some(CloseReason::Finished));
}
