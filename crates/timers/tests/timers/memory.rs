//! Tests of memory: places are used again, room is made and given back, and timers can be looked at and
//! changed.

use crate::support::{HOUR, at, fired, wheel};
use epoll_timers::{Timers, Wheel};
use std::time::Duration;

#[test]
fn places_are_used_again() {
    let mut wheel: Wheel<u64> = wheel();
    wheel.insert(at(1 << 30), 0);
    let mut capacity = None;
    for now in 1..10_000 {
        // One that is cancelled, one that fires, and one that goes on.
        let cancelled = wheel.insert(at(now + 5), 1);
        assert_eq!(wheel.cancel(cancelled), Some(1));
        wheel.insert(at(now), 2);
        wheel.insert(at(now), 3);
        while let Some(timer) = wheel.next_due(at(now)) {
            if timer.value == 3 {
                let key = wheel.restart(timer, at(now + 1));
                assert_eq!(wheel.cancel(key), Some(3));
            }
        }
        assert!(wheel.len() <= 3);
        assert_eq!(*capacity.get_or_insert(wheel.capacity()), wheel.capacity(), "{now}");
    }
}

#[test]
fn a_timer_that_goes_on_in_a_full_wheel_needs_no_more_room() {
    let mut wheel: Wheel<u64> = wheel();
    wheel.reserve(10);
    while wheel.len() < wheel.capacity() - 1 {
        wheel.insert(at(1), 0);
    }
    let capacity = wheel.capacity();
    for now in 1..100 {
        while let Some(timer) = wheel.next_due(at(now)) {
            // It needs one place beside that of the timer that has fired.
            let beside = wheel.insert(at(now + 1), 1);
            wheel.restart(timer, at(now + 1));
            assert!(wheel.cancel(beside).is_some());
        }
        assert_eq!(wheel.capacity(), capacity);
    }
}

#[test]
fn room_is_made_and_given_back() {
    let mut wheel: Wheel<usize> = wheel();
    wheel.reserve(1000);
    let capacity = wheel.capacity();
    assert!(capacity > 1000, "{capacity}");
    let keys: Vec<_> = (0..1000).map(|value| wheel.insert(at(100), value)).collect();
    assert_eq!(wheel.capacity(), capacity);
    // Vacant places count as room.
    for key in &keys[..500] {
        wheel.cancel(*key);
    }
    wheel.reserve(500);
    assert_eq!(wheel.capacity(), capacity);

    for key in &keys[510..] {
        wheel.cancel(*key);
    }
    wheel.shrink_to_fit();
    assert!(wheel.capacity() < 600, "{}", wheel.capacity());
    let values: Vec<_> = keys.iter().filter_map(|key| wheel.get(*key)).collect();
    assert!(values.into_iter().copied().eq(500..510));
    let newer: Vec<_> = (0..1000).map(|value| wheel.insert(at(100), value)).collect();
    assert!(newer.iter().all(|key| !keys.contains(key)));
    assert_eq!(fired(&mut wheel, at(100)).len(), 1010);
    wheel.shrink_to_fit();
    // The place of the last timer that fired is vacant by now.
    assert_eq!((wheel.capacity(), wheel.len()), (0, 0));
}

#[test]
fn a_timer_that_has_fired_is_restarted_although_room_was_given_back() {
    let mut wheel = wheel();
    let key = wheel.insert(at(5), "on");
    let timer = wheel.next_due(at(5)).unwrap();
    wheel.shrink_to_fit();
    assert_eq!(wheel.restart(timer, at(9)), key);
    assert_eq!(wheel.next_due(at(5)), None);
    assert_eq!(fired(&mut wheel, at(9)), ["on"]);
}

#[test]
fn timers_can_be_looked_at_and_changed() {
    let mut timers: Timers<u32> = Timers::new().unwrap();
    timers.reserve(100);
    assert!(timers.capacity() > 100);
    // The longest power of two of nanoseconds that is not longer than a millisecond.
    assert_eq!(timers.tick(), Duration::from_nanos(1 << 19));
    assert_eq!(timers.steps_max(), epoll_timers::STEPS_MAX);
    timers.set_steps_max(7);
    assert_eq!(timers.steps_max(), 7);
    let start = timers.now();
    assert_eq!(timers.next_expiry(), None);
    let keys: Vec<_> =
        (1..=10).map(|hours| timers.insert(start + hours * HOUR, hours).unwrap()).collect();
    assert!(timers.next_expiry().unwrap() <= start + HOUR + timers.tick());
    assert_eq!(timers.deadline(keys[4]), Some(start + 5 * HOUR));
    *timers.get_mut(keys[4]).unwrap() += 100;
    assert_eq!(timers.get(keys[4]), Some(&105));

    for (_, _, value) in timers.iter_mut() {
        *value += 1000;
    }
    let mut all: Vec<_> = timers.iter().collect();
    all.sort_by_key(|(_, deadline, _)| *deadline);
    assert_eq!(all.len(), keys.len());
    for (hours, (key, deadline, value)) in (1..).zip(all) {
        assert_eq!((key, deadline), (keys[hours as usize - 1], start + hours * HOUR));
        assert_eq!(*value, 1000 + if hours == 5 { 105 } else { hours });
    }

    for key in &keys[1..] {
        assert!(timers.cancel(*key).is_some());
    }
    timers.shrink_to_fit();
    assert!(timers.capacity() < 100);
    assert_eq!((timers.len(), timers.get(keys[0])), (1, Some(&1001)));
    assert!(format!("{timers:?}").contains("Monotonic"), "{timers:?}");
}
