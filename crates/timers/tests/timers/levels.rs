//! Where a wheel of levels could go wrong: their boundaries, the wrap of their lists, the end of
//! time, jumps, timers that are moved, and how often it asks to be looked at for nothing.

use crate::support::{
    HOUR, LEVELS, MILLISECOND, NANOSECOND, SECOND, at, fired, run_to_next, wheel,
};
use epoll_kit_testing::Random;
use epoll_timers::{Pass, Timestamp, Wheel};
use std::time::Duration;

/// Ticks before, at and after the boundaries of the levels.
fn boundaries() -> impl Iterator<Item = u64> {
    let powers = (0..LEVELS).map(|level| 1_u64 << (6 * level));
    powers.flat_map(|list| [list - 1, list, list + 1, 2 * list - 1, 2 * list]).filter(|t| *t > 0)
}

/// A wheel whose last pass was at this tick.
fn wheel_at<V>(present: u64) -> Wheel<V> {
    let mut wheel = wheel();
    let pass = wheel.expire(at(present), 1, |_, _| None);
    assert_eq!(pass, Pass { fired: 0, is_complete: true });
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
            let pass = wheel.expire(at(now), 100, |_, fired| {
                assert_eq!(fired, key);
                Some(at(now + period))
            });
            assert_eq!(pass.fired, usize::from(now % period == 0), "{now}, every {period}");
        }
    }
}

#[test]
fn the_last_tick_fires_and_time_goes_no_further() {
    let mut wheel = wheel();
    for (value, deadline) in [at(u64::MAX), Timestamp::MAX, at(u64::MAX - 1)].iter().enumerate() {
        wheel.insert(*deadline, value);
    }
    assert_eq!(fired(&mut wheel, at(u64::MAX - 2)), []);
    assert_eq!(fired(&mut wheel, at(u64::MAX - 1)), [2]);
    assert_eq!(wheel.next_expiry(), Some(at(u64::MAX)));
    assert_eq!(fired(&mut wheel, Timestamp::MAX), [0, 1]);
    assert_eq!(wheel.next_expiry(), None);
}

#[test]
fn huge_durations_clamp_with_any_tick() {
    let (end, longest) = (Timestamp::MAX, Timestamp::MAX.since_epoch());
    for tick in [NANOSECOND, 3 * NANOSECOND, 1000 * NANOSECOND, MILLISECOND, SECOND, HOUR, longest]
    {
        let mut wheel = Wheel::new(tick).unwrap();
        let huge =
            [Duration::MAX, Duration::from_secs(u64::MAX), longest].map(Timestamp::after_epoch);
        for (value, deadline) in huge.iter().enumerate() {
            let key = wheel.insert(Timestamp::EPOCH + SECOND, value);
            assert!(wheel.reschedule(key, *deadline));
            wheel.insert(*deadline, value);
        }
        let last = end - Duration::from_nanos(u64::MAX % tick_nanoseconds(&wheel));
        assert!(wheel.next_expiry().is_some_and(|next| next <= last), "{tick:?}");
        assert_eq!(fired(&mut wheel, last - NANOSECOND), [], "{tick:?}");
        let mut values = fired(&mut wheel, end);
        values.sort_unstable();
        assert_eq!(values, [0, 0, 1, 1, 2, 2], "{tick:?}");
    }
}

fn tick_nanoseconds<V>(wheel: &Wheel<V>) -> u64 {
    u64::try_from(wheel.tick().as_nanos()).unwrap()
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
    let mut wheel = Wheel::new(8 * NANOSECOND).unwrap();
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
    let pass = wheel.expire(at(5), 10, |_, key| (key == goes_on).then_some(at(500)));
    assert_eq!(pass.fired, 2);
    assert!(!wheel.reschedule(ends, at(6)));
    assert!(wheel.reschedule(goes_on, at(7)));
    assert!(fired(&mut wheel, at(6)).is_empty());
    assert_eq!(fired(&mut wheel, at(7)), ["goes on"]);
    assert!(!wheel.reschedule(goes_on, at(8)));
}

#[test]
fn what_a_handler_inserts_or_puts_off_waits_for_the_next_pass() {
    let mut wheel = wheel();
    let first = wheel.insert(at(10), 1);
    let (second, third) = (wheel.insert(at(10), 2), wheel.insert(at(90), 3));
    let mut order = Vec::new();
    let pass = wheel.expire(at(100), 10, |wheel, key| {
        order.push(*wheel.get(key).unwrap());
        wheel.insert(at(0), 4);
        assert!(wheel.reschedule(second, at(20)));
        assert_eq!(wheel.cancel(third).is_some(), key == first);
        Some(at(50))
    });
    assert_eq!((pass.fired, order), (1, vec![1]));
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
    let pass = wheel.expire(at(64), 10, |wheel, _| {
        wheel.insert(at(70), "after");
        None
    });
    assert_eq!(pass, Pass { fired: 1, is_complete: true });
    assert_eq!(fired(&mut wheel, at(70)), ["before", "after"]);

    // Between two steps of a pass.
    wheel.insert(at(128), "first");
    wheel.insert(at(150), "before");
    let pass = wheel.expire(at(128), 1, |_, _| None);
    assert_eq!(pass, Pass { fired: 1, is_complete: false });
    wheel.insert(at(150), "after");
    assert_eq!(fired(&mut wheel, at(150)), ["before", "after"]);
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
    let (mut count, mut last, mut is_complete) = (0, Timestamp::EPOCH, false);
    // Two hours are 2^24 ticks, which is four levels: three moves, and the shot.
    for _ in 0..=4 * TIMERS / STEPS {
        let pass = wheel.expire(Timestamp::EPOCH + 10 * HOUR, STEPS, |wheel, key| {
            let deadline = *wheel.get(key).unwrap();
            assert!(deadline + wheel.tick() > last, "{deadline:?} after {last:?}");
            last = last.max(deadline);
            None
        });
        assert!(pass.fired <= STEPS);
        count += pass.fired;
        is_complete |= pass.is_complete;
    }
    assert_eq!((count, is_complete, wheel.next_expiry()), (TIMERS, true, None));
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
        assert_eq!(fired::<u32>(&mut wheel, Timestamp::MAX), []);
        wheel.insert(at(5), 1);
        assert_eq!(wheel.next_expiry(), Some(Timestamp::MAX), "{tick:?}");
    }
}
