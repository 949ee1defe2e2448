//! Every contestant does the same, in a script of random operations; and the measured operations,
//! small, which check themselves.

use epoll_kit_bench_timers::{
    DELAY_MAX, DelayQueue, HashWheel, Heap, Keeper, Population, SortedMap, Wheel, enter_runtime,
};
use fastrand::Rng;

/// Returns the values of the timers that fire at each step. They come in the order of their deadlines; those
/// of one deadline come in any order.
fn fired<T: Keeper>() -> Vec<(u64, Vec<u64>)> {
    let (mut timers, mut random, mut now) = (T::new(), Rng::with_seed(11), 0);
    let (mut keys, mut steps) = (Vec::new(), Vec::new());
    for value in 0..2_000 {
        keys.push(Some(timers.insert(now + 1 + random.u64(..DELAY_MAX), value)));
        for _ in 0..2 {
            let value = random.u64(..value + 1);
            let slot = &mut keys[usize::try_from(value).unwrap()];
            match (slot.as_mut(), random.u64(..3)) {
                (Some(key), 0) => assert!(timers.cancel(*key)),
                (Some(key), _) => {
                    let deadline = now + 1 + random.u64(..DELAY_MAX);
                    assert!(timers.reschedule(key, deadline, value));
                    continue;
                }
                (None, _) => {}
            }
            *slot = None;
        }
        now += random.u64(..20) * random.u64(..20);
        let mut values = Vec::new();
        timers.advance(now);
        timers.expire(now, |value| values.push(value));
        for value in &values {
            keys[usize::try_from(*value).unwrap()] = None;
        }
        values.sort_unstable();
        steps.push((now, values));
        assert_eq!(timers.len(), keys.iter().flatten().count());
    }
    steps
}

#[test]
fn every_contestant_fires_the_same_timers_at_the_same_times() {
    let _entered = enter_runtime();
    let expected = fired::<SortedMap>();
    assert!(expected.iter().map(|(_, values)| values.len()).sum::<usize>() > 500);
    for actual in [fired::<Wheel>(), fired::<DelayQueue>(), fired::<Heap>(), fired::<HashWheel>()] {
        assert_eq!(actual, expected);
    }
}

fn run_small<T: Keeper>() {
    for count in [1, 100, 10_000] {
        let mut population = Population::<T>::new(300);
        population.insert(count);
        population.cancel(count);
        population.reschedule(count);
        population.put_off(count);
        population.expire(count);
        population.insert(count);
    }
}

#[test]
fn every_measured_operation_checks_out() {
    let _entered = enter_runtime();
    run_small::<Wheel>();
    run_small::<DelayQueue>();
    run_small::<SortedMap>();
    run_small::<Heap>();
    run_small::<HashWheel>();
}
