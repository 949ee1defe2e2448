//! The signal masks of all threads of this process, as `/proc/self/task` shows them, and the mask
//! that a child begins with.
//!
//! Kernel facts: (a) a signal that any thread leaves unblocked may be delivered to that thread
//! instead of to a signalfd; (b) a child inherits the mask of the thread that forks it, and keeps it
//! across `exec`.

use crate::SignalSet;
use crate::signal::mask_in;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// One thread of this process and the signals that it blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadMask {
    /// Its kernel id, `gettid(2)`.
    pub id: u32,
    /// Its name, up to 15 bytes of it.
    pub name: String,
    /// The signals that it blocks.
    pub blocked: SignalSet,
}

/// The masks of all threads of this process, at the moment when each is looked at.
///
/// # Errors
///
/// What reading `/proc/self/task` gives; [`InvalidData`](io::ErrorKind::InvalidData) for a thread
/// whose status lacks the line `SigBlk`.
pub fn thread_masks() -> io::Result<Vec<ThreadMask>> {
    let mut masks = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        match fs::read_to_string(task.path().join("status")) {
            Ok(status) => masks.push(thread_mask(&status)?),
            // It has ended since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(masks)
}

fn thread_mask(status: &str) -> io::Result<ThreadMask> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.into());
    let id = field("Pid:").and_then(|id: &str| id.trim().parse().ok());
    let name = field("Name:").map(|name| name.trim().to_owned());
    match (id, name, mask_in(status, "SigBlk:")) {
        (Some(id), Some(name), Some(blocked)) => Ok(ThreadMask { id, name, blocked }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no mask in a thread's status")),
    }
}

/// `pthread_sigmask(SIG_SETMASK)` in the child, between `fork` and `exec`: the program that
/// `command` starts begins with `mask` as its blocked signals, not with those of this thread.
///
/// # Examples
///
/// ```
/// use epoll_sys::{Signal, SignalSet, set_child_mask};
/// use std::process::Command;
///
/// let _guard = SignalSet::from_iter([Signal::TERM]).block()?;
/// let mut command = Command::new("grep");
/// command.args(["-q", "^SigBlk:\t0*$", "/proc/self/status"]);
/// assert!(set_child_mask(&mut command, SignalSet::empty()).status()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn set_child_mask(command: &mut Command, mask: SignalSet) -> &mut Command {
    // SAFETY: the closure runs in the forked child, where only what signal-safety(7) lists may be
    // called. It calls pthread_sigmask, which is on that list, with a set that it owns; it allocates
    // nothing, takes no lock, and an error becomes an `io::Error` that holds just the number.
    unsafe { command.pre_exec(move || mask.set()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Signal;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tworker 1\nPid:\t42\nSigPnd:\t0\nSigBlk:\t0000000000004002\n";
        let mask = thread_mask(status).unwrap();
        assert_eq!((mask.id, mask.name.as_str()), (42, "worker 1"));
        assert_eq!(mask.blocked, SignalSet::from_iter([Signal::INT, Signal::TERM]));
    }

    #[test]
    fn a_status_without_a_mask_is_an_error() {
        assert_eq!(thread_mask("Pid:\t1\n").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_mask_of_this_thread_is_among_them() {
        let _guard = SignalSet::from_iter([Signal::USR2]).block().unwrap();
        let masks = thread_masks().unwrap();
        assert!(masks.iter().any(|thread| thread.blocked.contains(Signal::USR2)));
    }
}
