//! Threads and cores.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::num::NonZeroU32;
use std::thread;

/// Returns how many threads this process can run at once: its cores, and what its control group allows.
pub(crate) fn available() -> NonZeroU32 {
    let cores = thread::available_parallelism().map(NonZeroU32::try_from);
    cores.ok().and_then(Result::ok).unwrap_or(NonZeroU32::MIN)
}

/// Returns the cores that the calling thread may run on.
pub(crate) fn cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Pins the calling thread, and the threads that it starts, to this core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
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
    fn a_core_that_does_not_exist_is_invalid() {
        let error = pin(CpuSet::MAX_CPU - 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
