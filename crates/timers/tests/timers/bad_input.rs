//! What cannot be right: a tick of zero, keys of timers that are gone and of other wheels. Each is
//! an error or "no such timer", and never another timer's value.

use crate::support::{MILLISECOND, at, fired, wheel};
use epoll_timers::{Boottime, Key, Monotonic, Pass, Realtime, TickError, Timers, Wheel};
use std::collections::HashSet;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Asserts that `wheel` knows no timer of this name.
#[track_caller]
fn assert_unknown<V: Debug + PartialEq>(wheel: &mut Wheel<V>, key: Key) {
    let (len, next) = (wheel.len(), wheel.next_expiry());
    assert_eq!(wheel.get(key), None);
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
fn a_key_that_a_handler_cancels_is_used_up_whatever_the_handler_answers() {
    for answer in [None, Some(at(50))] {
        let (mut wheel, mut newer) = (wheel(), None);
        let key = wheel.insert(at(5), 1);
        let pass = wheel.expire(at(5), 10, |wheel, key| {
            assert_eq!(wheel.cancel(key), Some(1));
            assert_unknown(wheel, key);
            // In the place of the one that fires.
            newer = Some(wheel.insert(at(100), 2));
            assert_unknown(wheel, key);
            answer
        });
        assert_eq!(pass, Pass { fired: 1, is_complete: true });
        assert_unknown(&mut wheel, key);
        assert_eq!(wheel.get(newer.unwrap()), Some(&2));
        assert_eq!(fired(&mut wheel, at(99)), []);
        assert_eq!(fired(&mut wheel, at(100)), [2]);
    }
}

#[test]
fn a_handler_that_panics_ends_its_timer_and_no_other() {
    let mut wheel = wheel();
    let keys = [1, 2, 3].map(|value| wheel.insert(at(5), value));
    let pass = AssertUnwindSafe(|| wheel.expire(at(5), 10, |_, key| panic!("on purpose: {key:?}")));
    assert!(catch_unwind(pass).is_err());
    assert_unknown(&mut wheel, keys[0]);
    assert_eq!(wheel.len(), 2);
    wheel.insert(at(6), 4);
    assert_eq!(fired(&mut wheel, at(6)), [2, 3, 4]);
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
    for is_complete in [false, false, true] {
        let pass = wheel.expire(at(5), 0, |_, _| None);
        assert_eq!(pass, Pass { fired: 1, is_complete });
    }
}

#[test]
fn a_time_that_goes_back_does_nothing() {
    let mut wheel = wheel();
    wheel.insert(at(1000), 1);
    assert_eq!(fired(&mut wheel, at(500)), []);
    wheel.insert(at(400), 2);
    for now in [0, 400, 499, 500] {
        assert_eq!(fired(&mut wheel, at(now)), []);
    }
    assert_eq!(fired(&mut wheel, at(501)), [2]);
    assert_eq!(fired(&mut wheel, at(1000)), [1]);
}
