//! Clocks that are set: timers follow theirs, backwards too, and notice it whether or not somebody
//! asks. Clocks that cannot be set never go back.

use crate::support::{HOUR, LEVELS, MILLISECOND, NANOSECOND, at, fired, fired_at_most};
use epoll_kit_testing::{DEADLINE, leave_out, under_strace};
use epoll_sys::{Epoll, Events, Interest, Watch};
use epoll_timers::{
    Boottime, Clock, ClockTime, Monotonic, Realtime, TICK, Timers, Timestamp, Wheel,
};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime, clock_settime};
use std::fs;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const WATCHES: [Watch; 2] = [Watch::level(Interest::IN), Watch::edge(Interest::IN)];

fn wheel<C: Clock, V>(clock: C) -> Wheel<V, C> {
    let mut wheel = Wheel::with_clock(clock, NANOSECOND).unwrap();
    wheel.set_steps_max(1_000_000);
    wheel
}

#[test]
fn a_wheel_follows_a_clock_that_is_set_back() {
    let mut wheel = wheel(Realtime);
    assert!(fired(&mut wheel, at(1_000_000)).is_empty());
    wheel.insert(at(500), "in the past, then not");
    wheel.insert(at(1_000_100), "later");
    // By 999 900.
    assert!(fired(&mut wheel, at(100)).is_empty());
    wheel.insert(at(150), "soon");
    assert!(wheel.next_expiry().unwrap() <= at(150));
    assert!(fired(&mut wheel, at(149)).is_empty());
    assert_eq!(fired(&mut wheel, at(150)), ["soon"]);
    assert!(fired(&mut wheel, at(499)).is_empty());
    assert_eq!(fired(&mut wheel, at(500)), ["in the past, then not"]);
    assert_eq!(fired(&mut wheel, at(1_000_100)), ["later"]);
}

#[test]
fn a_timer_that_is_inserted_before_the_pass_at_the_earlier_time_is_not_late() {
    let mut wheel = wheel(Realtime);
    assert!(fired(&mut wheel, at(1_000_000)).is_empty());
    wheel.insert(at(150), ());
    assert_eq!(fired(&mut wheel, at(149)), []);
    assert_eq!(fired(&mut wheel, at(150)), [()]);
}

#[test]
fn what_a_pass_has_left_fires_after_the_clock_was_set_back_if_it_is_due_even_then() {
    let mut wheel = wheel(Realtime);
    for due in [10, 20, 30, 1000] {
        wheel.insert(at(due), due);
    }
    wheel.set_steps_max(1);
    assert!(fired_at_most(&mut wheel, at(2000)).len() <= 1);
    wheel.set_steps_max(100);
    let mut values = fired_at_most(&mut wheel, at(25));
    assert!(values.ends_with(&[20]), "{values:?}");
    values = fired(&mut wheel, at(2000));
    assert_eq!(values, [30, 1000]);
}

#[test]
fn equal_deadlines_keep_their_order_when_the_clock_is_set_back() {
    for due in [70, 5000, 1 << 20, 1 << 40] {
        let mut wheel = wheel(Realtime);
        let mut values = 0..;
        for now in [1 << 13, due - 3000_u64.min(due - 1), due / 2, 3, due - 1] {
            for _ in 0..3 {
                wheel.insert(at(due), values.next().unwrap());
            }
            if now < due {
                assert_eq!(fired(&mut wheel, at(now)), []);
            }
        }
        assert!(fired(&mut wheel, at(due)).into_iter().eq(0..15), "{due}");
    }
}

#[test]
fn an_earlier_time_of_a_clock_that_is_never_set_counts_as_that_of_the_pass_before() {
    fn check<C: Clock>(clock: C) {
        let mut wheel = wheel(clock);
        wheel.insert(at(1000), 1);
        assert_eq!(fired(&mut wheel, at(500)), []);
        wheel.insert(at(400), 2);
        for now in [0, 400, 499, 500] {
            assert_eq!(fired(&mut wheel, at(now)), []);
        }
        assert_eq!(fired(&mut wheel, at(501)), [2]);
        assert_eq!(fired(&mut wheel, at(1000)), [1]);
    }
    check(Monotonic);
    check(Boottime);
}

/// Timers, watched.
struct Scene<C: Clock> {
    timers: Timers<u64, C>,
    epoll: Epoll,
}

impl<C: Clock> Scene<C> {
    fn new(clock: C, watch: Watch) -> Self {
        let (timers, epoll) = (Timers::with_clock(clock, TICK).unwrap(), Epoll::new().unwrap());
        epoll.add(&timers, 0, watch).unwrap();
        Self { timers, epoll }
    }

    fn is_reported(&self) -> bool {
        self.epoll.wait(&mut Events::with_capacity(1), Some(Duration::ZERO)).unwrap() == 1
    }

    /// The values of what fires after the next report.
    #[track_caller]
    fn wait(&mut self) -> Vec<u64> {
        let count = self.epoll.wait(&mut Events::with_capacity(1), Some(DEADLINE)).unwrap();
        assert_eq!(count, 1, "no report before the deadline");
        self.pass()
    }

    fn pass(&mut self) -> Vec<u64> {
        let now = self.timers.now();
        let due = std::iter::from_fn(|| self.timers.next_due(now).unwrap());
        due.map(|fired| fired.value).collect()
    }

    #[track_caller]
    fn wait_for_one(&mut self) -> u64 {
        for _ in 0..=LEVELS {
            if let [value] = self.wait()[..] {
                return value;
            }
        }
        panic!("more than {LEVELS} empty passes");
    }

    /// The flags of the last `timerfd_settime`, as the kernel shows them.
    fn settime_flags(&self) -> u32 {
        let path = format!("/proc/self/fdinfo/{}", self.timers.as_raw_fd());
        let info = fs::read_to_string(path).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("settime flags:")).unwrap();
        u32::from_str_radix(flags.trim(), 8).unwrap()
    }
}

#[test]
fn a_timer_is_on_time_after_the_clock_was_set_back_by_an_hour() {
    for watch in WATCHES {
        let mut scene = Scene::new(Realtime, watch);
        // A pass at the time that the clock showed before it was set.
        let before = scene.timers.now() + HOUR;
        assert_eq!(scene.timers.next_due(before).unwrap(), None);
        let start = (Timestamp::now(), scene.timers.now());
        scene.timers.insert(start.1 + 50 * MILLISECOND, 1).unwrap();
        assert!(scene.timers.next_expiry().unwrap() < start.1 + HOUR / 2);
        assert_eq!(scene.wait_for_one(), 1);
        assert!(Timestamp::now() - start.0 >= 49 * MILLISECOND);
    }
}

#[test]
fn what_a_handler_inserts_waits_for_the_next_pass_even_if_the_clock_was_set_back() {
    for watch in WATCHES {
        let mut scene = Scene::new(Realtime, watch);
        let start = scene.timers.now();
        scene.timers.insert(start + HOUR, 1).unwrap();
        let before = start + 2 * HOUR;
        assert_eq!(scene.timers.next_due(before).unwrap().unwrap().value, 1);
        scene.timers.insert(start - MILLISECOND, 2).unwrap();
        assert_eq!(scene.timers.next_due(before).unwrap(), None);
        // By the time that the clock shows it is due.
        assert_eq!(scene.pass(), [2]);
        assert!(!scene.is_reported());
    }
}

#[test]
fn a_timer_that_was_inserted_before_is_on_time_as_well() {
    for watch in WATCHES {
        let mut scene = Scene::new(Realtime, watch);
        let start = scene.timers.now();
        let deadline = start + 50 * MILLISECOND;
        scene.timers.insert(start + HOUR, 2).unwrap();
        assert_eq!(scene.timers.next_due(start + HOUR / 2).unwrap(), None);
        let key = scene.timers.insert(start + 2 * HOUR, 1).unwrap();
        assert!(scene.timers.reschedule(key, deadline).unwrap());
        assert_eq!(scene.wait_for_one(), 1);
        assert!(scene.timers.now() >= deadline);
        assert_eq!(scene.timers.len(), 1);
    }
}

#[test]
fn only_timers_on_a_clock_that_can_be_set_ask_to_be_told() {
    const ABSTIME: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    fn flags<C: Clock>(clock: C) -> u32 {
        let mut scene = Scene::new(clock, WATCHES[0]);
        scene.timers.insert(scene.timers.now() + HOUR, 1).unwrap();
        scene.settime_flags()
    }
    let _clock = nobody_sets_the_clock();
    assert_eq!(flags(Monotonic), ABSTIME);
    assert_eq!(flags(Boottime), ABSTIME);
    assert_eq!(flags(Realtime), ABSTIME | CANCEL_ON_SET);
}

/// Holds off the tests that set the clock, which every timer on it notices.
fn nobody_sets_the_clock() -> MutexGuard<'static, ()> {
    static CLOCK: Mutex<()> = Mutex::new(());
    CLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the real-time clock forward by a microsecond. `false`: this user may not.
fn set_the_clock() -> bool {
    let mut time = clock_gettime(ClockId::Realtime);
    time.tv_nsec = (time.tv_nsec + 1000).min(999_999_999);
    match clock_settime(ClockId::Realtime, time) {
        Err(Errno::PERM) => {
            leave_out("timers on a clock that is set", "CAP_SYS_TIME");
            false
        }
        result => {
            result.unwrap();
            true
        }
    }
}

#[test]
fn a_clock_that_is_set_is_reported_and_noticed_once() {
    let _clock = nobody_sets_the_clock();
    for watch in WATCHES {
        let mut scene = Scene::new(Realtime, watch);
        scene.timers.insert(scene.timers.now() + HOUR, 1).unwrap();
        assert!(!scene.is_reported());
        if !set_the_clock() {
            return;
        }
        assert_eq!((scene.wait(), scene.timers.clock_sets()), (vec![], 1));
        assert!(!scene.is_reported());
        assert_eq!((scene.pass(), scene.timers.clock_sets()), (vec![], 1));
        // It goes on as before.
        scene.timers.insert(scene.timers.now() + MILLISECOND, 2).unwrap();
        assert_eq!((scene.wait_for_one(), scene.timers.clock_sets()), (2, 1));
    }
}

#[test]
fn a_clock_that_is_set_before_the_timerfd_is_set_is_noticed_by_that() {
    let _clock = nobody_sets_the_clock();
    for watch in WATCHES {
        let mut scene = Scene::new(Realtime, watch);
        scene.timers.insert(scene.timers.now() + HOUR, 1).unwrap();
        if !set_the_clock() {
            return;
        }
        let calls = scene.timers.settime_calls();
        scene.timers.insert(scene.timers.now() + MILLISECOND, 2).unwrap();
        assert_eq!((scene.timers.clock_sets(), scene.timers.settime_calls()), (1, calls + 2));
        assert_eq!(scene.wait_for_one(), 2);
    }
}

#[test]
fn timers_that_are_left_without_any_are_quiet_when_the_clock_is_set() {
    let _clock = nobody_sets_the_clock();
    for watch in WATCHES {
        let mut scene = Scene::new(Realtime, watch);
        scene.timers.insert(scene.timers.now() + MILLISECOND, 1).unwrap();
        assert_eq!(scene.wait_for_one(), 1);
        if !set_the_clock() {
            return;
        }
        assert!(!scene.is_reported());
    }
}

/// Lets the read of a pass, and nothing else, answer that the clock was set.
#[test]
fn a_read_that_says_that_the_clock_was_set_is_counted_and_sets_the_timerfd_again() {
    let name =
        "clock_sets::a_read_that_says_that_the_clock_was_set_is_counted_and_sets_the_timerfd_again";
    let inject = "inject=read:error=ECANCELED:when=1";
    let options = ["-o", "/dev/null", "-P", "anon_inode:[timerfd]", "-e", inject];
    under_strace(name, &options, || {
        let mut timers: Timers<u32, _> = Timers::with_clock(Realtime, TICK).unwrap();
        let start = timers.now();
        timers.insert(start + 10 * HOUR, 1).unwrap();
        let far = timers.next_expiry();
        assert_eq!((timers.clock_sets(), timers.settime_calls()), (0, 1));
        assert_eq!(timers.next_due(start).unwrap(), None);
        assert_eq!((timers.clock_sets(), timers.settime_calls()), (1, 2));
        assert!(timers.next_expiry() >= far);
        // The next read says that nothing has happened.
        assert_eq!(timers.next_due(start).unwrap(), None);
        assert_eq!((timers.clock_sets(), timers.settime_calls()), (1, 2));

        // Others are never read.
        let mut timers: Timers<u32> = Timers::new().unwrap();
        timers.insert(timers.now() + HOUR, 1).unwrap();
        assert_eq!(timers.next_due(Timestamp::EPOCH).unwrap(), None);
        assert_eq!(timers.clock_sets(), 0);
    });
}

#[test]
fn a_setting_that_says_that_the_clock_was_set_is_counted_and_done_again() {
    let name = "clock_sets::a_setting_that_says_that_the_clock_was_set_is_counted_and_done_again";
    let inject = "inject=timerfd_settime:error=ECANCELED:when=1..3";
    under_strace(name, &["-o", "/dev/null", "-e", inject], || {
        let mut scene = Scene::new(Realtime, WATCHES[1]);
        // Before the clock was set back.
        let now = scene.timers.now();
        assert_eq!(scene.timers.next_due(now + HOUR).unwrap(), None);
        scene.timers.insert(ClockTime::EPOCH, 1).unwrap();
        assert_eq!((scene.timers.clock_sets(), scene.timers.settime_calls()), (3, 4));
        assert_eq!(scene.wait_for_one(), 1);
    });
}

#[test]
fn what_is_put_in_late_is_on_time_if_setting_the_timerfd_tells_that_the_clock_was_set_back() {
    let name = "clock_sets::what_is_put_in_late_is_on_time_if_setting_the_timerfd_tells_that_the_clock_was_set_back";
    let inject = "inject=timerfd_settime:error=ECANCELED:when=2";
    under_strace(name, &["-o", "/dev/null", "-e", inject], || {
        let mut scene = Scene::new(Realtime, WATCHES[1]);
        let start = scene.timers.now();
        scene.timers.insert(start, 1).unwrap();
        // The clock shows an hour more, and is set back before the end of the pass.
        assert_eq!(scene.timers.next_due(start + HOUR).unwrap().unwrap().value, 1);
        scene.timers.insert(start + 5 * MILLISECOND, 2).unwrap();
        assert_eq!(scene.timers.next_due(start + HOUR).unwrap(), None);
        assert_eq!((scene.timers.clock_sets(), scene.timers.settime_calls()), (1, 3));
        assert_eq!(scene.wait_for_one(), 2);
    });
}

#[test]
fn a_timerfd_that_expires_at_the_end_of_a_pass_is_set_again() {
    let name = "clock_sets::a_timerfd_that_expires_at_the_end_of_a_pass_is_set_again";
    let inject = "inject=read:retval=8:when=1";
    let options = ["-o", "/dev/null", "-P", "anon_inode:[timerfd]", "-e", inject];
    under_strace(name, &options, || {
        let mut timers: Timers<u32, _> = Timers::with_clock(Realtime, TICK).unwrap();
        let start = timers.now();
        timers.insert(start + 10 * HOUR, 1).unwrap();
        assert_eq!(timers.next_due(start).unwrap(), None);
        assert_eq!((timers.clock_sets(), timers.settime_calls()), (0, 2));
    });
}

#[test]
fn a_setting_that_says_so_for_ever_is_an_error() {
    let name = "clock_sets::a_setting_that_says_so_for_ever_is_an_error";
    let inject = "inject=timerfd_settime:error=ECANCELED";
    under_strace(name, &["-o", "/dev/null", "-e", inject], || {
        let mut timers: Timers<u32, _> = Timers::with_clock(Realtime, TICK).unwrap();
        let error = timers.insert(timers.now(), 1).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::CANCELED));
        assert!(timers.is_empty());
        // On a clock that cannot be set it says something else, if ever.
        let mut timers: Timers<u32> = Timers::new().unwrap();
        timers.insert(timers.now(), 1).unwrap_err();
        assert_eq!(timers.settime_calls(), 1);
    });
}
