//! Programs that are started while signals are blocked.

use crate::support::{Waiting, block, blocked, line_of, mask, run_again, send_to_self, set};
use epoll_kit_testing::eventually;
use epoll_shutdown::{Drain, Phase, Signal, SignalSet, Signals, Timestamp};
use epoll_sys::set_child_mask;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

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

pub(crate) fn a_child_begins_with_the_mask_from_before() {
    let before = blocked();
    let signals = block([Signal::TERM, Signal::INT]);
    let bits = answer(signals.restore_mask_in(&mut inquiry()));
    assert_eq!(mask(&bits), before, "{bits}");
    // The tests themselves are started with nothing blocked.
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(bits, "0".repeat(bits.len()), "something else is blocked");
    assert!(blocked().contains(Signal::TERM), "this process blocks as before");
}

/// The order in which guards are made and dropped does not matter.
pub(crate) fn a_child_begins_with_the_mask_from_before_the_first_guard() {
    const NAME: &str = "children::a_child_begins_with_the_mask_from_before_the_first_guard";
    let before = set([Signal::USR2]);
    if blocked() != before {
        // No guard has blocked what a process inherits.
        return run_again(NAME, set_child_mask(&mut Command::new("env"), before));
    }
    let mask_guard = set([Signal::HUP, Signal::USR2]).block().expect("a mask");
    let first = block([Signal::TERM, Signal::USR2]);
    let second = block([Signal::TERM, Signal::USR1]);
    let in_child = |signals: &Signals| mask(&answer(signals.restore_mask_in(&mut inquiry())));
    assert_eq!([in_child(&first), in_child(&second)], [before; 2]);
    drop(first);
    drop(mask_guard);
    assert_eq!(in_child(&second), before);

    // It is left blocked because it is pending, which is not how the process began.
    send_to_self(Signal::USR1);
    drop(second);
    assert_eq!(blocked(), before | set([Signal::USR1]));
    assert_eq!(in_child(&block([Signal::TERM])), before);
}

pub(crate) fn a_child_of_another_thread_begins_with_the_mask_from_before() {
    let signals = block([Signal::TERM]);
    let in_child =
        std::thread::spawn(move || mask(&answer(signals.restore_mask_in(&mut inquiry()))));
    assert_eq!(in_child.join().expect("a thread that returns"), SignalSet::empty());
}

pub(crate) fn a_child_with_the_former_mask_ends_with_a_signal_also_while_draining() {
    let signals = block([Signal::TERM, Signal::INT]);
    let mut drain = Drain::new(None);
    send_to_self(Signal::INT);
    let info = signals.read().expect("a signal").expect("one that has come");
    drain.on_signal(info.signal, Timestamp::now());
    assert!(matches!(drain.phase(), Phase::Draining { signal: Signal::INT, .. }));
    // Pending here and not yet read: it is not the child's.
    send_to_self(Signal::TERM);

    let mut child = Waiting::start(signals.restore_mask_in(&mut Waiting::command()));
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
    let _signals = block([Signal::TERM, Signal::INT]);
    assert_eq!(mask(&answer(&mut inquiry())), blocked());
    let mut child = Waiting::start(&mut Waiting::command());
    assert!(mask(&child.status_line("SigBlk")).contains(Signal::TERM));
    child.send(Signal::TERM);
    assert!(mask(&child.status_line("ShdPnd")).contains(Signal::TERM));
    assert!(child.0.try_wait().expect("a child").is_none());
}
