//! A timerfd that cannot be set, or read. strace injects the error, which Linux has none of today.

use crate::support::{HOUR, MILLISECOND};
use epoll_kit_testing::{DEADLINE, assert_errno, under_strace};
use epoll_sys::{Epoll, Events, Interest, Watch};
use epoll_timers::{Realtime, TICK, Timers};
use rustix::io::Errno;
use std::time::Duration;

/// Runs `body` in a process in which the settings of a timerfd with these numbers fail.
fn with_failing_settings(name: &str, when: &str, body: fn()) {
    let inject = format!("inject=timerfd_settime:error=ENOMEM:when={when}");
    under_strace(name, &["-o", "/dev/null", "-e", &inject], body);
}

/// Returns the values of what fires after the next report.
fn wait(epoll: &Epoll, timers: &mut Timers<u32>) -> Vec<u32> {
    let mut values = Vec::new();
    while values.is_empty() {
        let count = epoll.wait(&mut Events::with_capacity(1), Some(DEADLINE)).unwrap();
        assert_eq!(count, 1, "no report before the deadline");
        let now = timers.now();
        while let Some(fired) = timers.next_due(now).unwrap() {
            values.push(fired.value);
        }
    }
    values
}

fn watched() -> (Epoll, Timers<u32>) {
    let (epoll, timers) = (Epoll::new().unwrap(), Timers::new().unwrap());
    epoll.add(&timers, 0, Watch::edge(Interest::IN)).unwrap();
    (epoll, timers)
}

#[test]
fn a_timer_for_which_the_timerfd_cannot_be_set_is_not_inserted() {
    let name = "failures::a_timer_for_which_the_timerfd_cannot_be_set_is_not_inserted";
    with_failing_settings(name, "1", || {
        let (epoll, mut timers) = watched();
        assert_errno(timers.insert(timers.now(), 1), Errno::NOMEM);
        assert_eq!((timers.len(), timers.next_expiry()), (0, None));
        timers.insert(timers.now() + MILLISECOND, 2).unwrap();
        assert_eq!(wait(&epoll, &mut timers), [2]);
    });
}

#[test]
fn a_timer_that_cannot_be_set_earlier_has_its_deadline_nevertheless() {
    let name = "failures::a_timer_that_cannot_be_set_earlier_has_its_deadline_nevertheless";
    with_failing_settings(name, "2", || {
        let (epoll, mut timers) = watched();
        let key = timers.insert(timers.now() + HOUR, 1).unwrap();
        let deadline = timers.now() + MILLISECOND;
        assert_errno(timers.reschedule(key, deadline), Errno::NOMEM);
        assert_eq!(timers.deadline(key), Some(deadline));
        timers.rearm().unwrap();
        assert_eq!(wait(&epoll, &mut timers), [1]);
    });
}

#[test]
fn a_timer_for_which_the_timerfd_cannot_be_set_is_not_restarted() {
    let name = "failures::a_timer_for_which_the_timerfd_cannot_be_set_is_not_restarted";
    // The first is for the insertion, and the second unsets the timerfd.
    with_failing_settings(name, "3", || {
        let (epoll, mut timers) = watched();
        timers.insert(timers.now(), 1).unwrap();
        epoll.wait(&mut Events::with_capacity(1), Some(DEADLINE)).unwrap();
        let fired = loop {
            let now = timers.now();
            let fired = timers.next_due(now).unwrap();
            if let Some(fired) = fired {
                assert_eq!(timers.next_due(now).unwrap(), None);
                break fired;
            }
        };
        assert_errno(timers.restart(fired, timers.now() + MILLISECOND), Errno::NOMEM);
        assert!(timers.is_empty());
    });
}

#[test]
fn a_pass_after_which_the_timerfd_cannot_be_set_has_ended() {
    let name = "failures::a_pass_after_which_the_timerfd_cannot_be_set_has_ended";
    with_failing_settings(name, "2", || {
        let (epoll, mut timers) = watched();
        let start = timers.now();
        timers.insert(start + 10 * HOUR, 2).unwrap();
        let now = timers.next_expiry().unwrap();
        assert!(now < start + 10 * HOUR, "it has to be moved down");
        assert_errno(timers.next_due(now), Errno::NOMEM);
        // The next pass is one of its own, with the time that it is given.
        assert_eq!(timers.next_due(start + 11 * HOUR).unwrap().unwrap().value, 2);
        assert_eq!(timers.next_due(now).unwrap(), None);
        assert!(epoll.wait(&mut Events::with_capacity(1), Some(Duration::ZERO)).unwrap() == 0);
    });
}

#[test]
fn a_timerfd_that_cannot_be_read_is_an_error_of_the_pass() {
    let name = "failures::a_timerfd_that_cannot_be_read_is_an_error_of_the_pass";
    let inject = "inject=read:error=EIO:when=1";
    let options = ["-o", "/dev/null", "-P", "anon_inode:[timerfd]", "-e", inject];
    under_strace(name, &options, || {
        let mut timers: Timers<u32, _> = Timers::with_clock(Realtime, TICK).unwrap();
        let start = timers.now();
        timers.insert(start + 10 * HOUR, 1).unwrap();
        assert_errno(timers.next_due(start), Errno::IO);
        assert_eq!(timers.next_due(start).unwrap(), None);
        assert_eq!((timers.len(), timers.clock_sets()), (1, 0));
    });
}
