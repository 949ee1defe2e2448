//! Children of the test: killed and reaped when they go out of scope, waited for with a deadline.

use super::{Lines, Process};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A child that does not outlive its guard.
pub(crate) struct Guard {
    child: Child,
    process: Process,
}

/// The exit status and the output of a program that has ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Guard {
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let process = Process::open(Pid::from_child(&child));
        Self { child, process }
    }

    /// Its streams are to be had here.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    #[track_caller]
    pub(crate) fn await_end(&mut self) -> ExitStatus {
        self.process.await_end();
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.process.has_ended_within(Duration::ZERO) {
            // A tracer that is killed leaves the process behind that it traces.
            let innermost = Process::innermost(self.pid());
            if innermost != self.pid() {
                let _ = kill_process(innermost, Signal::KILL);
            }
        }
        self.process.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Output {
    /// Runs a program that ends by itself, without input.
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut guard = Guard::spawn(command);
        let stdout = Lines::of(guard.child().stdout.take().expect("a pipe"));
        let stderr = Lines::of(guard.child().stderr.take().expect("a pipe"));
        let status = guard.await_end();
        Self { status, stdout: stdout.rest(), stderr: stderr.rest() }
    }
}
