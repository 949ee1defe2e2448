//! A process seen from outside: its files under /proc, signals to it, and its end. It is held by a
//! pidfd, so a signal never reaches another process that got its number.

use super::{PATIENCE, uninterrupted};
use epoll_kit_testing::eventually;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Returns the number of descriptors that a process started here inherits beside the standard streams: those
/// that the parent of the tests left open.
pub(crate) fn inherited() -> usize {
    const STANDARD: [&str; 3] = ["0", "1", "2"];
    let entries = fs::read_dir("/proc/self/fdinfo").expect("a list of descriptors");
    let others = entries.map(|entry| entry.expect("a descriptor")).filter(|entry| {
        let name = entry.file_name();
        !STANDARD.iter().any(|standard| name == *standard)
    });
    // Those that are closed meanwhile are this process's own.
    others.filter_map(|entry| fs::read_to_string(entry.path()).ok()).filter(|it| stays(it)).count()
}

/// Returns whether a descriptor with this fdinfo stays open over `exec`.
fn stays(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    !OFlags::from_bits_retain(flags.expect("flags")).contains(OFlags::CLOEXEC)
}

pub(crate) struct Process {
    pid: Pid,
    handle: OwnedFd,
}

impl Process {
    #[track_caller]
    pub(crate) fn open(pid: Pid) -> Self {
        let handle = pidfd_open(pid, PidfdFlags::empty()).expect("no pidfd");
        Self { pid, handle }
    }

    /// Sends a signal; one that has ended is left in peace.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    pub(crate) fn has_ended_within(&self, timeout: Duration) -> bool {
        let mut fds = [PollFd::new(&self.handle, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).expect("a timeout that fits");
        uninterrupted(|| Ok(poll(&mut fds, Some(&timeout))?)).is_ok_and(|ready| ready == 1)
    }

    #[track_caller]
    pub(crate) fn await_end(&self) {
        assert!(self.has_ended_within(PATIENCE), "process {} does not end", self.pid);
    }

    /// The text of /proc/PID/`name`.
    #[track_caller]
    pub(crate) fn file(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.pid);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A number of /proc/PID/status: KiB, or a count.
    #[track_caller]
    pub(crate) fn status(&self, field: &str) -> u64 {
        number(&self.file("status"), field)
    }

    /// Its threads, the first one first.
    #[track_caller]
    pub(crate) fn threads(&self) -> Vec<u32> {
        let mut threads = self.entries("task");
        threads.sort_unstable();
        threads
    }

    /// Its threads that accept or serve, the first one first. Those for logs and signals are left out.
    #[track_caller]
    pub(crate) fn event_loops(&self) -> Vec<u32> {
        let is_numbered = |thread: u32| {
            let name = self.file(&format!("task/{thread}/comm"));
            name.trim_end()
                .strip_prefix("epoll-")
                .is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let threads = self.threads().into_iter();
        // The first one has the name of the program.
        threads
            .enumerate()
            .filter(|(at, id)| *at == 0 || is_numbered(*id))
            .map(|(_, id)| id)
            .collect()
    }

    /// Returns the state of a thread, as in proc(5).
    #[track_caller]
    pub(crate) fn thread_state(&self, thread: u32) -> String {
        let stat = self.file(&format!("task/{thread}/stat"));
        field_of_stat(&stat, 3).expect("a state").to_owned()
    }

    /// Waits until it has taken every signal that was sent to it.
    #[track_caller]
    pub(crate) fn await_signals_taken(&self) {
        eventually(&format!("process {} takes its signals", self.pid), || {
            let status = self.file("status");
            let set = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
            u64::from_str_radix(set.expect("a set of signals").trim(), 16).expect("a number") == 0
        });
    }

    /// The descriptors that it has open.
    #[track_caller]
    pub(crate) fn descriptors(&self) -> Vec<u32> {
        self.entries("fd")
    }

    /// The numbers that name the files in the folder /proc/PID/`name`.
    #[track_caller]
    fn entries(&self, name: &str) -> Vec<u32> {
        let path = format!("/proc/{}/{name}", self.pid);
        let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let names = entries.flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.parse().ok()).collect()
    }

    /// Returns the number of times that its threads have blocked, all together.
    #[track_caller]
    pub(crate) fn voluntary_switches(&self) -> u64 {
        let switches = |thread: &u32| {
            number(&self.file(&format!("task/{thread}/status")), "voluntary_ctxt_switches")
        };
        self.threads().iter().map(switches).sum()
    }

    /// The CPU time it has had, and how often its threads have run.
    #[track_caller]
    pub(crate) fn activity(&self) -> (u64, u64) {
        let runs = |thread: &u32| -> u64 {
            let text = self.file(&format!("task/{thread}/schedstat"));
            let count = text.split_whitespace().nth(2).and_then(|count| count.parse().ok());
            count.unwrap_or_else(|| panic!("no count of runs in {text:?}"))
        };
        (self.cpu_ticks(), self.threads().iter().map(runs).sum())
    }

    /// Waits until all of its threads sleep.
    #[track_caller]
    pub(crate) fn await_rest(&self) {
        eventually(&format!("process {} comes to rest", self.pid), || {
            self.threads().into_iter().all(|thread| self.thread_state(thread) == "S")
        });
    }

    /// A number of /proc/PID/smaps_rollup, in KiB.
    #[track_caller]
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        number(&self.file("smaps_rollup"), field)
    }

    /// The CPU time it has had, in ticks of 10 ms.
    #[track_caller]
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let ticks = |at: usize| -> u64 { self.stat(at).parse().expect("a number of ticks") };
        ticks(14) + ticks(15)
    }

    /// Returns whether it is blocked in a system call that a signal can end.
    #[track_caller]
    pub(crate) fn sleeps(&self) -> bool {
        self.stat(3) == "S"
    }

    /// Stops it, and returns when it has stopped.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        eventually(&format!("process {} stops", self.pid), || self.stat(3) == "T");
    }

    /// A field of /proc/PID/stat by its number in proc(5), 3 or higher.
    #[track_caller]
    fn stat(&self, at: usize) -> String {
        field_of_stat(&self.file("stat"), at).expect("a field of stat").to_owned()
    }

    /// The process at the end of the chain that begins here: a tracer's child, or this one.
    pub(crate) fn innermost(pid: Pid) -> Pid {
        children(pid).first().map_or(pid, |child| Self::innermost(*child))
    }
}

/// Fields count from 1; the second is a name in parentheses that may have anything in it.
fn field_of_stat(stat: &str, at: usize) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(at - 3)
}

/// Returns the children of a process, from all of /proc: not every kernel has /proc/PID/task/TID/children.
fn children(parent: Pid) -> Vec<Pid> {
    let pids = fs::read_dir("/proc").expect("no /proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = parent.to_string();
    pids.filter(|pid: &i32| {
        // Processes come and go meanwhile.
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| field_of_stat(&stat, 4) == Some(&parent))
    })
    .filter_map(Pid::from_raw)
    .collect()
}

#[track_caller]
fn number(text: &str, field: &str) -> u64 {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {field} in:\n{text}"))
}
