//! The resource usage of the server's process, from its CPU clock and from `/proc`.
//!
//! Kernel facts: (a) the CPU clock of a process counts user and system time together in nanoseconds,
//! including threads that have ended; (b) `stat` reports both separately, in units of 10 ms. Unless the
//! kernel is built to account precisely, it samples at every clock tick (100 to 1000 times a second) in
//! which mode a processor is, and divides the sum in proportion to the samples; (c) switches are counted
//! for each thread, and the counts of a thread that has ended are lost; (d) `smaps_rollup` needs the rights
//! of a debugger.

use anyhow::Context;
use nix::errno::Errno;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// `USER_HZ`, which is 100 on every architecture today.
const TICK: Duration = Duration::from_millis(10);

/// A process, by its id.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
}

/// The resources that all threads of a process have used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The sum of user and system time, to the nanosecond.
    cpu: Duration,
    user_ticks: Duration,
    system_ticks: Duration,
    voluntary_switches: u64,
    involuntary_switches: u64,
}

/// The resources that a process has used between two times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The CPU time in user mode. The sum of both modes is precise; the division follows the kernel's
    /// samples, in units of 10 ms.
    pub user: Duration,
    /// The CPU time in system mode; the whole time if neither mode has reached a unit.
    pub system: Duration,
    /// The number of times that a thread gave up its processor.
    pub voluntary_switches: u64,
    /// The number of times that a thread was preempted.
    pub involuntary_switches: u64,
}

impl Process {
    /// Returns the process with this id, which must exist.
    pub(crate) fn find(pid: u32) -> anyhow::Result<Self> {
        let process = Self { pid };
        match process.usage() {
            Ok(_) => Ok(process),
            Err(error) => Err(error).with_context(|| format!("no process {pid} to measure")),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the resources used so far.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        let cpu = self.cpu()?;
        let (user_ticks, system_ticks) = cpu_ticks(&self.file("stat")?).ok_or_else(unreadable)?;
        let mut usage = Usage { cpu, user_ticks, system_ticks, ..Usage::default() };
        for thread in fs::read_dir(self.path("task"))? {
            let folder = thread?.path();
            // A thread may end meanwhile.
            let Ok(status) = fs::read_to_string(folder.join("status")) else { continue };
            usage.voluntary_switches += number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            usage.involuntary_switches +=
                number(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(usage)
    }

    /// Returns the time on its CPU clock.
    fn cpu(&self) -> io::Result<Duration> {
        let pid = i32::try_from(self.pid).ok().filter(|pid| *pid > 0);
        // The id 0 would mean this process.
        let pid = Pid::from_raw(pid.ok_or(Errno::ESRCH)?);
        Ok(clock_getcpuclockid(pid)?.now()?.into())
    }

    /// Returns the size of its private memory in bytes: pages that it has written to, resident or swapped
    /// out. If the kernel does not report that, it is the resident size.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let own = self.file("smaps_rollup").ok().and_then(|text| {
            Some(number(&text, "Private_Dirty:")? + number(&text, "Swap:").unwrap_or(0))
        });
        let resident = || number(&self.file("status").ok()?, "VmRSS:");
        own.or_else(resident).map(|kib| kib * 1024)
    }

    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid).into()
    }

    fn file(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.path(name))
    }
}

impl Usage {
    /// Returns the resources used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Used {
        let cpu = self.cpu.saturating_sub(before.cpu);
        let user = self.user_ticks.saturating_sub(before.user_ticks);
        let ticks = user + self.system_ticks.saturating_sub(before.system_ticks);
        // Without a sample all time counts as system time: most of an echo is the kernel's.
        let user = if ticks.is_zero() {
            Duration::ZERO
        } else {
            cpu.mul_f64(user.as_secs_f64() / ticks.as_secs_f64())
        };
        Used {
            user,
            system: cpu.saturating_sub(user),
            voluntary_switches: self.voluntary_switches.saturating_sub(before.voluntary_switches),
            involuntary_switches: self
                .involuntary_switches
                .saturating_sub(before.involuntary_switches),
        }
    }
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its stat has an unknown form")
}

/// Returns the user and the system time in a `/proc/PID/stat`.
fn cpu_ticks(stat: &str) -> Option<(Duration, Duration)> {
    // The name before the third field may hold blanks and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut time = || Some(TICK * fields.next()?.parse().ok()?);
    Some((time()?, time()?))
}

/// Returns the number after `label` at the beginning of a line.
fn number(text: &str, label: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::time::ClockId;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 99 0 0 0 12 34 0 0 20 0 1 0 5";
        assert_eq!(cpu_ticks(stat), Some((12 * TICK, 34 * TICK)));
        assert_eq!(cpu_ticks("7 (a"), None);
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_label_is_found_at_the_beginning_of_a_line() {
        let text = "nonvoluntary_ctxt_switches:\t5\nvoluntary_ctxt_switches:\t3\nVmRSS:\t  12 kB\n";
        assert_eq!(number(text, "voluntary_ctxt_switches:"), Some(3));
        assert_eq!(number(text, "VmRSS:"), Some(12));
        assert_eq!(number(text, "Pss:"), None);
    }

    #[test]
    fn the_clocks_time_is_divided_as_the_ticks_are() {
        let usage = |user, system, cpu_ms| Usage {
            cpu: Duration::from_millis(cpu_ms),
            user_ticks: user * TICK,
            system_ticks: system * TICK,
            ..Usage::default()
        };
        let used = usage(4, 8, 113).since(&usage(1, 2, 23));
        assert_eq!(used.user + used.system, Duration::from_millis(90));
        assert_eq!(used.user.as_millis(), 30);
        let used = usage(0, 0, 5).since(&usage(0, 0, 2));
        assert_eq!((used.user, used.system.as_millis()), (Duration::ZERO, 3));
    }

    #[test]
    fn a_thread_that_has_ended_is_counted_in_full() {
        let process = Process::find(std::process::id()).unwrap();
        let before = process.usage().unwrap();
        let worked = std::thread::spawn(|| {
            let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
            loop {
                let worked: Duration = clock.now().unwrap().into();
                if worked >= 5 * TICK {
                    return worked;
                }
            }
        });
        let worked = worked.join().unwrap();
        let used = process.usage().unwrap().since(&before);
        assert!(used.user + used.system >= worked, "{used:?} of {worked:?}");
    }

    #[test]
    fn this_process_can_be_measured_and_number_0_cannot() {
        let process = Process::find(std::process::id()).unwrap();
        assert!(process.memory_bytes().is_some_and(|bytes| bytes > 0));
        assert!(Process::find(0).unwrap_err().to_string().contains("no process 0"));
    }
}
