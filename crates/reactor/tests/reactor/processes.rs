//! Threads that are known to sleep in the kernel, tests that run in a process of their own, and
//! descriptors that are closed beside such tests.

use crate::support::{DEADLINE, eventually};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::{env, thread};

/// Set for a test that runs again in a process of its own; holds the test's name.
const CHILD: &str = "EPOLL_REACTOR_TEST_CHILD";

/// Held while a process is started.
static STARTING: Mutex<()> = Mutex::new(());

/// Holds off tests that start a process, so that a close means what it says: a process that is
/// about to be started has a copy of every descriptor.
pub(crate) fn while_no_process_starts() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes the last descriptors of their open file descriptions.
pub(crate) fn close<T>(last: T) {
    let _starting = while_no_process_starts();
    drop(last);
}

/// Runs `body`, the test called `name`, in a process of its own.
#[track_caller]
pub(crate) fn in_own_process(name: &str, body: impl FnOnce()) {
    if is_own_process(name) {
        body();
    } else {
        assert_passed(spawn_own_process(name));
    }
}

/// Whether this is the process that was started for the test called `name`.
pub(crate) fn is_own_process(name: &str) -> bool {
    env::var(CHILD).is_ok_and(|running| running == name)
}

/// Starts this test binary again for the test called `name` alone.
///
/// Its standard input is a pipe, which ends when the process's owner closes it or ends itself.
#[track_caller]
pub(crate) fn spawn_own_process(name: &str) -> Child {
    spawn_under(&mut Command::new(env::current_exe().unwrap()), name).unwrap()
}

/// Runs `body`, the test called `name`, in a process of its own under `strace -f` with `options`.
///
/// `true`: it has passed there. `false`: this is that process, or the test is left out because
/// there is no strace.
#[track_caller]
pub(crate) fn under_strace(name: &str, options: &[&str], body: impl FnOnce()) -> bool {
    if is_own_process(name) {
        body();
        return false;
    }
    let mut strace = Command::new("strace");
    strace.arg("-f").args(options).arg(env::current_exe().unwrap());
    match spawn_under(&mut strace, name) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            leave_out(name, "strace");
            false
        }
        child => {
            assert_passed(child.unwrap());
            true
        }
    }
}

/// Says that a test was left out for want of a tool, to people and to whoever runs all tests.
fn leave_out(test: &str, tool: &str) {
    eprintln!("{test} is left out: there is no {tool}");
    if let Some(path) = env::var_os("EPOLL_KIT_LEFT_OUT") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        // In one piece, because other tests may write at the same time.
        file.write_all(format!("{test}\t{tool}\t{tool}\n").as_bytes()).unwrap();
    }
}

fn spawn_under(command: &mut Command, name: &str) -> io::Result<Child> {
    let _starting = while_no_process_starts();
    let mut child = command
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // `exec` closes the copies after it has let the parent go on. The blank line with which a test
    // run begins shows that it has done so.
    let _ = child.stdout.as_mut().unwrap().read(&mut [0])?;
    Ok(child)
}

/// Waits for a test's own process, which has to have run one test and passed.
#[track_caller]
pub(crate) fn assert_passed(child: Child) {
    let pid = Pid::from_child(&child);
    let (send, output) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    let Ok(output) = output.recv_timeout(3 * DEADLINE) else {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("the other process had not ended by the deadline");
    };
    let output = output.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && printed.contains("1 passed");
    assert!(passed, "{}:\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Whether a thread has gone to sleep in `epoll_wait` or one of its variants.
///
/// The kernel names the call of a thread that is off its processor and says "running" of any
/// other. State `S` excludes one that waits for a lock inside the call.
pub(crate) fn sleeps_in_a_wait(pid: u32, tid: i32) -> bool {
    #[cfg(target_arch = "x86_64")]
    const OLDER: [libc::c_long; 1] = [libc::SYS_epoll_wait];
    #[cfg(not(target_arch = "x86_64"))]
    const OLDER: [libc::c_long; 0] = [];
    const WAITS: [libc::c_long; 2] = [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];

    let read = |file| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}"));
    // A thread that has ended has no files.
    let (Ok(call), Ok(stat)) = (read("syscall"), read("stat")) else { return false };
    let number = call.split(' ').next().and_then(|word| word.parse().ok());
    // The name before the state may hold blanks and brackets.
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    number.is_some_and(|call| WAITS.contains(&call) || OLDER.contains(&call)) && state == Some('S')
}

/// Returns when a thread of `process` has gone to sleep in a wait.
#[track_caller]
pub(crate) fn await_sleep(process: &Child) {
    let pid = process.id();
    eventually("the other process sleeps", || {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
        let tids = threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        tids.into_iter().any(|tid| sleeps_in_a_wait(pid, tid))
    });
}

/// Stops `process` and returns when it has stopped.
#[track_caller]
pub(crate) fn stop(process: &Child) {
    let pid = Pid::from_child(process);
    kill_process(pid, Signal::STOP).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
}

#[track_caller]
pub(crate) fn proceed(process: &Child) {
    kill_process(Pid::from_child(process), Signal::CONT).unwrap();
}
