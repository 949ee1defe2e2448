//! The program as a process: started with arguments, waited for with a deadline, and ended with its
//! test.

use epoll_kit_testing::Guard;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// The longest wait for something that must happen. Only a test that fails waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The exit status and the output of a run.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
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
    Running::of(command, Stdio::piped(), Stdio::piped()).output()
}

/// A program that has been started.
pub(crate) struct Running(Guard);

impl Running {
    /// Starts the program so that it can be interrupted.
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::of(interruptible().args(args), Stdio::piped(), Stdio::piped())
    }

    /// Starts the program, likewise, with a standard output of its own.
    #[track_caller]
    pub(crate) fn start_into(args: &[&str], stdout: OwnedFd) -> Self {
        Self::of(interruptible().args(args), stdout, Stdio::piped())
    }

    /// Starts the program with a standard error of its own.
    #[track_caller]
    pub(crate) fn start_complaining_to(args: &[&str], stderr: OwnedFd) -> Self {
        Self::of(Command::new(PATH).args(args), Stdio::piped(), stderr)
    }

    /// Starts the program with SIGINT ignored.
    #[track_caller]
    pub(crate) fn start_deaf(args: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' INT; exec \"$@\"", "sh", PATH]).args(args);
        Self::of(&mut shell, Stdio::piped(), Stdio::piped())
    }

    #[track_caller]
    fn of(command: &mut Command, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Self {
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        Self(Guard::spawn(command).expect("a process"))
    }

    pub(crate) fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// Sends the signal of Ctrl-C.
    #[track_caller]
    pub(crate) fn interrupt(&self) {
        kill_process(self.pid(), Signal::INT).expect("a process");
    }

    /// Sends the signal of a supervisor.
    #[track_caller]
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("a process");
    }

    /// Waits until the program ends, and returns its exit status and output.
    #[track_caller]
    pub(crate) fn output(self) -> Output {
        let output = self.0.output(PATIENCE);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let status = output.status.code().expect("no signal");
        Output { status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Waits until the program ends, and returns its exit status.
    #[track_caller]
    pub(crate) fn status(self) -> ExitStatus {
        self.0.output(PATIENCE).status
    }
}

/// The program, which would stay deaf to SIGINT if the tests were started with that ignored.
fn interruptible() -> Command {
    let mut env = Command::new("env");
    env.args(["--default-signal=INT", PATH]);
    env
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
