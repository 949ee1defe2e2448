//! Signals come out of the descriptor: with their sender, level-triggered, at least once and at
//! most as often as they were sent.

use crate::support::{PATIENCE, all, block, blocked, send_to_self, set};
use epoll_shutdown::{Signal, SignalSet};
use epoll_sys::{Epoll, Events, Interest, Watch};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

pub(crate) fn a_signal_names_its_sender() {
    let signals = block([Signal::TERM, Signal::INT]);
    assert_eq!(signals.set(), set([Signal::TERM, Signal::INT]));
    assert_eq!(signals.read().expect("nothing yet"), None);
    send_to_self(Signal::TERM);
    let info = signals.read().expect("a signal").expect("a signal that has come");
    let sender = (info.signal, info.pid, info.uid, info.code);
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(sender, (Signal::TERM, std::process::id(), uid, 0));
    assert_eq!(signals.read().expect("nothing more"), None);
}

pub(crate) fn epoll_reports_a_signal_until_it_is_read() {
    let signals = block([Signal::TERM]);
    let epoll = Epoll::new().expect("an epoll");
    epoll.add(&signals, 7, Watch::level(Interest::IN)).expect("a registration");
    let mut events = Events::with_capacity(4);
    let mut reports = |timeout| epoll.wait(&mut events, Some(timeout)).expect("a wait");
    assert_eq!(reports(Duration::ZERO), 0);
    send_to_self(Signal::TERM);
    assert_eq!(reports(PATIENCE), 1);
    assert_eq!(reports(Duration::ZERO), 1, "nobody has read it");
    assert_eq!(all(&signals), [Signal::TERM]);
    assert_eq!(reports(Duration::ZERO), 0);
}

/// The number of signals of each kind that a storm sends.
const STORM: usize = 5_000;

pub(crate) fn a_storm_coalesces_and_kills_nobody() {
    let kinds = [Signal::TERM, Signal::USR1];
    let signals = block(kinds);
    let epoll = Epoll::new().expect("an epoll");
    epoll.add(&signals, 0, Watch::level(Interest::IN)).expect("a registration");
    let senders = kinds.map(|signal| {
        thread::spawn(move || {
            for _ in 0..STORM {
                send_to_self(signal);
            }
        })
    });
    let mut seen = BTreeMap::new();
    let mut events = Events::with_capacity(4);
    while !senders.iter().all(thread::JoinHandle::is_finished) {
        epoll.wait(&mut events, Some(Duration::from_millis(1))).expect("a wait");
        all(&signals).into_iter().for_each(|signal| *seen.entry(signal).or_default() += 1);
    }
    // What was sent between the last look and the end.
    all(&signals).into_iter().for_each(|signal| *seen.entry(signal).or_default() += 1);
    for signal in kinds {
        let count: usize = seen.remove(&signal).unwrap_or(0);
        assert!((1..=STORM).contains(&count), "{signal} was read {count} times");
    }
    assert!(seen.is_empty(), "nobody sent these: {seen:?}");

    // While nobody reads, however many become one.
    (0..STORM).for_each(|_| kinds.into_iter().for_each(send_to_self));
    let mut rest = all(&signals);
    rest.sort();
    assert_eq!(rest, [Signal::USR1, Signal::TERM]);
}

pub(crate) fn a_signal_that_was_pending_before_the_descriptor_is_read() {
    let guard = set([Signal::TERM]).block().expect("a mask");
    send_to_self(Signal::TERM);
    assert!(SignalSet::pending().expect("a status").contains(Signal::TERM));
    let signals = block([Signal::TERM]);
    assert_eq!(all(&signals), [Signal::TERM]);
    drop(signals);
    assert!(blocked().contains(Signal::TERM), "it was blocked before, so it still is");
    drop(guard);
}

pub(crate) fn real_time_signals_come_one_by_one_with_their_values() {
    let [first, second] = [0, 2].map(|offset| Signal::real_time(offset).expect("a signal"));
    let signals = block([second, Signal::TERM, first]);
    assert_eq!(signals.set(), set([Signal::TERM, first, second]));
    for (signal, value) in [(second, 1), (first, 2), (second, 3), (first, -4)] {
        signal.queue(std::process::id(), value).expect("a signal that can be sent");
    }
    send_to_self(Signal::TERM);
    let next = || signals.read().expect("a signal or none");
    let come: Vec<_> = std::iter::from_fn(next).map(|info| (info.signal, info.value)).collect();
    let expected = [(Signal::TERM, 0), (first, 2), (first, -4), (second, 1), (second, 3)];
    assert_eq!(come, expected);
}
