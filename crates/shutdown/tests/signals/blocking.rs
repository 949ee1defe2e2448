//! The mask, from the moment when signals are blocked to the moment after.

use crate::support::{block, blocked, send_to_self, set, status_line};
use epoll_shutdown::Signal;
use std::os::fd::{AsFd, AsRawFd};
use std::{fs, thread};

pub(crate) fn dropping_restores_the_mask() {
    let _guard = set([Signal::USR2, Signal::INT]).block().expect("a mask");
    let before = blocked();
    let signals = block([Signal::TERM, Signal::INT]);
    let both: Vec<_> = before.iter().chain([Signal::TERM]).collect();
    assert_eq!(blocked(), set(both));
    send_to_self(Signal::TERM);
    assert!(signals.read().expect("a signal").is_some());
    drop(signals);
    assert_eq!(blocked(), before, "what was blocked before stays, the rest does not");
}

pub(crate) fn dropping_leaves_a_pending_signal_blocked() {
    let before = blocked();
    let signals = block([Signal::TERM, Signal::INT, Signal::USR1]);
    send_to_self(Signal::TERM);
    send_to_self(Signal::USR1);
    drop(signals);
    // This process is still there to find that out.
    let pending = [Signal::TERM, Signal::USR1];
    assert_eq!(blocked(), set(before.iter().chain(pending)));

    let signals = block(pending);
    let mut come = [signals.read(), signals.read()].map(|read| {
        let info = read.expect("a signal").expect("one that was pending");
        info.signal
    });
    come.sort();
    assert_eq!(come, [Signal::USR1, Signal::TERM]);
}

pub(crate) fn threads_started_afterwards_inherit_the_mask() {
    let signals = block([Signal::TERM, Signal::HUP]);
    let of_this_one = blocked();
    let thread = thread::spawn(move || {
        send_to_self(Signal::HUP);
        blocked()
    });
    assert_eq!(thread.join().expect("a thread that returns"), of_this_one);
    let come = signals.read().expect("a signal").map(|info| info.signal);
    assert_eq!(come, Some(Signal::HUP));
    // And so nobody refuses a second set.
    drop(block([Signal::HUP, Signal::TERM]));
}

/// Dispositions, threads and descriptors of this process.
#[track_caller]
fn face() -> ([String; 3], usize) {
    let lines = ["SigIgn", "SigCgt", "Threads"].map(|name| status_line("self", name));
    (lines, fs::read_dir("/proc/self/fd").expect("a directory").count())
}

pub(crate) fn nothing_else_of_the_process_changes() {
    let (lines, descriptors) = face();
    let signals = block([Signal::TERM, Signal::INT, Signal::CHLD, Signal::PIPE]);
    assert_eq!(face(), (lines.clone(), descriptors + 1), "one descriptor, nothing else");
    drop(signals);
    assert_eq!(face(), (lines, descriptors));
}

pub(crate) fn a_descriptor_is_lent_raw_for_other_event_loops() {
    let signals = block([Signal::TERM]);
    assert_eq!(signals.as_raw_fd(), signals.as_fd().as_raw_fd());
}
