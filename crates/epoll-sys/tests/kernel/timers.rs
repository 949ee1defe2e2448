//! Timers and clocks: what sets one, what clears it, how it counts, and that it is never early.

use crate::support::{look, wait};
use epoll_kit_testing::{assert_errno, leave_out};
use epoll_sys::{
    Boottime, Clock, ClockTime, Epoll, Expiry, Interest, Monotonic, Realtime, TimerFd, Timestamp,
    Watch,
};
use rustix::io::Errno;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn timer() -> TimerFd {
    TimerFd::new().unwrap()
}

/// Returns when the timer has expired since it was set or last read.
#[track_caller]
fn await_expiry<C: Clock>(timer: &TimerFd<C>) {
    let epoll = Epoll::new().unwrap();
    epoll.add(timer, 0, Watch::level(Interest::IN)).unwrap();
    wait(&epoll);
}

#[track_caller]
fn assert_not_expired<C: Clock>(timer: &TimerFd<C>) {
    assert_eq!(timer.read().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_time_in_the_past_and_a_zero_time_expire_at_once() {
    fn check<C: Clock>(clock: C) {
        for expiry in [
            Expiry::At(ClockTime::now() - Duration::from_millis(1)),
            Expiry::At(ClockTime::after_epoch(Duration::from_secs(1))),
            Expiry::At(ClockTime::EPOCH),
            Expiry::After(Duration::ZERO),
            Expiry::After(Duration::from_nanos(1)),
        ] {
            let timer = TimerFd::with_clock(clock).unwrap();
            timer.set(expiry).unwrap();
            await_expiry(&timer);
            assert_eq!(timer.read().unwrap(), 1, "{clock:?}");
            assert_not_expired(&timer);
        }
    }
    check(Monotonic);
    check(Boottime);
    check(Realtime);
}

#[test]
fn a_timer_is_never_early() {
    fn check<C: Clock>(clock: C) {
        let timer = TimerFd::with_clock(clock).unwrap();
        for micros in [1, 50, 999, 1_000, 1_001, 2_500] {
            let time = Duration::from_micros(micros);
            let start = ClockTime::<C>::now();
            timer.set(Expiry::After(time)).unwrap();
            await_expiry(&timer);
            assert!(ClockTime::now() >= start + time, "{clock:?} after {time:?}");

            let at = ClockTime::now() + time;
            timer.set(Expiry::At(at)).unwrap();
            await_expiry(&timer);
            assert!(ClockTime::now() >= at, "{clock:?} at {time:?} from then");
        }
    }
    // The real-time clock may be set meanwhile.
    check(Monotonic);
    check(Boottime);
}

#[test]
fn a_timer_tells_what_remains() {
    fn check<C: Clock>(clock: C) {
        let timer = TimerFd::with_clock(clock).unwrap();
        assert_eq!(timer.remaining().unwrap(), None);
        timer.set(Expiry::After(HOUR)).unwrap();
        let remaining = timer.remaining().unwrap().unwrap();
        assert!(remaining <= HOUR && !remaining.is_zero(), "{clock:?}: {remaining:?}");
        timer.disarm().unwrap();
        assert_eq!(timer.remaining().unwrap(), None);
    }
    check(Monotonic);
    check(Boottime);
    check(Realtime);
}

#[test]
fn an_expired_timer_has_nothing_remaining() {
    let timer = timer();
    timer.set(Expiry::After(Duration::ZERO)).unwrap();
    await_expiry(&timer);
    assert_eq!(timer.remaining().unwrap(), None);
}

#[test]
fn a_disarmed_timer_does_not_expire() {
    let (early, late) = (timer(), timer());
    let at = Timestamp::now() + Duration::from_millis(2);
    early.set(Expiry::At(at)).unwrap();
    early.disarm().unwrap();
    late.set(Expiry::At(at)).unwrap();
    await_expiry(&late);
    assert_not_expired(&early);
}

#[test]
fn setting_and_disarming_clear_expirations_that_were_not_read() {
    let timer = timer();
    let epoll = Epoll::new().unwrap();
    epoll.add(&timer, 0, Watch::level(Interest::IN)).unwrap();
    let clear: [fn(&TimerFd); 2] =
        [|timer| timer.set(Expiry::After(HOUR)).unwrap(), |timer| timer.disarm().unwrap()];
    for clear in clear {
        timer.set(Expiry::After(Duration::ZERO)).unwrap();
        wait(&epoll);
        clear(&timer);
        assert!(look(&epoll).is_empty());
        assert_not_expired(&timer);
    }
}

#[test]
fn setting_replaces_what_was_set() {
    let timer = timer();
    timer.set_repeating(Expiry::After(HOUR), HOUR).unwrap();
    timer.set(Expiry::After(Duration::ZERO)).unwrap();
    await_expiry(&timer);
    assert_eq!(timer.read().unwrap(), 1);
    // The interval is gone, too.
    assert_eq!(timer.remaining().unwrap(), None);
}

#[test]
fn a_repeating_timer_counts_the_expirations_that_nobody_read() {
    let interval = Duration::from_millis(1);
    let (repeating, sixth) = (timer(), timer());
    let first = Timestamp::now() + interval;
    repeating.set_repeating(Expiry::At(first), interval).unwrap();
    sixth.set(Expiry::At(first + 5 * interval)).unwrap();
    await_expiry(&sixth);
    await_expiry(&repeating);

    let mut count = repeating.read().unwrap();
    let due = || 1 + (Timestamp::now() - first).as_nanos() / interval.as_nanos();
    assert!(count >= 6 && u128::from(count) <= due(), "{count}");
    // It goes on, and is never ahead of the clock.
    for _ in 0..5 {
        await_expiry(&repeating);
        count += repeating.read().unwrap();
        assert!(u128::from(count) <= due(), "{count}");
    }
}

#[test]
fn huge_times_clamp() {
    fn check<C: Clock>(clock: C) {
        let timer = TimerFd::with_clock(clock).unwrap();
        for expiry in [Expiry::After(Duration::MAX), Expiry::At(ClockTime::MAX)] {
            timer.set_repeating(expiry, Duration::MAX).unwrap();
            assert!(timer.remaining().unwrap().unwrap() > 1_000_000 * HOUR, "{clock:?}");
            assert_not_expired(&timer);
        }
    }
    check(Monotonic);
    check(Boottime);
    check(Realtime);
}

/// Holds off the tests that set the clock, which every timer that heeds that would notice.
fn nobody_sets_the_clock() -> MutexGuard<'static, ()> {
    static CLOCK: Mutex<()> = Mutex::new(());
    CLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_timer_that_heeds_the_setting_of_the_clock_expires_like_any_other() {
    let _clock = nobody_sets_the_clock();
    let timer = TimerFd::with_clock(Realtime).unwrap();
    timer.set(Expiry::AtUnlessClockSet(ClockTime::now() + HOUR)).unwrap();
    assert!(timer.remaining().unwrap().is_some());
    timer.set(Expiry::AtUnlessClockSet(ClockTime::after_epoch(Duration::from_secs(1)))).unwrap();
    await_expiry(&timer);
    assert_eq!(timer.read().unwrap(), 1);
}

/// The flags of the last `timerfd_settime`, as the kernel shows them.
fn settime_flags<C>(timer: &TimerFd<C>) -> u32 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", timer.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("settime flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap()
}

#[test]
fn each_way_to_set_a_timer_has_the_flags_of_the_manual() {
    const ABSTIME: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    let _clock = nobody_sets_the_clock();
    let timer = TimerFd::with_clock(Realtime).unwrap();
    let later = ClockTime::now() + HOUR;
    for (expiry, flags) in [
        (Expiry::After(HOUR), 0),
        (Expiry::At(later), ABSTIME),
        (Expiry::AtUnlessClockSet(later), ABSTIME | CANCEL_ON_SET),
    ] {
        timer.set(expiry).unwrap();
        assert_eq!(settime_flags(&timer), flags, "{expiry:?}");
        timer.set_repeating(expiry, HOUR).unwrap();
        assert_eq!(settime_flags(&timer), flags, "{expiry:?}");
    }
}

/// Sets the real-time clock forward by a microsecond, if by so much. `false`: this user may not.
fn set_the_clock() -> bool {
    let mut time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    time.tv_nsec = (time.tv_nsec + 1000).min(999_999_999);
    match rustix::time::clock_settime(rustix::time::ClockId::Realtime, time) {
        Err(Errno::PERM) => {
            leave_out("timers that heed the setting of the clock", "CAP_SYS_TIME");
            false
        }
        result => {
            result.unwrap();
            true
        }
    }
}

#[test]
fn a_timer_that_heeds_the_setting_of_the_clock_is_readable_when_it_is_set() {
    let _clock = nobody_sets_the_clock();
    let (heeding, other) =
        (TimerFd::with_clock(Realtime).unwrap(), TimerFd::with_clock(Realtime).unwrap());
    let later = ClockTime::now() + HOUR;
    heeding.set(Expiry::AtUnlessClockSet(later)).unwrap();
    other.set(Expiry::At(later)).unwrap();
    if set_the_clock() {
        await_expiry(&heeding);
        assert_errno(heeding.read(), Errno::CANCELED);
        assert_not_expired(&heeding);
        assert_not_expired(&other);
    }
}

#[test]
fn a_timer_is_set_even_if_that_says_that_the_clock_was_set() {
    let _clock = nobody_sets_the_clock();
    let timer = TimerFd::with_clock(Realtime).unwrap();
    timer.set(Expiry::AtUnlessClockSet(ClockTime::now() + HOUR)).unwrap();
    if set_the_clock() {
        let past = ClockTime::after_epoch(Duration::from_secs(1));
        assert_errno(timer.set(Expiry::AtUnlessClockSet(past)), Errno::CANCELED);
        await_expiry(&timer);
        assert_eq!(timer.read().unwrap(), 1);
    }
}

#[test]
fn a_clock_that_is_never_set_never_goes_back() {
    fn check<C: Clock>() {
        let mut before = ClockTime::<C>::now();
        for _ in 0..10_000 {
            let now = ClockTime::now();
            assert!(now >= before, "{before:?}");
            before = now;
        }
    }
    check::<Monotonic>();
    check::<Boottime>();
}

#[test]
fn boot_time_is_not_behind_monotonic_time_and_real_time_is_of_this_century() {
    let monotonic = Timestamp::now().since_epoch();
    assert!(ClockTime::<Boottime>::now().since_epoch() >= monotonic);
    assert!(ClockTime::<Realtime>::now().since_epoch() > 30 * 365 * 24 * HOUR);
}

#[test]
fn a_time_is_one_register_and_needs_nothing_of_its_clock() {
    struct NoClock;
    fn assert_plain<T: Copy + Ord + std::hash::Hash + Debug + Default + Send + Sync>() {
        assert_eq!(size_of::<T>(), 8);
    }
    assert_plain::<ClockTime<NoClock>>();
    assert_eq!(format!("{:?}", Timestamp::from_nanos(1_500)), "ClockTime(1.5µs)");
}
