//! Tests that run in a process of their own: this test binary again, for one test alone.
//!
//! A process that is about to be started has a copy of every descriptor of this one until its `exec`.
//! A test that counts on a close to be the last one therefore closes by [`close`], or holds
//! [`while_no_process_starts`].

use crate::sleeping::any_sleeps_in_a_wait;
use crate::{DEADLINE, Guard, eventually, leave_out};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::env;
use std::io::{self, ErrorKind, Read};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The variable with the name of the test that a process is there for.
pub const CHILD: &str = "EPOLL_KIT_TEST_CHILD";

/// The longest time that such a process may take. Its own waits have earlier deadlines.
pub(crate) const PATIENCE: Duration = DEADLINE.saturating_mul(3);

/// Held while a process is started.
static STARTING: Mutex<()> = Mutex::new(());

/// Holds off tests that start a process, so that a close means what it says.
pub fn while_no_process_starts() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes the last descriptors of their open file descriptions.
pub fn close<T>(last: T) {
    let _starting = while_no_process_starts();
    drop(last);
}

/// Returns whether this is the process that was started for the test called `name`.
#[must_use]
pub fn is_own_process(name: &str) -> bool {
    env::var(CHILD).is_ok_and(|running| running == name)
}

/// Runs `body`, the test called `name`, in a process of its own.
///
/// # Panics
///
/// If it does not pass there.
#[track_caller]
pub fn in_own_process(name: &str, body: impl FnOnce()) {
    if is_own_process(name) {
        body();
    } else {
        OwnProcess::spawn(name).assert_passed();
    }
}

/// Runs `body`, the test called `name`, in a process of its own under `strace -f` with `options`.
///
/// `true`: it has passed there. `false`: this is that process, or the test is left out because
/// there is no strace.
///
/// # Panics
///
/// If it does not pass there.
#[track_caller]
pub fn under_strace(name: &str, options: &[&str], body: impl FnOnce()) -> bool {
    if is_own_process(name) {
        body();
        return false;
    }
    let mut strace = Command::new("strace");
    strace.arg("-f").args(options).arg(env::current_exe().unwrap());
    match OwnProcess::spawn_under(&mut strace, name) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            leave_out(name, "strace");
            false
        }
        process => {
            process.unwrap().assert_passed();
            true
        }
    }
}

/// The process of a test. Its standard input is a pipe, which ends when its owner asks whether it has
/// passed, or ends itself.
#[derive(Debug)]
pub struct OwnProcess(Guard);

impl OwnProcess {
    /// Starts this test binary again for the test called `name` alone.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn spawn(name: &str) -> Self {
        Self::spawn_under(&mut Command::new(env::current_exe().unwrap()), name).unwrap()
    }

    fn spawn_under(command: &mut Command, name: &str) -> io::Result<Self> {
        let _starting = while_no_process_starts();
        command.args(["--exact", name, "--nocapture"]).env(CHILD, name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut guard = Guard::spawn(command)?;
        // `exec` closes the copies after it has let the parent go on. The blank line with which a
        // test run begins shows that it has done so.
        let stdout = guard.child().stdout.as_mut().unwrap();
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        let mut begun = [PollFd::new(stdout, PollFlags::IN)];
        let count = retry_on_intr(|| poll(&mut begun, Some(&timeout)))?;
        assert_eq!(count, 1, "{name} does not begin");
        let _ = stdout.read(&mut [0])?;
        Ok(Self(guard))
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// Returns when one of its threads has gone to sleep in a wait.
    #[track_caller]
    pub fn await_sleep(&self) {
        let pid = self.pid().as_raw_nonzero().get().unsigned_abs();
        eventually("the other process sleeps", || any_sleeps_in_a_wait(pid));
    }

    /// Stops it, and returns when it has stopped.
    #[track_caller]
    pub fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// Lets it go on that was stopped.
    #[track_caller]
    pub fn proceed(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Closes its standard input and waits for its end: it has to have run one test, and passed.
    #[track_caller]
    pub fn assert_passed(self) {
        let output = self.0.output(PATIENCE);
        let printed = String::from_utf8_lossy(&output.stdout);
        let passed = output.status.success() && printed.contains("1 passed");
        assert!(passed, "{}:\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
}
