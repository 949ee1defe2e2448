//! Timers behind a timerfd of the kernel that runs the tests: they fire, are never early, and the
//! descriptor is reported when there is something to do and not otherwise.

use crate::support::{HOUR, LEVELS, MILLISECOND, STEPS_MAX};
use epoll_kit_testing::Random;
use epoll_sys::{Epoll, Events, Interest, Watch};
use epoll_timers::{Boottime, Clock, ClockTime, Key, Monotonic, Realtime, TICK, Timers, Timestamp};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Longer than any machine needs, however busy.
const DEADLINE: Duration = Duration::from_secs(10);

const LEVEL: Watch = Watch::level(Interest::IN);
const EDGE: Watch = Watch::edge(Interest::IN);

/// Timers and an epoll that watches them.
struct Scene<C: Clock = Monotonic> {
    timers: Timers<u64, C>,
    epoll: Epoll,
}

impl Scene {
    /// Both triggers, on the clock of [`Timers::new`].
    fn both() -> [Self; 2] {
        [LEVEL, EDGE].map(|watch| Self::new(Monotonic, watch))
    }
}

impl<C: Clock> Scene<C> {
    fn new(clock: C, watch: Watch) -> Self {
        let mut timers = Timers::with_clock(clock, TICK).unwrap();
        timers.set_steps_max(STEPS_MAX);
        let epoll = Epoll::new().unwrap();
        epoll.add(&timers, 0, watch).unwrap();
        Self { timers, epoll }
    }

    /// Returns whether the descriptor is reported at this moment.
    #[track_caller]
    fn is_reported(&self) -> bool {
        self.epoll.wait(&mut Events::with_capacity(1), Some(Duration::ZERO)).unwrap() == 1
    }

    /// Returns when the descriptor is reported.
    #[track_caller]
    fn wait(&self) {
        let count = self.epoll.wait(&mut Events::with_capacity(1), Some(DEADLINE)).unwrap();
        assert_eq!(count, 1, "no report before the deadline");
    }

    /// The values of the timers that fire in one pass, which has to be complete.
    #[track_caller]
    fn expire(&mut self) -> Vec<u64> {
        let now = self.timers.now();
        self.expire_at(now)
    }

    /// The values of the timers that fire in one pass at this time, which has to be complete.
    #[track_caller]
    fn expire_at(&mut self, now: ClockTime<C>) -> Vec<u64> {
        let due = std::iter::from_fn(|| self.timers.next_due(now).unwrap());
        let values = due.map(|fired| fired.value).collect();
        assert!(self.timers.next_expiry().is_none_or(|next| next > now));
        values
    }

    /// Waits until timers fire, and gives their values.
    #[track_caller]
    fn wait_for_some(&mut self) -> Vec<u64> {
        for _ in 0..=LEVELS {
            self.wait();
            let values = self.expire();
            if !values.is_empty() {
                return values;
            }
        }
        panic!("more than {LEVELS} empty passes");
    }

    /// Passes, in which nothing fires, until the descriptor is reported no more.
    #[track_caller]
    fn quieten(&mut self) {
        for _ in 0..=LEVELS {
            if !self.is_reported() {
                return;
            }
            assert_eq!(self.expire(), []);
        }
        panic!("more than {LEVELS} empty passes");
    }
}

#[test]
fn timers_fire_in_order_and_never_early_on_every_clock() {
    fn check<C: Clock>(clock: C) {
        for watch in [LEVEL, EDGE] {
            let mut scene = Scene::new(clock, watch);
            let start = ClockTime::<C>::now();
            let deadlines = [12, 3, 0, 7, 25].map(|millis| start + millis * MILLISECOND);
            for deadline in deadlines {
                let value = deadline.as_nanos();
                scene.timers.insert(deadline, value).unwrap();
            }
            let mut order = Vec::new();
            while !scene.timers.is_empty() {
                for value in scene.wait_for_some() {
                    let deadline = ClockTime::from_nanos(value);
                    assert!(ClockTime::<C>::now() >= deadline, "{clock:?}: {deadline:?} is early");
                    order.push(deadline);
                }
            }
            assert!(order.is_sorted() && order.len() == deadlines.len(), "{clock:?}: {order:?}");
        }
    }
    check(Monotonic);
    check(Boottime);
    check(Realtime);
}

#[test]
fn ten_thousand_timers_are_never_early() {
    const TIMERS: u64 = 10_000;
    let mut scene = Scene::new(Monotonic, EDGE);
    let mut random = Random::seeded(5);
    for _ in 0..TIMERS {
        let after = Duration::from_nanos(100_000 + random.below(2_000_000_000 - 100_000));
        let deadline = scene.timers.now() + after;
        scene.timers.insert(deadline, deadline.as_nanos()).unwrap();
    }
    let mut lateness = Vec::new();
    while !scene.timers.is_empty() {
        scene.wait();
        let now = scene.timers.now();
        while let Some(fired) = scene.timers.next_due(now).unwrap() {
            let (deadline, actual) = (fired.deadline, Timestamp::now());
            assert_eq!(deadline.as_nanos(), fired.value);
            assert!(actual >= deadline, "{deadline:?} fired early");
            lateness.push(actual - deadline);
        }
    }
    assert_eq!(lateness.len() as u64, TIMERS);
    lateness.sort_unstable();
    let (p50, p99) = (lateness[lateness.len() / 2], lateness[lateness.len() * 99 / 100]);
    println!("{TIMERS} timers, none early; lateness p50 {p50:?}, p99 {p99:?}, tick {TICK:?}");
}

#[test]
fn a_deadline_that_has_passed_is_reported_at_once() {
    for mut scene in Scene::both() {
        let now = scene.timers.now();
        for (value, past) in (0..).zip([now, now - MILLISECOND, Timestamp::EPOCH]) {
            scene.timers.insert(past, value).unwrap();
            assert_eq!(scene.wait_for_some(), [value]);
        }
    }
}

#[test]
fn the_last_timer_leaves_the_descriptor_quiet() {
    for mut scene in Scene::both() {
        scene.timers.insert(scene.timers.now() + MILLISECOND, 1).unwrap();
        assert_eq!(scene.wait_for_some(), [1]);
        assert!(!scene.is_reported());
        assert!(!scene.is_reported());
        // The next one is reported again.
        scene.timers.insert(scene.timers.now() + MILLISECOND, 2).unwrap();
        assert_eq!(scene.wait_for_some(), [2]);
        assert!(!scene.is_reported());
    }
}

#[test]
fn a_far_deadline_leaves_the_descriptor_quiet() {
    for mut scene in Scene::both() {
        scene.timers.insert(scene.timers.now() + HOUR, 1).unwrap();
        scene.quieten();
        assert!(!scene.is_reported());
        assert_eq!(scene.timers.len(), 1);
    }
}

#[test]
fn the_first_deadline_is_not_reported_long_before_it() {
    for mut scene in Scene::both() {
        scene.timers.insert(scene.timers.now() + HOUR, 1).unwrap();
        assert!(!scene.is_reported());
        assert!(scene.timers.next_expiry().unwrap() > scene.timers.now());
    }
}

#[test]
fn an_earlier_deadline_is_reported_before_the_one_that_was_first() {
    for mut scene in Scene::both() {
        let hour = scene.timers.now() + HOUR;
        let first = scene.timers.insert(hour, 1).unwrap();
        scene.timers.insert(scene.timers.now() + MILLISECOND, 2).unwrap();
        assert_eq!(scene.wait_for_some(), [2]);
        assert!(scene.timers.reschedule(first, scene.timers.now() + MILLISECOND).unwrap());
        assert_eq!(scene.wait_for_some(), [1]);
        assert!(!scene.timers.reschedule(first, scene.timers.now()).unwrap());
        assert!(!scene.is_reported());
    }
}

#[test]
fn a_first_timer_that_is_cancelled_or_put_off_leaves_the_descriptor_quiet() {
    let remove: [fn(&mut Timers<u64>, Key); 2] = [
        |timers, key| assert_eq!(timers.cancel(key), Some(1)),
        |timers, key| assert!(timers.reschedule(key, timers.now() + HOUR).unwrap()),
    ];
    for remove in remove {
        for mut scene in Scene::both() {
            scene.timers.insert(scene.timers.now() + HOUR, 2).unwrap();
            scene.quieten();
            let key = scene.timers.insert(scene.timers.now() + MILLISECOND, 1).unwrap();
            remove(&mut scene.timers, key);
            scene.wait();
            scene.quieten();
            assert!(!scene.is_reported());
        }
    }
}

#[test]
fn the_only_timer_when_cancelled_leaves_the_descriptor_quiet() {
    for mut scene in Scene::both() {
        let key = scene.timers.insert(scene.timers.now() + MILLISECOND, 1).unwrap();
        assert_eq!(scene.timers.get(key), Some(&1));
        assert_eq!(scene.timers.cancel(key), Some(1));
        assert_eq!(scene.timers.get(key), None);
        assert_eq!(scene.timers.cancel(key), None);
        assert!(scene.timers.is_empty());
        scene.wait();
        assert!(scene.expire().is_empty());
        assert!(!scene.is_reported());
    }
}

#[test]
fn a_pass_that_is_not_complete_is_reported_again() {
    for mut scene in Scene::both() {
        scene.timers.set_steps_max(1);
        assert_eq!(scene.timers.steps_max(), 1);
        for value in 0..10 {
            scene.timers.insert(Timestamp::EPOCH, value).unwrap();
        }
        let mut order = Vec::new();
        while !scene.timers.is_empty() {
            scene.wait();
            let now = scene.timers.now();
            while let Some(fired) = scene.timers.next_due(now).unwrap() {
                order.push(fired.value);
                assert_eq!(scene.timers.next_due(now).unwrap(), None);
            }
        }
        assert!(order.iter().copied().eq(0..10), "{order:?}");
        assert!(!scene.is_reported());
    }
}

/// Leaves a loop over three timers that are due after the first of them.
fn left_early(watch: Watch) -> Scene {
    let mut scene = Scene::new(Monotonic, watch);
    for value in 0..3 {
        scene.timers.insert(Timestamp::EPOCH, value).unwrap();
    }
    scene.wait();
    let now = scene.timers.now();
    let pass = AssertUnwindSafe(|| {
        let fired = scene.timers.next_due(now).unwrap();
        panic!("on purpose: {fired:?}");
    });
    assert!(catch_unwind(pass).is_err());
    scene
}

#[test]
fn a_loop_that_is_left_early_is_reported_again_by_level() {
    let mut scene = left_early(LEVEL);
    let mut values = Vec::new();
    while !scene.timers.is_empty() {
        values.extend(scene.wait_for_some());
    }
    assert_eq!(values, [1, 2]);
    assert!(!scene.is_reported());
}

#[test]
fn a_loop_that_is_left_early_is_reported_again_by_edge_once_it_is_rearmed() {
    let mut scene = left_early(EDGE);
    assert!(!scene.is_reported());
    scene.timers.rearm().unwrap();
    assert_eq!(scene.wait_for_some(), [1, 2]);
    assert!(!scene.is_reported());
}

#[test]
fn what_is_inserted_after_a_loop_was_left_early_is_not_lost_either() {
    for watch in [LEVEL, EDGE] {
        let mut scene = left_early(watch);
        scene.timers.insert(scene.timers.now() + MILLISECOND, 3).unwrap();
        scene.timers.rearm().unwrap();
        let mut values = Vec::new();
        while !scene.timers.is_empty() {
            values.extend(scene.wait_for_some());
        }
        assert_eq!(values, [1, 2, 3]);
    }
}

#[test]
fn rearming_ends_the_pass_so_that_the_next_goes_by_its_own_time() {
    for watch in [LEVEL, EDGE] {
        let mut scene = left_early(watch);
        let deadline = scene.timers.now() + MILLISECOND;
        scene.timers.insert(deadline, 3).unwrap();
        scene.timers.rearm().unwrap();
        scene.wait();
        while scene.timers.now() <= deadline + TICK {
            std::thread::sleep(MILLISECOND);
        }
        assert_eq!(scene.expire(), [1, 2, 3]);
        assert!(!scene.is_reported());
    }
}

#[test]
fn rearming_without_need_changes_nothing() {
    for mut scene in Scene::both() {
        scene.timers.rearm().unwrap();
        assert!(!scene.is_reported());
        scene.timers.insert(scene.timers.now() + MILLISECOND, 1).unwrap();
        scene.timers.rearm().unwrap();
        assert_eq!(scene.wait_for_some(), [1]);
        scene.timers.rearm().unwrap();
        assert!(!scene.is_reported());
    }
}

#[test]
fn what_a_handler_inserts_or_goes_on_with_is_reported() {
    for mut scene in Scene::both() {
        scene.timers.insert(scene.timers.now() + HOUR, 9).unwrap();
        scene.timers.insert(Timestamp::EPOCH, 0).unwrap();
        let mut fired = 0;
        while fired < 10 {
            scene.wait();
            let now = scene.timers.now();
            while let Some(timer) = scene.timers.next_due(now).unwrap() {
                fired += 1;
                let next = now + MILLISECOND;
                if fired % 2 == 0 {
                    scene.timers.restart(timer, next).unwrap();
                } else {
                    scene.timers.insert(next, fired).unwrap();
                }
            }
        }
        assert_eq!(scene.timers.len(), 2);
    }
}

#[test]
fn a_pass_sets_the_timerfd_once_for_all_that_happens_in_it() {
    for mut scene in Scene::both() {
        let start = scene.timers.now();
        scene.timers.insert(start + HOUR, 0).unwrap();
        assert_eq!(scene.timers.settime_calls(), 1);
        let later = start + 2 * HOUR;
        assert_eq!(scene.timers.next_due(later).unwrap().unwrap().value, 0);
        // Each is earlier than what the timerfd is set to.
        for minutes in (1..10).rev() {
            scene.timers.insert(start + minutes * HOUR / 60, minutes.into()).unwrap();
        }
        assert_eq!(scene.timers.settime_calls(), 1);
        assert_eq!(scene.timers.next_due(later).unwrap(), None);
        assert_eq!(scene.timers.settime_calls(), 2);
    }
}

#[test]
fn a_time_that_was_read_before_the_expiry_loses_no_timer() {
    for mut scene in Scene::both() {
        let before = scene.timers.now();
        scene.timers.insert(before + MILLISECOND, 1).unwrap();
        scene.wait();
        assert_eq!(scene.expire_at(before), []);
        assert_eq!(scene.timers.len(), 1);
        assert_eq!(scene.wait_for_some(), [1]);
    }
}
