//! The signal masks of all threads of this process, and the mask that a child begins with.
//!
//! Kernel facts: (a) a signal that any thread leaves unblocked may be delivered to that thread
//! instead of to a signalfd; (b) no system call tells the mask of another thread, only
//! `/proc/self/task` does; (c) a child inherits the mask of the thread that forks it, and keeps it
//! across `exec`.

use crate::SignalSet;
use crate::signal_set::{mask_in, set_mask};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A thread of this process and the signals that it blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadMask {
    /// The thread's kernel id, `gettid(2)`.
    pub id: u32,
    /// The thread's name, of which the kernel keeps 15 bytes.
    pub name: String,
    /// The signals that the thread blocks.
    pub blocked: SignalSet,
}

/// The directory that has an entry for each thread of this process.
const TASKS: &str = "/proc/self/task";

/// Returns the masks of all threads of this process, each as it was when its file was read, from
/// `/proc/self/task`,
/// [proc_pid_status(5)](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html).
///
/// # Errors
///
/// The message names the file, so that the error has a kind and no errno.
///
/// - [`NotFound`](io::ErrorKind::NotFound): `/proc` is not mounted here, as in a bare chroot.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): a security module denies it.
/// - [`InvalidData`](io::ErrorKind::InvalidData): the status of a thread has no line `SigBlk`.
/// - Without a kind: this process, or the system, is out of descriptors.
///
/// # Examples
///
/// ```
/// let threads = epoll_sys::thread_masks()?;
/// assert!(threads.iter().any(|thread| thread.id == std::process::id()), "the main thread");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn thread_masks() -> io::Result<Vec<ThreadMask>> {
    let tasks = Path::new(TASKS);
    let mut masks = Vec::new();
    for task in fs::read_dir(tasks).map_err(|error| reading(tasks, &error))? {
        let status = task.map_err(|error| reading(tasks, &error))?.path().join("status");
        if let Some(text) = of_live_thread(&status, fs::read(&status))? {
            masks.push(
                thread_mask(&String::from_utf8_lossy(&text)).ok_or_else(|| no_mask(&status))?,
            );
        }
    }
    Ok(masks)
}

/// Returns the status that was read, or `None` if the thread has ended since the directory was read.
fn of_live_thread(path: &Path, read: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        // The name of a thread is in it, which may be anything.
        Ok(text) => Ok(Some(text)),
        // Its file is gone, or was opened before the end.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(reading(path, &error)),
    }
}

fn reading(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to read {}: {error}", path.display()))
}

fn no_mask(status: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no mask in {}", status.display()))
}

fn thread_mask(status: &str) -> Option<ThreadMask> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    Some(ThreadMask {
        id: field("Pid:")?.trim().parse().ok()?,
        name: field("Name:")?.trim().to_owned(),
        blocked: mask_in(status, "SigBlk:")?,
    })
}

/// Makes the program that `command` starts begin with `mask` as its blocked signals instead of
/// those of this thread: `pthread_sigmask(SIG_SETMASK)` in the child, between `fork` and `exec`.
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
    let mask = mask.to_raw();
    // SAFETY: the closure runs in the forked child, where only what signal-safety(7) lists may be
    // called. It calls pthread_sigmask, which is on that list, with a set that it owns; it allocates
    // nothing, takes no lock, and an error becomes an `io::Error` that holds just the number.
    unsafe { command.pre_exec(move || set_mask(libc::SIG_SETMASK, &mask, None)) }
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
    fn a_thread_that_has_ended_meanwhile_is_passed_over_and_other_errors_are_not() {
        let path = Path::new("/proc/self/task/7/status");
        let read = |errno| of_live_thread(path, Err(io::Error::from_raw_os_error(errno)));
        for errno in [libc::ENOENT, libc::ESRCH] {
            assert_eq!(read(errno).unwrap(), None);
        }
        let error = read(libc::EACCES).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("/proc/self/task/7/status"), "{error}");
    }

    #[test]
    fn a_status_that_lacks_a_field_is_refused() {
        let fields = ["Name:\tworker\n", "Pid:\t42\n", "SigBlk:\t0\n"];
        assert!(thread_mask(&fields.concat()).is_some());
        for missing in 0..fields.len() {
            let mut left = fields.to_vec();
            left.remove(missing);
            assert_eq!(thread_mask(&left.concat()), None, "{left:?}");
        }
        let error = no_mask(Path::new("/proc/self/task/7/status"));
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("/proc/self/task/7/status"), "{error}");
    }
}
