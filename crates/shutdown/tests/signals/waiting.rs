//! Waiting for signals without an event loop.

use crate::support::{PATIENCE, block, run_again, send_to_self, status_line};
use epoll_kit_testing::assert_kind;
use epoll_shutdown::{Signal, SignalInfo, Signals};
use std::io::ErrorKind;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

#[track_caller]
fn wait(signals: &Signals, timeout: Option<Duration>) -> Option<SignalInfo> {
    signals.wait(timeout).expect("a signal or none")
}

pub(crate) fn a_wait_takes_what_is_there_whatever_the_timeout() {
    let signals = block([Signal::TERM, Signal::USR1]);
    for timeout in [None, Some(Duration::ZERO), Some(PATIENCE), Some(Duration::MAX)] {
        send_to_self(Signal::TERM);
        send_to_self(Signal::USR1);
        let both = [(); 2].map(|()| wait(&signals, timeout).map(|info| info.signal));
        assert_eq!(both, [Some(Signal::USR1), Some(Signal::TERM)], "the lower number first");
        assert_eq!(wait(&signals, Some(Duration::ZERO)), None);
    }
}

pub(crate) fn a_wait_ends_with_the_timeout() {
    let signals = block([Signal::TERM]);
    let start = Instant::now();
    assert_eq!(wait(&signals, Some(Duration::from_millis(20))), None);
    assert!(start.elapsed() >= Duration::from_millis(20), "{:?}", start.elapsed());
}

pub(crate) fn a_signal_ends_a_wait_of_another_thread() {
    for timeout in [None, Some(PATIENCE)] {
        let signals = block([Signal::TERM]);
        // Sent along: the mask stays this thread's.
        let waiting = thread::spawn(move || wait(&signals, timeout).map(|info| info.signal));
        send_to_self(Signal::TERM);
        assert_eq!(waiting.join().expect("a thread that returns"), Some(Signal::TERM));
    }
}

/// Runs `body` in a process whose calls strace tampers with.
fn under_strace(name: &str, options: &[&str], body: fn()) {
    // Only strace is known to trace this process.
    if status_line("self", "TracerPid") != "0" {
        return body();
    }
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]).args(options);
    run_again(name, &mut strace);
}

pub(crate) fn an_interrupted_wait_keeps_its_deadline() {
    const NAME: &str = "waiting::an_interrupted_wait_keeps_its_deadline";
    under_strace(NAME, &["-e", "inject=ppoll:error=EINTR:when=1..40"], || {
        let signals = block([Signal::TERM]);
        let start = Instant::now();
        assert_eq!(wait(&signals, Some(Duration::from_millis(20))), None);
        assert!(start.elapsed() >= Duration::from_millis(20), "{:?}", start.elapsed());
        send_to_self(Signal::TERM);
        assert_eq!(wait(&signals, None).map(|info| info.signal), Some(Signal::TERM));
    });
}

pub(crate) fn a_wait_that_lacks_memory_is_an_error() {
    const NAME: &str = "waiting::a_wait_that_lacks_memory_is_an_error";
    under_strace(NAME, &["-e", "inject=ppoll:error=ENOMEM"], || {
        let signals = block([Signal::TERM]);
        assert_kind(signals.wait(Some(PATIENCE)), ErrorKind::OutOfMemory);
    });
}

pub(crate) fn a_read_that_fails_is_an_error_and_not_the_absence_of_a_signal() {
    const NAME: &str = "waiting::a_read_that_fails_is_an_error_and_not_the_absence_of_a_signal";
    let options = ["-P", "anon_inode:[signalfd]", "-e", "inject=read:error=EPERM"];
    under_strace(NAME, &options, || {
        let signals = block([Signal::TERM]);
        assert_kind(signals.read(), ErrorKind::PermissionDenied);
        assert_kind(signals.wait(Some(PATIENCE)), ErrorKind::PermissionDenied);
    });
}

pub(crate) fn several_threads_share_what_comes() {
    const THREADS: usize = 4;
    let job = Signal::real_time(0).expect("a signal");
    let signals = Arc::new(block([job]));
    let waiting: Vec<_> = (0..THREADS)
        .map(|_| {
            let signals = Arc::clone(&signals);
            thread::spawn(move || wait(&signals, Some(PATIENCE)).map(|info| info.value))
        })
        .collect();
    for value in 0..THREADS {
        let value = i32::try_from(value).expect("a small number");
        job.queue(std::process::id(), value).expect("a signal that can be sent");
    }
    let mut come: Vec<_> =
        waiting.into_iter().map(|thread| thread.join().expect("a thread that returns")).collect();
    come.sort_unstable();
    assert_eq!(come, [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!(wait(&signals, Some(Duration::ZERO)), None);
}

pub(crate) fn a_signal_for_one_thread_comes_to_that_thread_alone() {
    let signals = Arc::new(block([Signal::USR1]));
    Signal::USR1.raise().expect("a signal");
    let elsewhere = Arc::clone(&signals);
    let other = thread::spawn(move || wait(&elsewhere, Some(Duration::from_millis(10))));
    assert_eq!(other.join().expect("a thread that returns"), None);
    assert_eq!(wait(&signals, Some(Duration::ZERO)).map(|info| info.signal), Some(Signal::USR1));
}
