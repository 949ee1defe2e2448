//! The wheel against a sorted map, in runs of random operations: never early, never a tick late, in
//! order, nothing lost or mixed up, and no pass that does more than it may.

mod queue;
mod script;

use crate::support::{HOUR, MILLISECOND, NANOSECOND, SECOND, STEPS_MAX};
use epoll_kit_testing::Random;
use epoll_timers::{Clock, Monotonic, Realtime};
use proptest::prelude::*;
use script::{Action, Handler, Jump, Op, Pick, Run, Then, When};

/// Times of a day and some hours.
const BITS_MAX: u64 = 47;

fn many_operations<C: Clock>(clock: C, count: usize) {
    let mut random = Random::seeded(1);
    let mut run = Run::new(clock, MILLISECOND);
    let mut most = 0;
    for _ in 0..count {
        run.apply(&op(&mut random));
        most = most.max(run.len());
    }
    assert!(most > 500, "only {most} timers at a time");
    run.apply(&Op::Finish(100));
}

#[test]
fn a_million_operations_do_what_a_sorted_map_does() {
    many_operations(Monotonic, 1_000_000);
}

#[test]
fn many_operations_on_a_clock_that_is_set_do_what_a_sorted_map_does() {
    // Each time that it is set back costs a step for each timer.
    many_operations(Realtime, 100_000);
}

#[test]
fn any_tick_does_what_a_sorted_map_does() {
    fn operations<C: Clock>(clock: C, tick: std::time::Duration) {
        let mut random = Random::seeded(2);
        let mut run = Run::new(clock, tick);
        for _ in 0..50_000 {
            run.apply(&op(&mut random));
        }
    }
    for tick in [NANOSECOND, 1000 * NANOSECOND, SECOND, HOUR] {
        operations(Monotonic, tick);
        operations(Realtime, tick);
    }
}

fn op(random: &mut Random) -> Op {
    match random.below(100) {
        0..32 => Op::Insert(when(random)),
        32..44 => Op::Cancel(pick(random)),
        44..70 => Op::Reschedule(pick(random), when(random)),
        70..92 => Op::Expire(jump(random), steps(random), handlers(random)),
        92..94 => Op::LeaveEarly(jump(random), steps(random), handlers(random)),
        94..97 => Op::Finish(steps(random)),
        97 => Op::Shrink,
        _ => Op::Stranger(index(random)),
    }
}

fn handlers(random: &mut Random) -> Vec<Handler> {
    (0..random.below(6)).map(|_| handler(random)).collect()
}

fn handler(random: &mut Random) -> Handler {
    let actions = (0..random.below(4)).map(|_| action(random)).collect();
    let then = match random.below(8) {
        0..4 => Then::End,
        4..7 => Then::Restart(when(random)),
        _ => Then::RestartLate(when(random)),
    };
    Handler { actions, then }
}

fn action(random: &mut Random) -> Action {
    match random.below(10) {
        0 => Action::Insert(when(random)),
        1..5 => Action::Cancel(pick(random)),
        5..8 => Action::Reschedule(pick(random), when(random)),
        8 => Action::CancelItself,
        _ => Action::RescheduleItself(when(random)),
    }
}

fn when(random: &mut Random) -> When {
    match random.below(100) {
        0..30 => When::In(random.of_any_size(BITS_MAX)),
        30..60 => When::Ticks(random.below(70)),
        60..70 => {
            let list = 1 << (6 * random.below(4));
            When::Ticks(list * random.below(70) + random.below(3))
        }
        70..80 => When::Ago(random.of_any_size(BITS_MAX)),
        80..99 => When::SameAs(pick(random)),
        _ => When::Never,
    }
}

fn jump(random: &mut Random) -> Jump {
    match random.below(1000) {
        0..900 => Jump::On(random.of_any_size(27)),
        900..980 => Jump::Back(random.of_any_size(27)),
        980..997 => Jump::On(random.of_any_size(42)),
        _ => Jump::On(random.of_any_size(50)),
    }
}

fn pick(random: &mut Random) -> Pick {
    match random.below(3) {
        0 => Pick::Early(index(random) % 8),
        _ => Pick::Any(index(random)),
    }
}

fn steps(random: &mut Random) -> usize {
    usize::try_from(random.of_any_size(10)).unwrap()
}

fn index(random: &mut Random) -> usize {
    usize::try_from(random.below(1 << 30)).unwrap()
}

proptest! {
    /// The same, in runs that shrink.
    #[test]
    fn a_short_run_does_what_a_sorted_map_does(
        tick in prop::sample::select(vec![NANOSECOND, MILLISECOND, HOUR]),
        ops in prop::collection::vec(any_op(), 1..60),
    ) {
        let (mut never_set, mut set) = (Run::new(Monotonic, tick), Run::new(Realtime, tick));
        for op in &ops {
            never_set.apply(op);
            set.apply(op);
        }
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let steps = || prop_oneof![Just(STEPS_MAX), 0..5_usize];
    let jump = || {
        prop_oneof![
            9 => any_time().prop_map(Jump::On),
            1 => any_time().prop_map(Jump::Back),
        ]
    };
    let handlers = || prop::collection::vec(any_handler(), 0..4);
    prop_oneof![
        4 => any_when().prop_map(Op::Insert),
        1 => any_pick().prop_map(Op::Cancel),
        2 => (any_pick(), any_when()).prop_map(|(pick, when)| Op::Reschedule(pick, when)),
        3 => (jump(), steps(), handlers())
            .prop_map(|(jump, steps_max, handlers)| Op::Expire(jump, steps_max, handlers)),
        1 => (jump(), 0..4_usize, handlers())
            .prop_map(|(jump, fired_max, handlers)| Op::LeaveEarly(jump, fired_max, handlers)),
        1 => steps().prop_map(Op::Finish),
        1 => (0..64_usize).prop_map(Op::Stranger),
        1 => Just(Op::Shrink),
    ]
}

fn any_handler() -> impl Strategy<Value = Handler> {
    let then = prop_oneof![
        2 => Just(Then::End),
        3 => any_when().prop_map(Then::Restart),
        1 => any_when().prop_map(Then::RestartLate),
    ];
    let action = prop_oneof![
        any_when().prop_map(Action::Insert),
        any_pick().prop_map(Action::Cancel),
        (any_pick(), any_when()).prop_map(|(pick, when)| Action::Reschedule(pick, when)),
        Just(Action::CancelItself),
        any_when().prop_map(Action::RescheduleItself),
    ];
    (prop::collection::vec(action, 0..4), then)
        .prop_map(|(actions, then)| Handler { actions, then })
}

fn any_when() -> impl Strategy<Value = When> {
    prop_oneof![
        3 => (0..200_u64).prop_map(When::Ticks),
        3 => any_time().prop_map(When::In),
        1 => any_time().prop_map(When::Ago),
        3 => any_pick().prop_map(When::SameAs),
        1 => Just(When::Never),
    ]
}

/// Short ones, and up to five days.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![0..200_u64, 0..200_000_000_u64, 0..1_u64 << 49]
}

fn any_pick() -> impl Strategy<Value = Pick> {
    prop_oneof![(0..4_usize).prop_map(Pick::Early), (0..64_usize).prop_map(Pick::Any)]
}
