//! Values that have signals in common, dropped in any order.

use crate::support::{all, block, blocked, send_to_self, set};
use epoll_shutdown::{Signal, SignalSet};
use std::thread;

pub(crate) fn the_older_may_be_dropped_first() {
    let first = block([Signal::USR1]);
    let second = block([Signal::USR1, Signal::USR2]);
    send_to_self(Signal::USR1);
    assert_eq!(all(&second), [Signal::USR1]);
    drop(first);
    send_to_self(Signal::USR1);
    assert_eq!(all(&second), [Signal::USR1]);
    drop(second);
    assert_eq!(blocked(), SignalSet::empty());
}

pub(crate) fn a_value_may_be_replaced_by_assignment() {
    let mut signals = block([Signal::TERM, Signal::HUP]);
    assert_eq!(blocked(), signals.set());
    signals = block([Signal::TERM, Signal::USR1]);
    assert_eq!(blocked(), set([Signal::TERM, Signal::USR1]));
    send_to_self(Signal::TERM);
    assert_eq!(all(&signals), [Signal::TERM]);
}

pub(crate) fn a_signal_left_pending_is_unblocked_by_the_next_after_it_was_read() {
    let mut signals = block([Signal::TERM]);
    send_to_self(Signal::TERM);
    drop(signals);
    assert_eq!(blocked(), set([Signal::TERM]), "it is pending");
    signals = block([Signal::TERM]);
    assert_eq!(all(&signals), [Signal::TERM]);
    drop(signals);
    assert_eq!(blocked(), SignalSet::empty());
}

pub(crate) fn dropped_by_another_thread_it_unblocks_nothing() {
    let signals = block([Signal::TERM]);
    let in_thread = thread::spawn(move || {
        drop(signals);
        blocked()
    });
    assert_eq!(in_thread.join().expect("a thread that returns"), set([Signal::TERM]));
    assert_eq!(blocked(), set([Signal::TERM]));
    send_to_self(Signal::TERM);
    assert!(SignalSet::pending().expect("a set").contains(Signal::TERM));
}
