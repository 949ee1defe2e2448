//! The program as a process: started with arguments, waited for with a deadline, and ended with its
//! test.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long anything may take that is bound to happen. Only a test that fails waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a run has left.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A child that does not outlive its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It has ended already unless the test fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program's path.
pub(crate) const PATH: &str = env!("CARGO_BIN_EXE_epoll-load");

/// Runs the program.
#[track_caller]
pub(crate) fn load(args: &[&str]) -> Output {
    output_of(Command::new(PATH).args(args))
}

/// Runs a command that ends by itself.
#[track_caller]
pub(crate) fn output_of(command: &mut Command) -> Output {
    Running::of(command.stdout(Stdio::piped())).output()
}

/// A program that has been started.
pub(crate) struct Running(Guard);

impl Running {
    /// Starts the program.
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::of(Command::new(PATH).args(args).stdout(Stdio::piped()))
    }

    /// Starts the program with a standard output of its own.
    #[track_caller]
    pub(crate) fn start_into(args: &[&str], stdout: OwnedFd) -> Self {
        Self::of(Command::new(PATH).args(args).stdout(stdout))
    }

    #[track_caller]
    fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        Self(Guard(command.spawn().expect("a process")))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.0.id()
    }

    /// Sends what Ctrl-C does.
    #[track_caller]
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.0.0), Signal::INT).expect("a process");
    }

    /// What it has left when it has ended.
    #[track_caller]
    pub(crate) fn output(mut self) -> Output {
        let stdout = text_of(self.0.0.stdout.take().expect("a pipe"));
        let stderr = text_of(self.0.0.stderr.take().expect("a pipe"));
        // The pipes end with the process.
        let stdout = stdout.recv_timeout(PATIENCE).expect("the program does not end");
        let stderr = stderr.recv_timeout(PATIENCE).expect("the program does not end");
        let status = self.0.0.wait().expect("a status").code().expect("no signal");
        Output { status, stdout, stderr }
    }

    /// How it has ended.
    #[track_caller]
    pub(crate) fn status(mut self) -> ExitStatus {
        let stderr = text_of(self.0.0.stderr.take().expect("a pipe"));
        stderr.recv_timeout(PATIENCE).expect("the program does not end");
        self.0.0.wait().expect("a status")
    }
}

fn text_of(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, text) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.read_to_string(&mut text);
        let _ = sender.send(text);
    });
    text
}

/// Runs the program against `target` with `--json`, and gives its status and the object.
#[track_caller]
pub(crate) fn measure(target: &str, args: &[&str]) -> (Output, Value) {
    measured(load(&[&[target, "--json"], args].concat()))
}

/// The output with the object in it.
#[track_caller]
pub(crate) fn measured(output: Output) -> (Output, Value) {
    let json = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {output:?}"));
    (output, json)
}

/// Runs the program and expects that nothing goes wrong.
#[track_caller]
pub(crate) fn measure_well(target: &str, args: &[&str]) -> Value {
    let (output, json) = measure(target, args);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(output.stderr, "");
    assert_eq!(json["errors"], serde_json::json!({}));
    json
}

impl Output {
    /// Expects a status and a single line that has all of `parts` in it.
    #[track_caller]
    pub(crate) fn complains(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("epoll-load: "), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no '{part}': {self:?}");
        }
    }
}
