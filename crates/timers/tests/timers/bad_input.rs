//! Tests of invalid input: a tick of zero, keys of timers that are gone and of other wheels. Each is
//! an error or "no such timer", and never another timer's value.

use crate::support::{MILLISECOND, at, fired, fired_at_most, is_complete, wheel};
use epoll_timers::{Boottime, Key, Monotonic, Realtime, STEPS_MAX, TickError, Timers, Wheel};
use std::collections::HashSet;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// Asserts that `wheel` knows no timer of this name.
#[track_caller]
fn assert_unknown<V: Debug + PartialEq>(wheel: &mut Wheel<V>, key: Key) {
    let (len, next) = (wheel.len(), wheel.next_expiry());
    assert_eq!((wheel.get(key), wheel.deadline(key)), (None, None));
    assert_eq!(wheel.get_mut(key), None);
    assert!(wheel.iter().all(|(known, ..)| known != key));
    assert!(!wheel.reschedule(key, at(1)));
    assert_eq!(wheel.cancel(key), None);
    assert_eq!((wheel.len(), wheel.next_expiry()), (len, next));
}

#[test]
fn a_tick_of_zero_is_an_error_that_says_so() {
    let error: TickError = Wheel::<()>::new(Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "the tick of a timer wheel is zero");
    let error = io::Error::from(error);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TickError>),
        "{error}"
    );

    for error in [
        Timers::<(), _>::with_clock(Monotonic, Duration::ZERO).unwrap_err(),
        Timers::<(), _>::with_clock(Boottime, Duration::ZERO).unwrap_err(),
        Timers::<(), _>::with_clock(Realtime, Duration::ZERO).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "the tick of a timer wheel is zero");
    }
}

#[test]
fn any_other_tick_will_do_and_is_never_lengthened() {
    for tick in [Duration::from_nanos(1), MILLISECOND, Duration::from_secs(3600), Duration::MAX] {
        let given = Wheel::<()>::new(tick).unwrap().tick();
        assert!(given <= tick && !given.is_zero(), "{tick:?}: {given:?}");
    }
}

#[test]
fn a_key_of_another_wheel_names_nothing() {
    let (mut ours, mut theirs) = (wheel(), wheel());
    let our_keys: Vec<_> = (0..10).map(|value| ours.insert(at(100), value)).collect();
    let their_keys: Vec<_> = (10..20).map(|value| theirs.insert(at(100), value)).collect();
    for (our, their) in our_keys.iter().zip(&their_keys) {
        assert_ne!(our, their);
        assert_unknown(&mut ours, *their);
        assert_unknown(&mut theirs, *our);
    }
    // The wheel after it in the same place is another one, too.
    drop(theirs);
    let mut theirs = wheel();
    let newer = theirs.insert(at(100), 30);
    assert_unknown(&mut theirs, their_keys[0]);
    assert_eq!(theirs.get(newer), Some(&30));
}

#[test]
fn a_key_is_used_up_when_its_timer_is_cancelled_or_has_fired() {
    let mut wheel = wheel();
    let (cancelled, over) = (wheel.insert(at(5), 1), wheel.insert(at(5), 2));
    assert_eq!(wheel.cancel(cancelled), Some(1));
    assert_unknown(&mut wheel, cancelled);
    assert_eq!(fired(&mut wheel, at(5)), [2]);
    assert_unknown(&mut wheel, over);
    // Their places are taken again.
    wheel.insert(at(10), 3);
    wheel.insert(at(10), 4);
    assert_unknown(&mut wheel, cancelled);
    assert_unknown(&mut wheel, over);
}

#[test]
fn the_key_of_a_timer_that_has_fired_names_nothing_until_it_is_restarted() {
    let mut wheel = wheel();
    let key = wheel.insert(at(5), 1);
    let fired_timer = wheel.next_due(at(5)).unwrap();
    assert_eq!((fired_timer.key, fired_timer.deadline, fired_timer.value), (key, at(5), 1));
    assert_unknown(&mut wheel, key);
    // Its place is reserved for it.
    let newer = wheel.insert(at(100), 2);
    assert_unknown(&mut wheel, key);
    assert_eq!(wheel.restart(fired_timer, at(50)), key);
    assert_eq!((wheel.get(key), wheel.get(newer)), (Some(&1), Some(&2)));
    assert_eq!(fired(&mut wheel, at(49)), []);
    assert_eq!(fired(&mut wheel, at(50)), [1]);
    assert_unknown(&mut wheel, key);
    assert_eq!(fired(&mut wheel, at(100)), [2]);
}

#[test]
fn a_timer_that_is_restarted_too_late_is_a_new_one() {
    let mut wheel = wheel();
    let (first, second) = (wheel.insert(at(5), 1), wheel.insert(at(5), 2));
    let first_fired = wheel.next_due(at(5)).unwrap();
    let second_fired = wheel.next_due(at(5)).unwrap();
    let restarted = wheel.restart(first_fired, at(50));
    assert_ne!(restarted, first);
    assert_unknown(&mut wheel, first);
    assert_eq!(wheel.restart(second_fired, at(50)), second);
    assert_eq!(wheel.next_due(at(5)), None);

    // And so is one that another wheel has fired, or that took its place meanwhile.
    let third = wheel.insert(at(6), 3);
    let third_fired = wheel.next_due(at(6)).unwrap();
    assert_eq!(wheel.next_due(at(6)), None);
    let mut other = crate::support::wheel();
    let elsewhere = other.restart(third_fired, at(50));
    assert_ne!(elsewhere, third);
    assert_eq!((other.len(), wheel.len()), (1, 2));
    assert_unknown(&mut wheel, third);
    assert_unknown(&mut wheel, elsewhere);
    assert_eq!(fired(&mut wheel, at(50)), [1, 2]);
    assert_eq!(fired(&mut other, at(50)), [3]);
}

#[test]
fn a_timer_of_another_wheel_does_not_take_the_place_that_is_reserved() {
    let (mut ours, mut theirs) = (wheel(), wheel());
    let (our_key, their_key) = (ours.insert(at(5), "ours"), theirs.insert(at(5), "theirs"));
    let (our_timer, their_timer) = (ours.next_due(at(5)).unwrap(), theirs.next_due(at(5)).unwrap());
    let moved = ours.restart(their_timer, at(9));
    assert!(moved != our_key && moved != their_key);
    assert_unknown(&mut ours, our_key);
    assert_unknown(&mut ours, their_key);
    assert_eq!(ours.restart(our_timer, at(9)), our_key);
    assert_eq!((ours.get(moved), ours.get(our_key)), (Some(&"theirs"), Some(&"ours")));
}

#[test]
fn a_compact_key_of_another_wheel_takes_no_vacant_place() {
    let (mut ours, mut theirs) = (wheel(), wheel());
    for wheel in [&mut ours, &mut theirs] {
        let key = wheel.insert(at(5), "gone");
        wheel.cancel(key).unwrap();
    }
    // The second timer at its place, which is vacant in our wheel.
    let their_key = theirs.insert(at(5), "theirs");
    let vacant = ours.key(their_key.compact());
    assert_unknown(&mut ours, vacant);
    let mut moved = theirs.next_due(at(5)).unwrap();
    moved.key = vacant;
    let moved = ours.restart(moved, at(9));
    let other = ours.insert(at(9), "ours");
    assert_eq!(ours.len(), 2);
    assert_eq!((ours.get(moved), ours.get(other)), (Some(&"theirs"), Some(&"ours")));
    assert_eq!(fired(&mut ours, at(9)), ["theirs", "ours"]);
}

#[test]
fn a_loop_that_is_left_early_goes_on_where_it_was() {
    let mut wheel = wheel();
    let keys = [1, 2, 3].map(|value| wheel.insert(at(5), value));
    assert_eq!(wheel.next_due(at(5)).unwrap().value, 1);
    assert_unknown(&mut wheel, keys[0]);
    assert_eq!(wheel.len(), 2);
    wheel.insert(at(6), 4);
    // The pass is still that of the earlier time.
    assert_eq!(fired_at_most(&mut wheel, at(6)), [2, 3]);
    assert_eq!(fired(&mut wheel, at(6)), [4]);
}

#[test]
fn a_handler_may_do_several_things() {
    // What it does besides, in every order and more than once.
    for actions in 0..4_u32.pow(4) {
        let mut wheel = wheel();
        let keys: Vec<_> = (0..6).map(|value| wheel.insert(at(10), value)).collect();
        let mut expected: Vec<_> = (1..6).collect();
        let first = wheel.next_due(at(20)).unwrap();
        let mut cancel = |wheel: &mut Wheel<usize>, value: usize| {
            let is_there = expected.contains(&value);
            assert_eq!(wheel.cancel(keys[value]), is_there.then_some(value));
            expected.retain(|other| *other != value);
        };
        for action in (0..4).map(|place| actions / 4_u32.pow(place) % 4) {
            match action {
                // Its neighbours, before and after it in their list, and the last one.
                0 => cancel(&mut wheel, 1),
                1 => cancel(&mut wheel, 5),
                // Itself.
                2 => assert_eq!(wheel.cancel(first.key), None),
                _ => cancel(&mut wheel, 3),
            }
        }
        if actions % 2 == 0 {
            assert_eq!(wheel.restart(first, at(30)), keys[0]);
            expected.push(0);
        }
        let mut values = fired_at_most(&mut wheel, at(20));
        values.extend(fired(&mut wheel, at(30)));
        assert_eq!(values, expected, "{actions}");
        assert!(wheel.is_empty());
    }
}

#[test]
fn a_place_that_is_used_a_hundred_thousand_times_never_gives_a_key_twice() {
    let mut wheel = wheel();
    let mut keys = HashSet::new();
    let first = wheel.insert(at(1), u32::MAX);
    assert_eq!(wheel.cancel(first), Some(u32::MAX));
    for value in 0..100_000 {
        let key = wheel.insert(at(100), value);
        assert!(keys.insert(key), "{key:?} came twice");
        assert_unknown(&mut wheel, first);
        assert_eq!(wheel.cancel(key), Some(value));
    }
    let last = wheel.insert(at(100), 1);
    for key in keys {
        assert_eq!(wheel.get(key), None);
        assert!(!wheel.reschedule(key, at(1)));
        assert_eq!(wheel.cancel(key), None);
    }
    assert_eq!((wheel.len(), wheel.get(last)), (1, Some(&1)));
}

#[test]
fn a_step_of_zero_counts_as_one() {
    let mut wheel = wheel();
    for value in 0..3 {
        wheel.insert(at(5), value);
    }
    wheel.set_steps_max(0);
    assert_eq!(wheel.steps_max(), 1);
    for value in 0..3 {
        assert_eq!(fired_at_most(&mut wheel, at(5)), [value]);
        assert_eq!(is_complete(&wheel, at(5)), value == 2);
    }
}

#[test]
fn a_wheel_does_the_documented_number_of_steps_unless_told_otherwise() {
    let mut wheel: Wheel<usize> = Wheel::new(MILLISECOND).unwrap();
    assert_eq!(wheel.steps_max(), STEPS_MAX);
    for value in 0..=STEPS_MAX {
        wheel.insert(at(5), value);
    }
    let now = at(1_000_000_000);
    assert_eq!(fired_at_most(&mut wheel, now).len(), STEPS_MAX);
    assert_eq!(fired_at_most(&mut wheel, now), [STEPS_MAX]);
}
