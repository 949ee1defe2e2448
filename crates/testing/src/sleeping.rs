//! Threads that are known to sleep in the kernel.

use std::fs;

/// Returns whether a thread of a process sleeps in `epoll_wait` or `poll`, or in one of their variants.
///
/// The kernel names the call of a thread that is off its processor and says "running" of any
/// other. State `S` excludes one that waits for a lock inside the call.
#[must_use]
pub fn sleeps_in_a_wait(pid: u32, tid: i32) -> bool {
    #[cfg(target_arch = "x86_64")]
    const OLDER: [libc::c_long; 2] = [libc::SYS_epoll_wait, libc::SYS_poll];
    #[cfg(not(target_arch = "x86_64"))]
    const OLDER: [libc::c_long; 0] = [];
    const WAITS: [libc::c_long; 3] =
        [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll];

    let read = |file| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}"));
    // A thread that has ended has no files.
    let (Ok(call), Ok(stat)) = (read("syscall"), read("stat")) else { return false };
    let number = call.split(' ').next().and_then(|word| word.parse().ok());
    // The name before the state may hold blanks and brackets.
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    number.is_some_and(|call| WAITS.contains(&call) || OLDER.contains(&call)) && state == Some('S')
}

/// Returns whether any thread of a process sleeps in such a call.
pub(crate) fn any_sleeps_in_a_wait(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let mut tids = threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    tids.any(|tid| sleeps_in_a_wait(pid, tid))
}
