//! Programs that are started while signals are blocked.

use crate::support::{Waiting, blocked, line_of, mask, send_to_self};
use epoll_kit_testing::eventually;
use epoll_shutdown::{Drain, Phase, Signal, Signals, Timestamp};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

#[track_caller]
fn block() -> Signals {
    Signals::block([Signal::TERM, Signal::INT]).expect("signals that can be blocked")
}

/// A program that prints its own mask.
fn inquiry() -> Command {
    let mut grep = Command::new("grep");
    grep.args(["SigBlk", "/proc/self/status"]);
    grep
}

#[track_caller]
fn answer(command: &mut Command) -> String {
    let output = command.output().expect("a program that runs");
    line_of(&String::from_utf8_lossy(&output.stdout), "SigBlk")
}

pub(crate) fn a_restored_child_begins_with_the_former_mask() {
    let before = blocked();
    let signals = block();
    let bits = answer(signals.restore_in(&mut inquiry()));
    assert_eq!(mask(&bits), before, "{bits}");
    // The tests themselves are started with nothing blocked.
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(bits, "0".repeat(bits.len()), "something else is blocked");
    assert!(blocked().contains(Signal::TERM), "this process blocks as before");
}

pub(crate) fn a_restored_child_ends_with_a_signal_also_while_draining() {
    let signals = block();
    let mut drain = Drain::new(None);
    send_to_self(Signal::INT);
    let info = signals.read().expect("a signal").expect("one that has come");
    drain.signal(info.signal, Timestamp::now());
    assert!(matches!(drain.phase(), Phase::Draining { signal: Signal::INT, .. }));
    // Pending here and not yet read: it is not the child's.
    send_to_self(Signal::TERM);

    let mut child = Waiting::start(signals.restore_in(&mut Waiting::command()));
    assert!(child.0.try_wait().expect("a child").is_none());
    child.send(Signal::TERM);
    let mut ended = None;
    eventually("the child ends", || {
        ended = child.0.try_wait().expect("a child");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.signal()), Some(Signal::TERM.as_raw()));
    let come = signals.read().expect("a signal").map(|info| info.signal);
    assert_eq!(come, Some(Signal::TERM));
}

pub(crate) fn another_child_inherits_the_blocked_signals() {
    let _signals = block();
    assert_eq!(mask(&answer(&mut inquiry())), blocked());
    let mut child = Waiting::start(&mut Waiting::command());
    assert!(mask(&child.status_line("SigBlk")).contains(Signal::TERM));
    child.send(Signal::TERM);
    assert!(mask(&child.status_line("ShdPnd")).contains(Signal::TERM));
    assert!(child.0.try_wait().expect("a child").is_none());
}
