//! Masks and signals of this process, and children that do not outlive their test.

use epoll_shutdown::{Signal, SignalSet, Signals};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a signal to this process.
#[track_caller]
pub(crate) fn send_to_self(signal: Signal) {
    send(rustix::process::getpid(), signal);
}

#[track_caller]
pub(crate) fn send(pid: rustix::process::Pid, signal: Signal) {
    let signal = rustix::process::Signal::from_named_raw(signal.as_raw()).expect("a signal");
    rustix::process::kill_process(pid, signal).expect("a signal that can be sent");
}

/// Blocks signals that nothing is against.
#[track_caller]
pub(crate) fn block(signals: impl IntoIterator<Item = Signal>) -> Signals {
    Signals::block(signals).expect("signals that can be blocked")
}

/// Every signal that has come.
#[track_caller]
pub(crate) fn all(signals: &Signals) -> Vec<Signal> {
    let next = || signals.read().expect("a signal or none");
    std::iter::from_fn(next).map(|info| info.signal).collect()
}

/// Runs the test called `name` again, by the command that `wrapper` begins, and expects that it
/// passes. The test has to know by itself that it is in there.
#[track_caller]
pub(crate) fn run_again(name: &str, wrapper: &mut Command) {
    let own = std::env::current_exe().expect("a path");
    let wrapped = wrapper.arg(own).env(epoll_kit_testing::CHILD, name).stdout(Stdio::null());
    match wrapped.status() {
        Ok(status) => assert!(status.success(), "{name}: {status}"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            epoll_kit_testing::leave_out(name, &wrapped.get_program().to_string_lossy());
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// The signals that this thread blocks.
#[track_caller]
pub(crate) fn blocked() -> SignalSet {
    SignalSet::blocked().expect("a mask")
}

pub(crate) fn set(signals: impl IntoIterator<Item = Signal>) -> SignalSet {
    signals.into_iter().collect()
}

/// The value of a line of /proc/`process`/status.
#[track_caller]
pub(crate) fn status_line(process: &str, name: &str) -> String {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    line_of(&status, name)
}

/// The value of the line `name:` of a status file.
#[track_caller]
pub(crate) fn line_of(status: &str, name: &str) -> String {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in: {status}")).trim().to_owned()
}

/// A mask as /proc shows it.
#[track_caller]
pub(crate) fn mask(bits: &str) -> SignalSet {
    SignalSet::from_bits(u64::from_str_radix(bits, 16).expect("a mask"))
}

/// A child that waits for input that never comes; killed and reaped when it goes out of scope.
pub(crate) struct Waiting(pub(crate) Child);

impl Waiting {
    /// A command for [`Self::start`].
    pub(crate) fn command() -> Command {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command
    }

    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("a child"))
    }

    #[track_caller]
    pub(crate) fn send(&self, signal: Signal) {
        send(rustix::process::Pid::from_child(&self.0), signal);
    }

    #[track_caller]
    pub(crate) fn status_line(&self, name: &str) -> String {
        status_line(&self.0.id().to_string(), name)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // One that is waited for already is left in peace.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
