//! Refusals of `Signals::block`: what they name, and that they change nothing.

use crate::support::{all, block, blocked, run_again, send_to_self, set};
use epoll_shutdown::{BlockError, Signal, SignalSet, Signals};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::{fs, io, thread};

/// The refusal of `signals`, which leaves the mask as it was.
#[track_caller]
fn refusal(signals: &[Signal]) -> BlockError {
    let before = blocked();
    let refused = Signals::block(signals.iter().copied()).expect_err("nothing was refused");
    assert_eq!(blocked(), before, "the refusal left a mask behind");
    refused
}

/// Asserts that the error names the signal, also as an I/O error, the form in which programs pass it on.
#[track_caller]
fn names(refused: BlockError, signal: Signal) {
    let message = refused.to_string();
    assert!(message.contains(signal.name()), "{message}");
    let error = io::Error::from(refused);
    assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidInput, message));
}

pub(crate) fn signals_that_cannot_be_caught() {
    for signal in [Signal::KILL, Signal::STOP] {
        let refused = refusal(&[Signal::TERM, signal, Signal::INT]);
        assert!(matches!(refused, BlockError::Uncatchable(which) if which == signal));
        names(refused, signal);
    }
}

pub(crate) fn signals_that_report_a_fault() {
    let faults = [Signal::SEGV, Signal::BUS, Signal::FPE, Signal::ILL, Signal::TRAP, Signal::SYS];
    for signal in faults {
        let refused = refusal(&[Signal::TERM, signal, Signal::INT]);
        assert!(matches!(refused, BlockError::Synchronous(which) if which == signal));
        names(refused, signal);
    }
}

/// A thread that blocks what it is told, and ends when the sender is dropped; with its kernel id.
#[track_caller]
fn thread_that_blocks(set: SignalSet) -> (mpsc::Sender<()>, u32) {
    let (end, ended) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let body = move || {
        let _guard = set.block().expect("a mask");
        // It reads PID/task/TID.
        let own = fs::read_link("/proc/thread-self").expect("a link");
        tell.send(own).expect("a listener");
        let _ = ended.recv();
    };
    thread::Builder::new().name("careless".into()).spawn(body).expect("a thread");
    let own = told.recv().expect("a thread that has started");
    let id = Path::new(&own).file_name().and_then(|name| name.to_str()?.parse().ok());
    (end, id.expect("a thread's id"))
}

pub(crate) fn a_thread_that_leaves_a_signal_unblocked() {
    let (end, careless) = thread_that_blocks(set([Signal::TERM]));
    let refused = refusal(&[Signal::TERM, Signal::USR1]);
    let BlockError::Unblocked { signal, thread, id } = &refused else { panic!("{refused:?}") };
    assert_eq!((*signal, thread.as_str(), *id), (Signal::USR1, "careless", careless));
    let message = refused.to_string();
    for part in ["careless", &careless.to_string()] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    names(refused, Signal::USR1);

    // What the thread does block is not its concern.
    drop(block([Signal::TERM]));
    drop(end);
}

pub(crate) fn a_refusal_unblocks_nothing_that_was_blocked_before() {
    let _guard = set([Signal::TERM]).block().expect("a mask");
    send_to_self(Signal::TERM);
    let (_end, _) = thread_that_blocks(SignalSet::empty());
    // Whoever unblocked it now would end this process.
    refusal(&[Signal::TERM, Signal::USR1]);
    assert!(blocked().contains(Signal::TERM));
    assert!(SignalSet::pending().expect("a status").contains(Signal::TERM));
}

/// `/proc/self/task` cannot be opened, for this reason: strace gives it to a test that is run again.
fn with_tasks(name: &str, kind: io::ErrorKind, errno: &str, body: fn()) {
    match fs::read_dir("/proc/self/task") {
        Err(error) if error.kind() == kind => body(),
        _ => {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-P", "/proc/self/task"]);
            strace.args(["-e", &format!("inject=openat:error={errno}")]);
            run_again(name, &mut strace);
        }
    }
}

pub(crate) fn without_proc_other_threads_are_not_checked() {
    const NAME: &str = "refusals::without_proc_other_threads_are_not_checked";
    with_tasks(NAME, io::ErrorKind::NotFound, "ENOENT", || {
        // Nobody can see that it blocks nothing.
        let (_end, end) = mpsc::channel::<()>();
        let _careless = thread::spawn(move || end.recv());
        let before = blocked();
        let signals = block([Signal::TERM, Signal::INT]);
        assert!(blocked().contains(Signal::TERM));
        // Directed at this thread, so that the other one does not get it.
        Signal::TERM.raise().expect("a signal");
        assert_eq!(all(&signals), [Signal::TERM]);
        // What is pending is known without /proc too.
        Signal::INT.raise().expect("a signal");
        drop(signals);
        assert_eq!(blocked(), set(before.iter().chain([Signal::INT])));
    });
}

pub(crate) fn other_errors_of_proc_name_the_file() {
    const NAME: &str = "refusals::other_errors_of_proc_name_the_file";
    with_tasks(NAME, io::ErrorKind::OutOfMemory, "ENOMEM", || {
        let refused = refusal(&[Signal::TERM]);
        assert!(refused.to_string().contains("/proc/self/task"), "{refused}");
        assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::OutOfMemory);
    });
}
