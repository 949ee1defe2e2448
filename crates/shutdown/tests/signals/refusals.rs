//! What `Signals::block` refuses, in whose name, and that a refusal changes nothing.

use crate::support::{blocked, send_to_self, set};
use epoll_shutdown::{BlockError, Signal, Signals};
use epoll_sys::SignalSet;
use std::path::Path;
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

/// It says which signal, also as an I/O error, which is what programs pass on.
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
    drop(Signals::block([Signal::TERM]).expect("nothing to refuse"));
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
