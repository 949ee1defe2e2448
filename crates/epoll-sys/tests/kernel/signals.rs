//! Signals: the mask of the own thread, what its guard leaves behind, descriptors that report
//! signals, and what a signal does to a wait.
//!
//! The test harness runs threads that block nothing, so a signal is either directed at the thread
//! that blocks it, or the test runs in a process of its own that began with it blocked.

use crate::support::{look, on_own_thread, wait};
use epoll_kit_testing::{
    DEADLINE, OwnProcess, assert_errno, assert_kind, eventually, in_own_process, is_own_process,
    output_of, sleeps_in_a_wait, under_strace,
};
use epoll_sys::{
    Epoll, EventFd, Events, Expiry, Interest, Signal, SignalFd, SignalSet, TimerFd, Watch,
    poll_readable, thread_masks,
};
use proptest::prelude::*;
use rustix::io::Errno;
use rustix::process::{
    Resource, Rlimit, Signal as Kill, getppid, getrlimit, getuid, kill_process, setrlimit,
};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn set<const N: usize>(signals: [Signal; N]) -> SignalSet {
    SignalSet::from_iter(signals)
}

fn blocked(signal: Signal) -> bool {
    SignalSet::blocked().unwrap().contains(signal)
}

fn pending(signal: Signal) -> bool {
    SignalSet::pending().unwrap().contains(signal)
}

#[track_caller]
fn real_time(offset: u32) -> Signal {
    Signal::real_time(offset).unwrap()
}

proptest! {
    #[test]
    fn a_set_has_the_signals_of_its_bits(mask: u64) {
        let real_time = u64::MAX << (libc::SIGRTMIN() - 1);
        let set = SignalSet::from_bits(mask);
        prop_assert_eq!(set.bits(), mask & (real_time | 0x7fff_ffff));
        let listed = set.iter().fold(0_u64, |bits, signal| bits | 1 << (signal.as_raw() - 1));
        prop_assert_eq!(listed, set.bits());
        prop_assert_eq!(set.is_empty(), set.bits() == 0);
    }

    #[test]
    fn sets_are_combined_bit_by_bit(one: u64, other: u64) {
        let [one, other] = [one, other].map(SignalSet::from_bits);
        prop_assert_eq!((one | other).bits(), one.bits() | other.bits());
        prop_assert_eq!((one & other).bits(), one.bits() & other.bits());
        prop_assert_eq!((one - other).bits(), one.bits() & !other.bits());
        let mut sum = one;
        sum.extend(other.iter());
        prop_assert_eq!(sum, one | other);
    }

    /// The kernel's own mask holds whatever the conversion to it and back would lose.
    #[test]
    fn the_kernel_gives_back_the_set_that_it_was_given(mask: u64) {
        let mut wanted = SignalSet::from_bits(mask);
        let blocked = on_own_thread(move || {
            wanted.block().unwrap().forget();
            SignalSet::blocked().unwrap()
        });
        wanted.remove(Signal::KILL);
        wanted.remove(Signal::STOP);
        prop_assert_eq!(blocked, wanted);
    }
}

#[test]
fn a_set_is_changed_signal_by_signal() {
    let mut set = SignalSet::empty();
    assert!(set.is_empty());
    set.insert(Signal::INT);
    set.insert(Signal::TERM);
    set.insert(real_time(0));
    assert!(!set.is_empty());
    assert_eq!(set.iter().collect::<Vec<_>>(), [Signal::INT, Signal::TERM, real_time(0)]);
    set.remove(Signal::INT);
    set.remove(Signal::INT);
    assert!(!set.contains(Signal::INT) && set.contains(Signal::TERM));
    assert_eq!(format!("{set:?}"), "{SIGTERM, SIGRTMIN}");
}

#[test]
fn a_guard_unblocks_only_what_it_has_blocked() {
    on_own_thread(|| {
        let outer = set([Signal::USR1]).block().unwrap();
        let inner = set([Signal::USR1, Signal::USR2]).block().unwrap();
        assert_eq!(outer.set(), set([Signal::USR1]));
        assert_eq!(inner.set(), set([Signal::USR1, Signal::USR2]));
        drop(inner);
        assert!(blocked(Signal::USR1) && !blocked(Signal::USR2));
        drop(outer);
        assert!(!blocked(Signal::USR1));
    });
}

/// The signals that guards in a sequence may want.
const WANTED: [Signal; 2] = [Signal::USR1, Signal::USR2];

/// Every order in which `guards` guards are made, one after another, and dropped: `true` makes the
/// next one, and `false` drops the one with that number among those that live.
fn orders(guards: usize) -> Vec<Vec<(bool, usize)>> {
    fn go_on(
        left: usize,
        live: usize,
        begun: &mut Vec<(bool, usize)>,
        all: &mut Vec<Vec<(bool, usize)>>,
    ) {
        if left == 0 && live == 0 {
            all.push(begun.clone());
        }
        if left > 0 {
            begun.push((true, 0));
            go_on(left - 1, live + 1, begun, all);
            begun.pop();
        }
        for which in 0..live {
            begun.push((false, which));
            go_on(left, live - 1, begun, all);
            begun.pop();
        }
    }
    let mut all = Vec::new();
    go_on(guards, 0, &mut Vec::new(), &mut all);
    all
}

fn subset(bits: usize) -> SignalSet {
    let is_in = |(index, _): &(usize, Signal)| bits >> index & 1 == 1;
    WANTED.into_iter().enumerate().filter(is_in).map(|(_, signal)| signal).collect()
}

/// Makes and drops guards of these sets in this order in a thread that blocked `before`, and compares
/// the mask after each step with what it should be. `USR1` is sent before step `sent_at`, if it is
/// blocked then.
fn follow(order: &[(bool, usize)], sets: &[SignalSet], before: SignalSet, sent_at: usize) {
    let signals = SignalFd::new(&subset(3)).unwrap();
    let mut next = sets.iter();
    let mut live = Vec::new();
    let mut left = SignalSet::empty();
    for (step, &(makes, which)) in order.iter().enumerate() {
        if step == sent_at && blocked(Signal::USR1) {
            Signal::USR1.raise().unwrap();
            // It is pending when the last guard goes, which leaves it blocked.
            left.insert(Signal::USR1);
        }
        if makes {
            let guard = next.next().unwrap().block().unwrap();
            assert_eq!(guard.mask_before_guards(), before, "{order:?} {sets:?} {step}");
            live.push(guard);
        } else {
            drop(live.remove(which));
        }
        let wanted = live.iter().fold(before, |sum, guard| sum | guard.set());
        assert_eq!(SignalSet::blocked().unwrap(), wanted | left, "{order:?} {sets:?} {step}");
    }
    if !left.is_empty() {
        assert_eq!(signals.read().unwrap().signal, Signal::USR1);
        // Another guard after the read unblocks what was left, and not what was blocked before.
        let guard = subset(3).block().unwrap();
        assert_eq!(guard.mask_before_guards(), before, "{order:?} {sets:?}");
    }
    assert_eq!(SignalSet::blocked().unwrap(), before, "{order:?} {sets:?}");
}

#[test]
fn guards_keep_signals_blocked_in_every_order_in_which_they_are_dropped() {
    const NAME: &str =
        "signals::guards_keep_signals_blocked_in_every_order_in_which_they_are_dropped";
    // Of its own, because a guard that failed here would end the process.
    in_own_process(NAME, || {
        let orders = orders(3);
        assert_eq!(orders.len(), 15, "5 pairs for the first guard, then 3, then 1");
        for before in (0..4).map(subset) {
            on_own_thread_that_blocks(before, {
                let orders = orders.clone();
                move || {
                    for (order, code) in
                        orders.iter().flat_map(|order| (0..64).map(move |code| (order, code)))
                    {
                        let sets = [0, 2, 4].map(|at| subset(code >> at & 3));
                        (0..=order.len()).for_each(|sent_at| follow(order, &sets, before, sent_at));
                    }
                }
            });
        }
    });
}

/// Runs `body` in a thread that blocks `set` without a guard of its own: it has inherited the mask.
#[track_caller]
fn on_own_thread_that_blocks(set: SignalSet, body: impl FnOnce() + Send + 'static) {
    on_own_thread(move || {
        set.block().unwrap().forget();
        on_own_thread(body);
    });
}

#[test]
fn a_forgotten_guard_leaves_its_signals_blocked() {
    on_own_thread(|| {
        set([Signal::USR1]).block().unwrap().forget();
        assert!(blocked(Signal::USR1));
        drop(set([Signal::USR1]).block().unwrap());
        assert!(blocked(Signal::USR1), "the forgotten guard still wants it");
    });
}

#[test]
fn a_guard_that_another_thread_drops_unblocks_nothing_anywhere() {
    on_own_thread(|| {
        let guard = set([Signal::USR1, Signal::USR2]).block().unwrap();
        on_own_thread(move || {
            let own = set([Signal::USR1]).block().unwrap();
            drop(guard);
            assert!(blocked(Signal::USR1) && blocked(Signal::USR2));
            drop(own);
            assert!(blocked(Signal::USR1), "inherited");
        });
        assert!(blocked(Signal::USR1) && blocked(Signal::USR2));
        drop(set([Signal::USR1]).block().unwrap());
        assert!(blocked(Signal::USR1));
    });
}

#[test]
fn a_guard_of_another_thread_does_not_count_among_the_own() {
    let (give, given) = mpsc::channel();
    // It is started first, so that it inherits nothing, and has a guard of the same signal.
    let other = thread::spawn(move || {
        let own = set([Signal::USR1]).block().unwrap();
        drop::<epoll_sys::MaskGuard>(given.recv_timeout(DEADLINE).unwrap());
        let was_blocked = blocked(Signal::USR1);
        drop(own);
        (was_blocked, blocked(Signal::USR1))
    });
    on_own_thread(move || give.send(set([Signal::USR1]).block().unwrap()).unwrap());
    assert_eq!(other.join().unwrap(), (true, false));
}

#[test]
fn a_guard_may_be_dropped_when_its_thread_ends() {
    thread_local!(static GUARD: std::cell::RefCell<Option<epoll_sys::MaskGuard>> =
        const { std::cell::RefCell::new(None) });
    on_own_thread(|| {
        GUARD.with(|kept| *kept.borrow_mut() = Some(set([Signal::USR1]).block().unwrap()));
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
        Signal::USR1.raise().unwrap();
        assert!(pending(Signal::USR1));
        drop(guard);
        assert!(blocked(Signal::USR1) && !blocked(Signal::USR2));
        let info = SignalFd::new(&set).unwrap().read().unwrap();
        assert_eq!(info.signal, Signal::USR1);
        assert!(!pending(Signal::USR1));
    });
}

#[test]
fn a_descriptor_is_lent_raw_for_other_event_loops() {
    let signals = SignalFd::new(&SignalSet::empty()).unwrap();
    assert_eq!(signals.as_raw_fd(), signals.as_fd().as_raw_fd());
}

#[test]
fn two_sends_of_a_pending_signal_are_one() {
    on_own_thread(|| {
        let set = set([Signal::USR1, Signal::USR2]);
        let _guard = set.block().unwrap();
        let signals = SignalFd::new(&set).unwrap();
        for signal in [Signal::USR2, Signal::USR1, Signal::USR1] {
            signal.raise().unwrap();
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
        Signal::USR1.raise().unwrap();
        assert_kind(signals.read(), ErrorKind::WouldBlock);
        Signal::USR2.raise().unwrap();
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
        Signal::USR1.raise().unwrap();
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
        Signal::USR1.raise().unwrap();
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
        Signal::USR1.raise().unwrap();
        let info = SignalFd::new(&set).unwrap().read().unwrap();
        assert_eq!(info.pid, std::process::id());
        assert_eq!(info.uid, getuid().as_raw());
        assert_eq!(info.code, libc::SI_TKILL);
    });
}

#[test]
fn real_time_signals_are_read_one_by_one_in_order_with_their_values() {
    const NAME: &str = "signals::real_time_signals_are_read_one_by_one_in_order_with_their_values";
    if !is_own_process(NAME) {
        // The new process starts with this thread's mask, so that each of its threads blocks them.
        return on_own_thread(|| {
            let _guard = set([real_time(0), real_time(5), Signal::USR1]).block().unwrap();
            OwnProcess::spawn(NAME).assert_passed();
        });
    }
    let signals = SignalFd::new(&set([real_time(0), real_time(5), Signal::USR1])).unwrap();
    let own = std::process::id();
    for (signal, value) in [(real_time(5), 7), (real_time(0), -1), (real_time(5), i32::MIN)] {
        signal.queue(own, value).unwrap();
    }
    // A standard signal carries a value too, but only the first.
    Signal::USR1.queue(own, 42).unwrap();
    Signal::USR1.queue(own, 43).unwrap();
    let read: Vec<_> = std::iter::from_fn(|| signals.read().ok()).collect();
    let expected =
        [(Signal::USR1, 42), (real_time(0), -1), (real_time(5), 7), (real_time(5), i32::MIN)];
    let pairs: Vec<_> = read.iter().map(|info| (info.signal, info.value)).collect();
    assert_eq!(pairs, expected);
    for info in read {
        assert_eq!((info.code, info.pid, info.uid), (libc::SI_QUEUE, own, getuid().as_raw()));
    }
}

#[test]
fn a_signal_without_a_value_has_zero() {
    on_own_thread(|| {
        let set = set([Signal::USR1, real_time(1)]);
        let _guard = set.block().unwrap();
        let signals = SignalFd::new(&set).unwrap();
        for signal in [Signal::USR1, real_time(1)] {
            signal.raise().unwrap();
            let info = signals.read().unwrap();
            assert_eq!((info.signal, info.value), (signal, 0));
        }
    });
}

#[test]
fn no_process_is_esrch() {
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    let id = ended.id();
    ended.wait().unwrap();
    for process in [0, id, i32::MAX.unsigned_abs(), 1 << 31, u32::MAX] {
        assert_errno(Signal::USR1.queue(process, 0), Errno::SRCH);
    }
}

#[test]
fn a_full_queue_of_signals_would_block() {
    in_own_process("signals::a_full_queue_of_signals_would_block", || {
        let signal = real_time(0);
        let _guard = set([signal]).block().unwrap();
        let none = Rlimit { current: Some(0), ..getrlimit(Resource::Sigpending) };
        setrlimit(Resource::Sigpending, none).unwrap();
        assert_kind(signal.queue(std::process::id(), 1), ErrorKind::WouldBlock);
        assert_kind(signal.raise(), ErrorKind::WouldBlock);
        assert!(!pending(signal));
    });
}

#[test]
fn a_process_of_another_user_is_denied() {
    const NAME: &str = "signals::a_process_of_another_user_is_denied";
    under_strace(NAME, &["-qq", "-e", "inject=rt_sigqueueinfo:error=EPERM"], || {
        assert_kind(Signal::USR1.queue(std::process::id(), 0), ErrorKind::PermissionDenied);
    });
}

#[test]
fn what_rust_and_the_parent_ignore_is_ignored_and_nothing_else() {
    const NAME: &str = "signals::what_rust_and_the_parent_ignore_is_ignored_and_nothing_else";
    if !is_own_process(NAME) {
        let own = std::env::current_exe().unwrap();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "trap '' HUP USR2; exec env --default-signal=INT \"$@\"", "sh"]);
        shell.arg(own).args(["--exact", NAME]).env(epoll_kit_testing::CHILD, NAME);
        let output = output_of(&mut shell, DEADLINE).unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        return assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    }
    for signal in [Signal::HUP, Signal::USR2, Signal::PIPE] {
        assert!(signal.is_ignored().unwrap(), "{signal}");
        assert!(SignalSet::ignored().unwrap().contains(signal), "{signal}");
    }
    for signal in [Signal::INT, Signal::CHLD, Signal::KILL, real_time(0)] {
        assert!(!signal.is_ignored().unwrap(), "{signal}");
        assert!(!SignalSet::ignored().unwrap().contains(signal), "{signal}");
    }
}

#[test]
fn a_filter_that_denies_the_calls_is_an_error_and_changes_nothing() {
    const NAME: &str = "signals::a_filter_that_denies_the_calls_is_an_error_and_changes_nothing";
    under_strace(NAME, &["-qq", "-e", "inject=rt_sigprocmask:error=EPERM"], || {
        let set = set([Signal::USR1]);
        assert_errno(SignalSet::blocked(), Errno::PERM);
        assert_errno(set.block(), Errno::PERM);
    });
}

#[test]
fn where_nobody_tells_what_is_pending_a_guard_leaves_everything_blocked() {
    const NAME: &str =
        "signals::where_nobody_tells_what_is_pending_a_guard_leaves_everything_blocked";
    under_strace(NAME, &["-qq", "-e", "inject=rt_sigpending:error=EPERM"], || {
        assert_errno(SignalSet::pending(), Errno::PERM);
        drop(set([Signal::USR1]).block().unwrap());
        assert!(blocked(Signal::USR1));
    });
}

#[test]
fn a_mask_that_a_descriptor_may_not_get_is_an_error() {
    const NAME: &str = "signals::a_mask_that_a_descriptor_may_not_get_is_an_error";
    under_strace(NAME, &["-qq", "-e", "inject=signalfd4:error=EPERM:when=2+"], || {
        let signals = SignalFd::new(&set([Signal::USR1])).unwrap();
        assert_errno(signals.set_mask(&set([Signal::USR2])), Errno::PERM);
        assert_errno(SignalFd::new(&set([Signal::USR1])), Errno::PERM);
    });
}

#[test]
fn the_masks_of_threads_are_listed_with_their_names() {
    // The kernel keeps 15 bytes, of which the last is half of a letter.
    const NAME: &str = "aufgaben-für-öl";
    let (end, ended) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let body = move || {
        let _guard = set([Signal::USR2]).block().unwrap();
        tell.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()).unwrap();
        let _ = ended.recv();
    };
    let listed = thread::Builder::new().name(NAME.into()).spawn(body).unwrap();
    let id = told.recv_timeout(DEADLINE).unwrap();
    let masks = thread_masks().unwrap();
    let found: Vec<_> = masks.iter().filter(|thread| thread.id == id).collect();
    assert_eq!(found.len(), 1, "{masks:?}");
    assert_eq!(found[0].name, "aufgaben-für-\u{fffd}");
    assert!(found[0].blocked.contains(Signal::USR2) && !found[0].blocked.contains(Signal::USR1));
    assert!(masks.iter().any(|thread| thread.id == std::process::id()), "{masks:?}");
    drop(end);
    listed.join().unwrap();
}

#[test]
fn a_missing_file_of_proc_is_named() {
    const NAME: &str = "signals::a_missing_file_of_proc_is_named";
    let options = ["-qq", "-P", "/proc/self/task", "-e", "inject=openat:error=ENOENT"];
    under_strace(NAME, &options, || {
        let error = thread_masks().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/proc/self/task"), "{error}");
    });
}

#[test]
fn a_poll_says_whether_there_is_something_to_read() {
    let counter = EventFd::new(0).unwrap();
    let start = Instant::now();
    assert!(!poll_readable(&counter, Some(Duration::from_millis(10))).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(10));
    counter.write(1).unwrap();
    // It would not return if it waited.
    for timeout in [None, Some(Duration::MAX), Some(Duration::ZERO)] {
        assert!(poll_readable(&counter, timeout).unwrap());
    }
}

#[test]
fn a_handler_interrupts_a_poll() {
    const NAME: &str = "signals::a_handler_interrupts_a_poll";
    under_strace(NAME, &["-qq", "-e", "inject=ppoll:error=EINTR:when=1"], || {
        let counter = EventFd::new(1).unwrap();
        assert_kind(poll_readable(&counter, None), ErrorKind::Interrupted);
    });
}

#[test]
fn a_blocked_signal_does_not_end_a_wait() {
    const NAME: &str = "signals::a_blocked_signal_does_not_end_a_wait";
    if !is_own_process(NAME) {
        // The new process starts with this thread's mask, so that each of its threads blocks it.
        return on_own_thread(|| {
            let _guard = set([Signal::USR1]).block().unwrap();
            OwnProcess::spawn(NAME).assert_passed();
        });
    }
    let epoll = Epoll::new().unwrap();
    let counter = Arc::new(EventFd::new(0).unwrap());
    epoll.add(&*counter, 0, Watch::level(Interest::IN)).unwrap();
    let (send, sleeper) = mpsc::channel();
    let waiting = thread::spawn(move || {
        send.send(rustix::thread::gettid()).unwrap();
        epoll.wait(&mut Events::with_capacity(1), None).unwrap()
    });
    let tid = sleeper.recv_timeout(DEADLINE).unwrap();
    let asleep = || sleeps_in_a_wait(std::process::id(), tid.as_raw_nonzero().get());
    eventually("the thread sleeps", asleep);
    Signal::USR1.queue(std::process::id(), 0).unwrap();
    eventually("the thread sleeps on", asleep);
    assert!(pending(Signal::USR1));
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
