//! Processes that are started, waited for with a deadline, and ended by their ids, whatever happens
//! in between.
//!
//! Each is the leader of a process group of its own. So Ctrl-C reaches this program alone, which then
//! ends the others in order, and what a process has started itself (strace) ends with it.

use crate::interrupt::{Interrupt, Interrupted};
use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than a first line of a server or an answer of the client ever is.
const OUTPUT_MAX: usize = 16 << 20;

/// The longest that a process may take to end once its pipes are closed.
const ENDING_MAX: Duration = Duration::from_millis(100);

/// A running process and all that it starts. Dropping it kills them.
pub(crate) struct Process {
    name: String,
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
}

/// The output and the status of a process that has ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Its last words, for a message about its failure.
    pub(crate) fn complaint(&self) -> String {
        let line = self.stderr.lines().rev().find(|line| !line.trim().is_empty());
        line.map_or_else(|| self.status.to_string(), |line| line.trim().to_owned())
    }
}

impl Process {
    /// Starts it, on this core if there is one.
    pub(crate) fn start(mut command: Command, core: Option<usize>) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        command.stdin(Stdio::null()).process_group(0);
        let child =
            on_core(core, || command.spawn()).with_context(|| format!("failed to start {name}"))?;
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { name, child, pid, pidfd }),
            Err(error) => {
                end(pid, child);
                Err(error).with_context(|| format!("failed to watch {name}"))
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether it has ended, or is about to: its pipes close a moment before it is gone.
    pub(crate) fn ends_soon(&mut self, interrupt: &Interrupt) -> bool {
        self.wait(Instant::now() + ENDING_MAX, interrupt).is_ok()
    }

    /// Returns its output up to the first line end, which has to come before the deadline. Its stdout has
    /// to be piped.
    pub(crate) fn first_line(
        &mut self,
        deadline: Instant,
        interrupt: &Interrupt,
    ) -> anyhow::Result<String> {
        let Some(stdout) = self.child.stdout.as_ref() else { bail!("{} is not piped", self.name) };
        let mut line = Vec::new();
        while !line.contains(&b'\n') {
            wait_for(&[stdout.as_fd()], deadline, interrupt)
                .with_context(|| format!("{} said nothing", self.name))?;
            if read_some(stdout, &mut line)? == 0 {
                bail!("{} ended before it said where it listens", self.name);
            }
        }
        let text = String::from_utf8_lossy(&line);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Waits for its end and hands out what it has written to the pipes there are. `on_progress` is
    /// called with all of stdout so far.
    pub(crate) fn collect(
        mut self,
        deadline: Instant,
        interrupt: &Interrupt,
        mut on_progress: impl FnMut(&[u8]),
    ) -> anyhow::Result<Output> {
        let pipes = [
            self.child.stdout.take().map(OwnedFd::from),
            self.child.stderr.take().map(OwnedFd::from),
        ];
        let mut open: Vec<(usize, OwnedFd)> =
            pipes.into_iter().enumerate().filter_map(|(at, pipe)| Some((at, pipe?))).collect();
        let mut texts = [Vec::new(), Vec::new()];
        while !open.is_empty() {
            let fds: Vec<_> = open.iter().map(|(_, fd)| fd.as_fd()).collect();
            let at = wait_for(&fds, deadline, interrupt)
                .with_context(|| format!("{} did not finish", self.name))?;
            let (stream, fd) = &open[at];
            let text = &mut texts[*stream];
            if read_some(fd, text)? == 0 {
                open.remove(at);
            } else if *stream == 0 {
                on_progress(text);
            }
            if texts.iter().any(|text| text.len() > OUTPUT_MAX) {
                bail!("{} wrote more than {OUTPUT_MAX} bytes", self.name);
            }
        }
        let status = self.wait(deadline, interrupt)?;
        let [stdout, stderr] = texts.map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(Output { status, stdout, stderr })
    }

    /// Asks it to end with SIGTERM, waits for that, and kills it if that was in vain.
    pub(crate) fn terminate(
        mut self,
        deadline: Instant,
        interrupt: &Interrupt,
    ) -> anyhow::Result<ExitStatus> {
        // It may have ended by itself; then there is nobody to ask.
        let _ = kill_process(self.pid, Signal::TERM);
        self.wait(deadline, interrupt)
    }

    /// Sends it SIGINT at this time, unless it has ended by then.
    pub(crate) fn interrupt_at(
        &mut self,
        at: Instant,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        match wait_for(&[self.pidfd.as_fd()], at, interrupt) {
            Ok(_) => Ok(()),
            Err(error) if error.is::<Interrupted>() => Err(error),
            // Its time is over. It is not waited for yet, so the id is still its own.
            Err(_) => kill_process(self.pid, Signal::INT)
                .with_context(|| format!("failed to interrupt {}", self.name)),
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(
        &mut self,
        deadline: Instant,
        interrupt: &Interrupt,
    ) -> anyhow::Result<ExitStatus> {
        wait_for(&[self.pidfd.as_fd()], deadline, interrupt)
            .with_context(|| format!("{} did not end", self.name))?;
        self.child.wait().with_context(|| format!("failed to wait for {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // ESRCH: the whole group is gone.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

fn end(pid: Pid, mut child: Child) {
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = child.wait();
}

/// Returns the first of these descriptors that is ready to be read.
fn wait_for(
    fds: &[rustix::fd::BorrowedFd<'_>],
    deadline: Instant,
    interrupt: &Interrupt,
) -> anyhow::Result<usize> {
    loop {
        let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        polled.push(PollFd::new(interrupt, PollFlags::IN));
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) if left.is_zero() => bail!("its time is over"),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) if !polled[fds.len()].revents().is_empty() => return Err(Interrupted.into()),
            Ok(_) => {
                let ready = polled.iter().position(|fd| !fd.revents().is_empty());
                return ready.context("poll reported nothing");
            }
            Err(error) => return Err(error).context("failed to wait"),
        }
    }
}

fn read_some(fd: impl AsFd, text: &mut Vec<u8>) -> anyhow::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let len = rustix::io::read(fd, &mut buffer).context("failed to read from a pipe")?;
    text.extend_from_slice(&buffer[..len]);
    Ok(len)
}

/// Does it with this thread on one core. A process inherits the cores of the thread that starts it,
/// so that it never runs anywhere else, and neither do the threads that it starts.
pub(crate) fn on_core<T>(core: Option<usize>, work: impl FnOnce() -> T) -> T {
    let Some(core) = core else { return work() };
    let Ok(before) = sched_getaffinity(None) else { return work() };
    let mut only = CpuSet::new();
    only.set(core);
    // Where that is not allowed the figures are noisier, and the report says which cores were used.
    let _ = sched_setaffinity(None, &only);
    let done = work();
    let _ = sched_setaffinity(None, &before);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::start(command, None).unwrap()
    }

    fn interrupt() -> Interrupt {
        Interrupt::new().unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn is_alive(id: &str) -> bool {
        // A zombie that nobody has waited for yet is not alive.
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[test]
    fn both_streams_and_the_status_are_collected() {
        let output = shell("echo out; echo err >&2; exit 3").collect(soon(), &interrupt(), |_| {});
        let output = output.unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.complaint(), "err");
    }

    #[test]
    fn one_that_does_not_finish_is_given_up_and_ended() {
        let process = shell("sleep 600 & echo $!; wait");
        let mut said = String::new();
        let early = Instant::now() + Duration::from_millis(300);
        let error = process.collect(early, &interrupt(), |text| {
            said = String::from_utf8_lossy(text).trim().to_owned();
        });
        assert!(format!("{:#}", error.unwrap_err()).contains("did not finish"));
        let deadline = soon();
        while said.is_empty() || is_alive(&said) {
            assert!(Instant::now() < deadline, "the grandchild {said:?} still runs");
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_is_interrupted_at_a_time_says_what_it_has() {
        let script = "trap 'echo early; exit' INT; echo ready; while :; do sleep 0.01; done";
        let mut process = shell(script);
        process.first_line(soon(), &interrupt()).unwrap();
        process.interrupt_at(Instant::now(), &interrupt()).unwrap();
        let output = process.collect(soon(), &interrupt(), |_| {}).unwrap();
        assert_eq!(output.stdout, "early\n");
    }

    #[test]
    fn a_server_that_ends_at_once_has_no_first_line() {
        let error = shell("exit 1").first_line(soon(), &interrupt()).unwrap_err();
        assert!(error.to_string().contains("ended before"), "{error}");
    }

    #[test]
    fn what_ignores_sigterm_is_killed_when_it_is_dropped() {
        let mut process = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        process.first_line(soon(), &interrupt()).unwrap();
        let id = process.id().to_string();
        process.terminate(Instant::now() + Duration::from_millis(100), &interrupt()).unwrap_err();
        assert!(!is_alive(&id));
    }
}
