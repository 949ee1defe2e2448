//! Tests of the wheel of levels at its edges: their boundaries, the wrap of their lists, the end of
//! time, jumps, timers that are moved, and the number of wake-ups that it requests for nothing.

use crate::support::{
    HOUR, LEVELS, MILLISECOND, NANOSECOND, SECOND, at, fired, fired_at_most, is_complete,
    run_to_next, wheel, wheel_of,
};
use epoll_kit_testing::Random;
use epoll_timers::{Timestamp, Wheel};
use std::time::Duration;

/// Ticks before, at and after the boundaries of the levels.
fn boundaries() -> impl Iterator<Item = u64> {
    let powers = (0..LEVELS).map(|level| 1_u64 << (6 * level));
    powers.flat_map(|list| [list - 1, list, list + 1, 2 * list - 1, 2 * list]).filter(|t| *t > 0)
}

/// A wheel whose last pass was at this tick.
fn wheel_at<V>(present: u64) -> Wheel<V> {
    let mut wheel = wheel();
    assert!(fired(&mut wheel, at(present)).is_empty());
    wheel
}

#[test]
fn each_side_of_a_boundary_fires_in_its_tick() {
    for present in boundaries().chain([0]) {
        for distance in boundaries() {
            let due = present + distance;
            let mut wheel = wheel_at(present);
            wheel.insert(at(due), due);
            assert_eq!(fired(&mut wheel, at(due - 1)), [], "{distance} from {present}");
            assert_eq!(fired(&mut wheel, at(due)), [due], "{distance} from {present}");
        }
    }
}

#[test]
fn timers_on_all_levels_fire_in_the_order_of_their_ticks() {
    let mut ticks: Vec<_> = boundaries().collect();
    let mut wheel = wheel();
    Random::seeded(3).shuffle(&mut ticks);
    for tick in &ticks {
        wheel.insert(at(*tick), *tick);
    }
    ticks.sort_unstable();
    assert_eq!(fired(&mut wheel, at(u64::MAX)), ticks);
}

#[test]
fn lists_are_used_again_when_their_level_wraps() {
    for period in [1, 63, 64, 65, 127, 128, 4095, 4096, 4097] {
        let mut wheel = wheel();
        let key = wheel.insert(at(period), ());
        for now in 1..=3 * 4096 + 65 {
            let mut count = 0;
            while let Some(fired) = wheel.next_due(at(now)) {
                assert_eq!((fired.key, fired.deadline), (key, at(now)));
                assert_eq!(wheel.restart(fired, at(now + period)), key);
                count += 1;
            }
            assert_eq!(count, u64::from(now % period == 0), "{now}, every {period}");
        }
    }
}

#[test]
fn the_last_tick_fires_and_time_goes_no_further() {
    let mut wheel = wheel();
    for (value, deadline) in [at(u64::MAX), Timestamp::MAX, at(u64::MAX - 1)].iter().enumerate() {
        wheel.insert(*deadline, value);
    }
    assert_eq!(fired(&mut wheel, at(u64::MAX - 1)), []);
    assert_eq!(wheel.next_expiry(), Some(Timestamp::MAX));
    assert_eq!(fired(&mut wheel, Timestamp::MAX), [0, 1, 2]);
    assert_eq!(wheel.next_expiry(), None);
}

#[test]
fn huge_durations_clamp_with_any_tick() {
    let (end, longest) = (Timestamp::MAX, Timestamp::MAX.since_epoch());
    for tick in [NANOSECOND, 3 * NANOSECOND, 1000 * NANOSECOND, MILLISECOND, SECOND, HOUR, longest]
    {
        let mut wheel = wheel_of(tick);
        let huge =
            [Duration::MAX, Duration::from_secs(u64::MAX), longest].map(Timestamp::after_epoch);
        for (value, deadline) in huge.iter().enumerate() {
            let key = wheel.insert(Timestamp::EPOCH + SECOND, value);
            assert!(wheel.reschedule(key, *deadline));
            wheel.insert(*deadline, value);
        }
        assert!(wheel.next_expiry().is_some_and(|next| next <= end), "{tick:?}");
        assert_eq!(fired(&mut wheel, end - NANOSECOND), [], "{tick:?}");
        let mut values = fired(&mut wheel, end);
        values.sort_unstable();
        assert_eq!(values, [0, 0, 1, 1, 2, 2], "{tick:?}");
    }
}

#[test]
fn a_wheel_is_never_early_near_the_end_of_time() {
    let end = Timestamp::MAX.as_nanos();
    for shift in [0, 1, 2, 3, 19, 20, 62, 63] {
        let tick = 1_u64 << shift;
        // The last ticks, and a little on each side of where they begin.
        let begins = (0..3).map(|ticks| (end >> shift).saturating_sub(ticks) << shift);
        let near = begins
            .flat_map(|begin| (0..5).map(move |by| begin.saturating_sub(2).saturating_add(by)));
        let mut times: Vec<_> = near.chain((0..5).map(|back| end - back)).map(at).collect();
        times.sort_unstable();
        for deadline in times.clone() {
            let mut wheel = wheel_of(Duration::from_nanos(tick));
            wheel.insert(deadline, ());
            let mut firings = 0;
            for now in &times {
                let count = fired_at_most(&mut wheel, *now).len();
                assert!(count == 0 || *now >= deadline, "{deadline:?} at {now:?}, tick {tick}");
                firings += count;
            }
            assert_eq!(firings, 1, "{deadline:?}, tick {tick}");
        }
    }
}

#[test]
fn a_timer_of_the_past_fires_in_the_next_tick() {
    for past in [at(0), at(1), at(999), at(1000)] {
        let mut wheel = wheel_at(1000);
        wheel.insert(past, ());
        assert_eq!(wheel.next_expiry(), Some(at(1001)));
        assert_eq!(fired(&mut wheel, at(1000)), []);
        assert_eq!(fired(&mut wheel, at(1001)), [()]);
    }
}

#[test]
fn a_deadline_within_a_tick_fires_with_the_next_one() {
    let mut wheel = wheel_of(8 * NANOSECOND);
    for deadline in 1..=17 {
        wheel.insert(at(deadline), deadline);
    }
    assert_eq!(fired(&mut wheel, at(7)), []);
    assert_eq!(fired(&mut wheel, at(8)), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(fired(&mut wheel, at(23)), [9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(fired(&mut wheel, at(24)), [17]);
}

#[test]
fn a_timer_that_is_set_earlier_or_later_fires_once_when_it_then_should() {
    let ticks = [20, 63, 64, 65, 200, 4095, 4096, 4097, 1 << 18];
    for before in ticks {
        for after in ticks {
            let mut wheel = wheel_at(10);
            let key = wheel.insert(at(before), ());
            assert!(wheel.reschedule(key, at(after)));
            assert!(wheel.next_expiry().unwrap() <= at(after));
            assert_eq!(fired(&mut wheel, at(after - 1)), [], "{before} to {after}");
            assert_eq!(fired(&mut wheel, at(after)), [()], "{before} to {after}");
            assert_eq!(fired(&mut wheel, at(1 << 20)), []);
        }
    }
}

#[test]
fn a_timer_that_was_put_off_can_be_set_earlier_again() {
    for (second, third) in [(4096, 200), (200, 99), (101, 100), (1 << 18, 101)] {
        let mut wheel = wheel();
        let key = wheel.insert(at(100), ());
        assert!(wheel.reschedule(key, at(second)));
        assert!(wheel.reschedule(key, at(third)));
        assert_eq!(fired(&mut wheel, at(third - 1)), []);
        assert_eq!(fired(&mut wheel, at(third)), [()]);
        assert_eq!(fired(&mut wheel, at(1 << 20)), []);
    }
}

#[test]
fn after_it_fired_only_a_timer_that_goes_on_has_another_deadline() {
    let mut wheel = wheel();
    let (ends, goes_on) = (wheel.insert(at(5), "ends"), wheel.insert(at(5), "goes on"));
    assert_eq!(wheel.next_due(at(5)).unwrap().key, ends);
    let fired_timer = wheel.next_due(at(5)).unwrap();
    assert_eq!(wheel.restart(fired_timer, at(500)), goes_on);
    assert_eq!(wheel.next_due(at(5)), None);
    assert!(!wheel.reschedule(ends, at(6)));
    assert!(wheel.reschedule(goes_on, at(7)));
    assert!(fired(&mut wheel, at(6)).is_empty());
    assert_eq!(fired(&mut wheel, at(7)), ["goes on"]);
    assert!(!wheel.reschedule(goes_on, at(8)));
}

#[test]
fn what_a_handler_inserts_or_puts_off_waits_for_the_next_pass() {
    let mut wheel = wheel();
    wheel.insert(at(10), 1);
    let (second, third) = (wheel.insert(at(10), 2), wheel.insert(at(90), 3));
    let first = wheel.next_due(at(100)).unwrap();
    assert_eq!(first.value, 1);
    wheel.insert(at(0), 4);
    assert!(wheel.reschedule(second, at(20)));
    assert_eq!(wheel.cancel(third), Some(3));
    wheel.restart(first, at(50));
    assert_eq!(wheel.next_due(at(100)), None);
    assert_eq!(wheel.next_expiry(), Some(at(101)));
    let mut values = fired(&mut wheel, at(101));
    values.sort_unstable();
    assert_eq!(values, [1, 2, 4]);
}

#[test]
fn one_tick_fires_in_the_order_of_insertion_whatever_the_levels() {
    let mut wheel = wheel();
    for (value, now) in [0, 1, 4000, 4096, 4100, 4159, 4160, 4161].into_iter().enumerate() {
        assert_eq!(fired(&mut wheel, at(now)), []);
        wheel.insert(at(4170), value);
    }
    assert_eq!(fired(&mut wheel, at(4170)), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn what_is_inserted_while_a_list_moves_down_comes_after_it() {
    // By a handler: the list of 64 to 127 is in hand, and its second timer has yet to move.
    let mut wheel = wheel();
    wheel.insert(at(64), "first");
    wheel.insert(at(70), "before");
    assert_eq!(wheel.next_due(at(64)).unwrap().value, "first");
    wheel.insert(at(70), "after");
    assert_eq!(wheel.next_due(at(64)), None);
    assert_eq!(fired(&mut wheel, at(70)), ["before", "after"]);

    // Between two passes, of which the first is not complete.
    wheel.insert(at(128), "first");
    wheel.insert(at(150), "before");
    wheel.set_steps_max(1);
    assert_eq!(fired_at_most(&mut wheel, at(128)), ["first"]);
    assert!(!is_complete(&wheel, at(128)));
    wheel.set_steps_max(10);
    wheel.insert(at(150), "after");
    assert_eq!(fired(&mut wheel, at(150)), ["before", "after"]);
}

#[test]
fn a_timer_alone_in_its_list_fires_in_its_turn() {
    let mut wheel = wheel();
    // Put off past the others, it is not in the list where it belongs.
    let alone = wheel.insert(at(70), "last");
    wheel.insert(at(5000), "second");
    wheel.insert(at(300), "first");
    assert!(wheel.reschedule(alone, at(9000)));
    assert_eq!(fired(&mut wheel, at(10_000)), ["first", "second", "last"]);

    // What its handler inserts comes after it, and in order.
    wheel.insert(at(20_000), "alone");
    assert_eq!(wheel.next_due(at(20_010)).map(|fired| fired.value), Some("alone"));
    wheel.insert(at(20_030), "later");
    wheel.insert(at(20_020), "sooner");
    assert_eq!(wheel.next_due(at(20_010)), None);
    assert!(fired(&mut wheel, at(20_019)).is_empty());
    assert_eq!(fired(&mut wheel, at(20_040)), ["sooner", "later"]);
}

#[test]
fn a_list_of_many_chunks_moves_down_in_its_order() {
    let mut wheel = wheel();
    wheel.set_steps_max(37);
    let keys: Vec<_> = (0..1000).map(|value| wheel.insert(at(4096 + value % 3), value)).collect();
    for key in keys.iter().skip(5).step_by(7) {
        assert!(wheel.cancel(*key).is_some());
    }
    let mut values = Vec::new();
    while !is_complete(&wheel, at(5000)) {
        values.extend(fired_at_most(&mut wheel, at(5000)));
    }
    let mut expected: Vec<_> = (0..1000).filter(|value| value % 7 != 5).collect();
    expected.sort_by_key(|value| value % 3);
    assert_eq!(values, expected);
}

#[test]
fn a_jump_of_hours_with_a_million_due_is_many_small_passes() {
    const TIMERS: usize = 1_000_000;
    const STEPS: usize = 1000;
    let mut wheel = Wheel::new(MILLISECOND).unwrap();
    let mut random = Random::seeded(4);
    for _ in 0..TIMERS {
        let deadline = at(random.below(3_600_000_000_000)) + HOUR;
        wheel.insert(deadline, deadline);
    }
    wheel.set_steps_max(STEPS);
    let (mut count, mut last) = (0, Timestamp::EPOCH);
    // Two hours are 2^24 ticks, which is four levels: three moves, and the shot.
    for _ in 0..=4 * TIMERS / STEPS {
        let before = count;
        while let Some(fired) = wheel.next_due(Timestamp::EPOCH + 10 * HOUR) {
            let deadline = fired.value;
            assert!(deadline + wheel.tick() > last, "{deadline:?} after {last:?}");
            last = last.max(deadline);
            count += 1;
        }
        assert!(count - before <= STEPS);
    }
    assert_eq!((count, wheel.next_expiry()), (TIMERS, None));
}

#[test]
fn an_empty_wheel_jumps_at_no_cost() {
    let mut wheel = wheel();
    for now in [at(1), at(1 << 20), Timestamp::EPOCH + 365 * 24 * HOUR] {
        assert_eq!(fired(&mut wheel, now), []);
        assert_eq!(wheel.next_expiry(), None);
        wheel.insert(now + NANOSECOND, ());
        assert_eq!(wheel.next_expiry(), Some(now + NANOSECOND));
        assert_eq!(fired(&mut wheel, now + NANOSECOND), [()]);
    }
}

#[test]
fn a_far_deadline_takes_one_empty_pass_a_level() {
    for due in boundaries().filter(|due| *due > 1).chain([u64::MAX]) {
        let mut wheel = wheel_at(1);
        wheel.insert(at(due), ());
        let (now, empty_passes) = run_to_next(&mut wheel);
        assert_eq!(now, at(due));
        let level = (due ^ 1).ilog2() / 6;
        assert!(empty_passes <= level as usize, "{empty_passes} passes before {due}");
    }
}

#[test]
fn timers_that_are_put_off_take_one_empty_pass_for_each_old_list() {
    const OLD: usize = 10;
    for later in [130, 5000, 1 << 20] {
        let mut wheel = wheel();
        let keys: Vec<_> =
            (0..OLD * 100).map(|n| wheel.insert(at(n as u64 / 100 + 5), n)).collect();
        for by in 1..100 {
            for key in &keys {
                assert!(wheel.reschedule(*key, at(later - 100 + by)));
            }
            assert_eq!(wheel.next_expiry(), Some(at(5)), "it is a store");
        }
        let (now, empty_passes) = run_to_next(&mut wheel);
        assert_eq!((now, wheel.len()), (at(later - 1), 0));
        assert!(empty_passes <= OLD + LEVELS, "{empty_passes} passes");
    }
}

#[test]
fn after_the_end_of_time_nothing_fires_and_nothing_spins() {
    for tick in [NANOSECOND, MILLISECOND] {
        let mut wheel = Wheel::new(tick).unwrap();
        assert!(fired(&mut wheel, Timestamp::MAX).is_empty());
        wheel.insert(at(5), 1);
        assert_eq!(fired_at_most(&mut wheel, Timestamp::MAX), []);
        assert_eq!(wheel.next_expiry(), Some(Timestamp::MAX), "{tick:?}");
    }
}
