//! Signals that the process ignored when it was started, as under `nohup`.

use crate::support::{all, block, blocked, run_again, send_to_self, set};
use epoll_shutdown::{BlockError, Signal, SignalSet, Signals};
use std::process::Command;

/// Runs `body` in a process that was started with SIGINT and SIGHUP ignored.
fn where_int_and_hup_are_ignored(name: &str, body: fn()) {
    if SignalSet::ignored().expect("a set").contains(Signal::INT) {
        return body();
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT HUP; exec \"$@\"", "sh"]);
    run_again(name, &mut shell);
}

pub(crate) fn what_was_ignored_stays_ignored() {
    where_int_and_hup_are_ignored("ignored::what_was_ignored_stays_ignored", || {
        let signals = block([Signal::TERM, Signal::INT, Signal::HUP, Signal::PIPE, Signal::CHLD]);
        // A child that ends is ignored by default, which is another thing.
        assert_eq!(signals.set(), set([Signal::TERM, Signal::CHLD]));
        assert_eq!(blocked(), set([Signal::TERM, Signal::CHLD]));
        for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
            send_to_self(signal);
        }
        assert_eq!(all(&signals), [Signal::TERM]);
        for signal in [Signal::INT, Signal::HUP] {
            assert!(signal.is_ignored().expect("a disposition"));
        }
    });
}

pub(crate) fn what_was_ignored_is_reported_where_that_is_asked_for() {
    const NAME: &str = "ignored::what_was_ignored_is_reported_where_that_is_asked_for";
    where_int_and_hup_are_ignored(NAME, || {
        let wanted = [Signal::TERM, Signal::INT, Signal::PIPE];
        let signals = Signals::block_even_ignored(wanted).expect("signals that can be blocked");
        assert_eq!(signals.set(), set(wanted));
        wanted.into_iter().for_each(send_to_self);
        assert_eq!(all(&signals), [Signal::INT, Signal::PIPE, Signal::TERM]);
        drop(signals);
        // It is still here, and still ignores them.
        send_to_self(Signal::INT);
        assert!(Signal::INT.is_ignored().expect("a disposition"));
    });
}

pub(crate) fn refusals_come_before_what_is_ignored() {
    for signal in [Signal::KILL, Signal::SEGV] {
        for refused in [Signals::block([signal]), Signals::block_even_ignored([signal])] {
            let is_refused =
                matches!(refused, Err(BlockError::Uncatchable(_) | BlockError::Synchronous(_)));
            assert!(is_refused, "{signal}");
        }
    }
    assert_eq!(blocked(), SignalSet::empty());
}
