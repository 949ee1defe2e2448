//! Processes that a test starts. None outlives its test, and each is waited for with a deadline.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The time that a process has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(1);

/// The time between two checks whether a process has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs a command that ends by itself, without input, and returns its exit status and output.
///
/// # Errors
///
/// Those of [`Command::spawn`]: [`NotFound`](io::ErrorKind::NotFound) if there is no such program.
///
/// # Panics
///
/// If it has not ended after `patience`, with what it has printed by then.
#[track_caller]
pub fn output_of(command: &mut Command, patience: Duration) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Guard::spawn(command)?.output(patience))
}

/// A child that does not outlive its guard.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Starts a process.
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`].
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Returns the child, for its id and its streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Closes its standard input and waits for its end; what it leaves in the pipes that it has.
    ///
    /// # Panics
    ///
    /// If it has not ended after `patience`, with what it has printed by then.
    #[track_caller]
    #[must_use]
    pub fn output(mut self, patience: Duration) -> Output {
        drop(self.0.stdin.take());
        let stdout = bytes_of(self.0.stdout.take());
        let stderr = bytes_of(self.0.stderr.take());
        let ended = self.ended_within(patience);
        if ended.is_none() {
            self.end();
        }
        // The pipes end with the last process that has them, which may be a child of its own.
        let text = |bytes: &Receiver<Vec<u8>>| match bytes.recv_timeout(GRACE) {
            Err(RecvTimeoutError::Timeout) => panic!("a process that it started has not ended"),
            text => text.unwrap_or_default(),
        };
        let (stdout, stderr) = (text(&stdout), text(&stderr));
        let Some(status) = ended else {
            let [stdout, stderr] = [&stdout, &stderr].map(|bytes| String::from_utf8_lossy(bytes));
            panic!("not over within {patience:?}:\n{stdout}{stderr}");
        };
        Output { status, stdout, stderr }
    }

    fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            let ended = self.0.try_wait().expect("a child can be waited for");
            if ended.is_some() || Instant::now() >= deadline {
                return ended;
            }
            thread::sleep(PAUSE);
        }
    }

    /// A tracer that is asked to end takes the process with it that it traces; one that is killed
    /// leaves it behind.
    fn end(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(self.pid(), Signal::TERM);
            if self.ended_within(GRACE).is_none() {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns a channel with everything that comes out of a pipe up to its end. A thread reads, so nobody waits for
/// room in the pipe.
fn bytes_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, bytes) = channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut all = Vec::new();
            let _ = pipe.read_to_end(&mut all);
            let _ = sender.send(all);
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Returns whether the process exists. A process that was waited for does not.
    fn is_there(pid: Pid) -> bool {
        rustix::process::test_kill_process(pid).is_ok()
    }

    #[test]
    fn what_a_process_leaves_is_all_there() {
        // More than a pipe holds.
        let script = "head -c 200000 /dev/zero; echo wrong >&2; exit 3";
        let output = output_of(&mut shell(script), PATIENCE).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((output.stdout.len(), &output.stderr[..]), (200_000, &b"wrong\n"[..]));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let result = output_of(&mut Command::new("/no/such/program"), PATIENCE);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn one_that_does_not_end_is_ended_and_what_it_printed_is_told() {
        let mut command = shell("echo before; exec sleep 1000");
        let patience = Duration::from_millis(300);
        let panic = catch_unwind(AssertUnwindSafe(|| output_of(&mut command, patience)));
        let panic = panic.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(*panic, "not over within 300ms:\nbefore\n");
    }

    #[test]
    fn a_guard_takes_its_process_along() {
        // One that can be asked, and one that cannot.
        for script in ["echo; exec sleep 1000", "trap '' TERM; echo; exec sleep 1000"] {
            let mut command = shell(script);
            let mut guard = Guard::spawn(command.stdout(Stdio::piped())).unwrap();
            let pid = guard.pid();
            let mut stdout = guard.child().stdout.take().unwrap();
            stdout.read_exact(&mut [0]).unwrap();
            assert!(is_there(pid));
            drop(guard);
            assert!(!is_there(pid));
        }
    }
}
