//! Signals: the mask of the own thread, what its guard leaves behind, descriptors that report
//! signals, and what a signal does to a wait.
//!
//! The test harness runs threads that block nothing, so a signal is either directed at the thread
//! that blocks it, or the test runs in a process of its own that began with it blocked.

use crate::support::{look, on_own_thread, wait};
use epoll_kit_testing::{
    DEADLINE, OwnProcess, assert_kind, eventually, in_own_process, is_own_process, sleeps_in_a_wait,
};
use epoll_sys::{
    Epoll, EventFd, Events, Expiry, Interest, Signal, SignalFd, SignalSet, TimerFd, Watch,
};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{Signal as Nix, raise};
use proptest::prelude::*;
use rustix::process::{Signal as Kill, getppid, getuid, kill_process};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn set<const N: usize>(signals: [Signal; N]) -> SignalSet {
    SignalSet::from_iter(signals)
}

fn blocked(signal: Signal) -> bool {
    SignalSet::blocked().unwrap().contains(signal)
}

fn pending(signal: Signal) -> bool {
    SignalSet::pending().unwrap().contains(signal)
}

proptest! {
    #[test]
    fn a_set_has_the_standard_signals_of_its_bits(mask: u64) {
        let bits = SignalSet::from_bits(mask)
            .iter()
            .fold(0_u64, |bits, signal| bits | 1 << (signal.as_raw() - 1));
        prop_assert_eq!(bits, mask & 0x7fff_ffff);
    }
}

#[test]
fn a_set_is_changed_signal_by_signal() {
    let mut set = SignalSet::empty();
    assert!(set.is_empty());
    set.insert(Signal::INT);
    set.insert(Signal::TERM);
    assert_eq!(set.iter().collect::<Vec<_>>(), [Signal::INT, Signal::TERM]);
    set.remove(Signal::INT);
    assert!(!set.contains(Signal::INT) && set.contains(Signal::TERM));
}

#[test]
fn a_guard_unblocks_only_what_it_has_blocked() {
    on_own_thread(|| {
        let outer = set([Signal::USR1]).block().unwrap();
        let inner = set([Signal::USR1, Signal::USR2]).block().unwrap();
        assert_eq!(outer.added(), set([Signal::USR1]));
        assert_eq!(inner.added(), set([Signal::USR2]));
        drop(inner);
        assert!(blocked(Signal::USR1) && !blocked(Signal::USR2));
        drop(outer);
        assert!(!blocked(Signal::USR1));
    });
}

#[test]
fn guards_may_be_dropped_in_the_order_they_were_made() {
    on_own_thread(|| {
        let outer = set([Signal::USR1]).block().unwrap();
        let inner = set([Signal::USR1, Signal::USR2]).block().unwrap();
        drop(outer);
        assert!(!blocked(Signal::USR1) && blocked(Signal::USR2));
        drop(inner);
        assert!(!blocked(Signal::USR2));
    });
}

#[test]
fn a_forgotten_guard_leaves_its_signals_blocked() {
    on_own_thread(|| {
        set([Signal::USR1]).block().unwrap().forget();
        assert!(blocked(Signal::USR1));
    });
}

#[test]
fn a_mask_is_inherited_by_new_threads_and_not_seen_by_others() {
    on_own_thread(|| {
        let _guard = set([Signal::USR1]).block().unwrap();
        assert!(on_own_thread(|| blocked(Signal::USR1)));
    });
    assert!(on_own_thread(|| !blocked(Signal::USR1)));
}

#[test]
fn kill_and_stop_are_passed_over_silently() {
    on_own_thread(|| {
        let set = set([Signal::KILL, Signal::STOP, Signal::USR1]);
        let _guard = set.block().unwrap();
        assert!(blocked(Signal::USR1) && !blocked(Signal::KILL) && !blocked(Signal::STOP));
        SignalFd::new(&set).unwrap();
    });
}

#[test]
fn a_guard_leaves_a_pending_signal_blocked_and_it_can_be_read() {
    const NAME: &str = "signals::a_guard_leaves_a_pending_signal_blocked_and_it_can_be_read";
    // Of its own, because a guard that failed here would end the process.
    in_own_process(NAME, || {
        let set = set([Signal::USR1, Signal::USR2]);
        let guard = set.block().unwrap();
        raise(Nix::SIGUSR1).unwrap();
        assert!(pending(Signal::USR1));
        drop(guard);
        assert!(blocked(Signal::USR1) && !blocked(Signal::USR2));
        let info = SignalFd::new(&set).unwrap().read().unwrap();
        assert_eq!(info.signal, Signal::USR1);
        assert!(!pending(Signal::USR1));
    });
}

#[test]
fn two_sends_of_a_pending_signal_are_one() {
    on_own_thread(|| {
        let set = set([Signal::USR1, Signal::USR2]);
        let _guard = set.block().unwrap();
        let signals = SignalFd::new(&set).unwrap();
        for signal in [Nix::SIGUSR2, Nix::SIGUSR1, Nix::SIGUSR1] {
            raise(signal).unwrap();
        }
        // The lower number first, whichever was sent first.
        assert_eq!(signals.read().unwrap().signal, Signal::USR1);
        assert_eq!(signals.read().unwrap().signal, Signal::USR2);
        assert_kind(signals.read(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_descriptor_reports_the_signals_of_its_latest_mask() {
    on_own_thread(|| {
        let _guard = set([Signal::USR1, Signal::USR2]).block().unwrap();
        let signals = SignalFd::new(&set([Signal::USR1])).unwrap();
        signals.set_mask(&set([Signal::USR2])).unwrap();
        raise(Nix::SIGUSR1).unwrap();
        assert_kind(signals.read(), ErrorKind::WouldBlock);
        raise(Nix::SIGUSR2).unwrap();
        assert_eq!(signals.read().unwrap().signal, Signal::USR2);
        assert_kind(signals.read(), ErrorKind::WouldBlock);
        signals.set_mask(&set([Signal::USR1])).unwrap();
        assert_eq!(signals.read().unwrap().signal, Signal::USR1);
    });
}

#[test]
fn a_descriptor_is_ready_for_as_long_as_a_signal_is_pending() {
    on_own_thread(|| {
        let set = set([Signal::USR1]);
        let _guard = set.block().unwrap();
        let (epoll, signals) = (Epoll::new().unwrap(), SignalFd::new(&set).unwrap());
        epoll.add(&signals, 0, Watch::level(Interest::IN)).unwrap();
        assert!(look(&epoll).is_empty());
        raise(Nix::SIGUSR1).unwrap();
        assert_eq!(look(&epoll).len(), 1);
        assert_eq!(look(&epoll).len(), 1);
        signals.read().unwrap();
        assert!(look(&epoll).is_empty());
    });
}

#[test]
fn a_read_gives_the_signals_of_the_thread_that_reads() {
    on_own_thread(|| {
        let set = set([Signal::USR1]);
        let _guard = set.block().unwrap();
        let signals = Arc::new(SignalFd::new(&set).unwrap());
        raise(Nix::SIGUSR1).unwrap();
        let elsewhere = Arc::clone(&signals);
        let error = on_own_thread(move || elsewhere.read().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(signals.read().unwrap().signal, Signal::USR1);
    });
}

#[test]
fn a_signal_of_the_own_process_names_it() {
    on_own_thread(|| {
        let set = set([Signal::USR1]);
        let _guard = set.block().unwrap();
        raise(Nix::SIGUSR1).unwrap();
        let info = SignalFd::new(&set).unwrap().read().unwrap();
        assert_eq!(info.pid, std::process::id());
        assert_eq!(info.uid, getuid().as_raw());
        assert_eq!(info.code, libc::SI_TKILL);
    });
}

#[test]
fn a_blocked_signal_does_not_end_a_wait() {
    let epoll = Epoll::new().unwrap();
    let counter = Arc::new(EventFd::new(0).unwrap());
    epoll.add(&*counter, 0, Watch::level(Interest::IN)).unwrap();
    let (send, sleeper) = mpsc::channel();
    let waiting = thread::spawn(move || {
        let set = set([Signal::USR1]);
        let _guard = set.block().unwrap();
        send.send((rustix::thread::gettid(), pthread_self())).unwrap();
        let count = epoll.wait(&mut Events::with_capacity(1), None).unwrap();
        // Read, or the guard would find it pending.
        SignalFd::new(&set).unwrap().read().unwrap();
        count
    });
    let (tid, handle) = sleeper.recv_timeout(DEADLINE).unwrap();
    let asleep = || sleeps_in_a_wait(std::process::id(), tid.as_raw_nonzero().get());
    eventually("the thread sleeps", asleep);
    pthread_kill(handle, Nix::SIGUSR1).unwrap();
    eventually("the thread sleeps on", asleep);
    counter.write(1).unwrap();
    assert_eq!(waiting.join().unwrap(), 1);
}

#[test]
fn stopping_and_continuing_the_process_interrupts_a_wait_without_end() {
    const NAME: &str = "signals::stopping_and_continuing_the_process_interrupts_a_wait_without_end";
    stopped_in_a_wait(NAME, None);
}

#[test]
fn stopping_and_continuing_the_process_interrupts_a_wait_with_a_timeout() {
    const NAME: &str =
        "signals::stopping_and_continuing_the_process_interrupts_a_wait_with_a_timeout";
    stopped_in_a_wait(NAME, Some(2 * DEADLINE));
}

/// Stops and continues a process of the test's own while it is in a wait.
#[track_caller]
fn stopped_in_a_wait(name: &str, timeout: Option<Duration>) {
    if is_own_process(name) {
        return expect_interruption(timeout);
    }
    let child = OwnProcess::spawn(name);
    child.await_sleep();
    child.stop();
    child.proceed();
    child.assert_passed();
}

fn expect_interruption(timeout: Option<Duration>) {
    let epoll = Epoll::new().unwrap();
    // Ends the wait of a process whose parent has failed.
    let timer = TimerFd::new().unwrap();
    let ready = EventFd::new(1).unwrap();
    epoll.add(&ready, 0, Watch::oneshot(Interest::IN)).unwrap();
    epoll.add(&timer, 0, Watch::level(Interest::IN)).unwrap();
    timer.set(Expiry::After(2 * DEADLINE)).unwrap();

    let mut events = Events::with_capacity(4);
    assert_eq!(epoll.wait(&mut events, None).unwrap(), 1);
    assert_kind(epoll.wait(&mut events, timeout), ErrorKind::Interrupted);
    assert!(events.is_empty());
}

#[test]
fn a_mask_and_what_is_pending_survive_exec_and_the_sender_is_named() {
    const NAME: &str = "signals::a_mask_and_what_is_pending_survive_exec_and_the_sender_is_named";
    if is_own_process(NAME) {
        return read_the_signal_of_the_parent();
    }
    on_own_thread(|| {
        // The new process starts with this thread's mask.
        let _guard = set([Signal::USR1]).block().unwrap();
        let child = OwnProcess::spawn(NAME);
        kill_process(child.pid(), Kill::USR1).unwrap();
        child.assert_passed();
    });
}

fn read_the_signal_of_the_parent() {
    assert!(blocked(Signal::USR1));
    let (epoll, signals) = (Epoll::new().unwrap(), SignalFd::new(&set([Signal::USR1])).unwrap());
    epoll.add(&signals, 0, Watch::level(Interest::IN)).unwrap();
    wait(&epoll);
    let info = signals.read().unwrap();
    assert_eq!(info.signal, Signal::USR1);
    assert_eq!(info.pid, getppid().unwrap().as_raw_nonzero().get().unsigned_abs());
    assert_eq!(info.uid, getuid().as_raw());
    assert_eq!(info.code, libc::SI_USER);
}
