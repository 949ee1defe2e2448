//! Threads and cores.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::num::NonZeroU32;
use std::thread;

/// Of the calling thread, says `sched_setaffinity(2)`.
const SELF: Pid = Pid::from_raw(0);

/// How many threads this process can run at once: its cores, and what its control group allows.
pub(crate) fn available() -> NonZeroU32 {
    let cores = thread::available_parallelism().map(NonZeroU32::try_from);
    cores.ok().and_then(Result::ok).unwrap_or(NonZeroU32::MIN)
}

/// The cores that the calling thread may run on.
pub(crate) fn cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(SELF)?;
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect())
}

/// Has the calling thread, and those that it starts, run on this core alone.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(SELF, &set).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("failed to keep to core {core} (--pin): {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_run_on_its_core_alone() {
        let pinned = thread::spawn(|| {
            let last = *cores().unwrap().last().unwrap();
            pin(last).unwrap();
            (last, cores().unwrap())
        });
        let (core, cores) = pinned.join().unwrap();
        assert_eq!(cores, [core]);
    }

    #[test]
    fn a_core_that_does_not_exist_is_an_error_that_names_it() {
        let error = pin(CpuSet::count() - 1).unwrap_err().to_string();
        assert!(error.contains(&format!("core {}", CpuSet::count() - 1)), "{error}");
    }
}
