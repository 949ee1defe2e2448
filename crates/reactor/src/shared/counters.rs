//! Counters that threads write and any thread reads. Each thread has its own and is the only one to write
//! them, so counting is a load and a store.

use crate::Counters;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters that all threads write to, each beside a system call, and those of the workers.
#[derive(Default)]
pub(crate) struct SharedCounters {
    pub(crate) adds: AtomicU64,
    /// Counts that no worker has made.
    pub(crate) mods: AtomicU64,
    pub(crate) dels: AtomicU64,
    pub(crate) rebuilds: AtomicU64,
    workers: Mutex<Workers>,
}

#[derive(Default)]
struct Workers {
    present: Vec<Arc<WorkerCounters>>,
    /// The counters of workers that were dropped.
    retired: Counters,
}

/// The counters of one worker, on cache lines that no other thread writes.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct WorkerCounters {
    pub(crate) waits: AtomicU64,
    pub(crate) spins: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) revisits: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) batch_max: AtomicU64,
    /// Sources that its leases have armed again.
    pub(crate) mods: AtomicU64,
}

/// Adds one, from any thread.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl WorkerCounters {
    /// Adds to a counter. Only its own thread does, so a load and a store are enough.
    #[inline]
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn raise_batch_max(&self, count: u64) {
        if count > self.batch_max.load(Ordering::Relaxed) {
            self.batch_max.store(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            waits: read(&self.waits),
            spins: read(&self.spins),
            events: read(&self.events),
            stale: read(&self.stale),
            revisits: read(&self.revisits),
            wakes: read(&self.wakes),
            batch_max: read(&self.batch_max),
            mods: read(&self.mods),
            ..Counters::default()
        }
    }
}

impl SharedCounters {
    /// Adds the counters of one more worker.
    pub(crate) fn add_worker(&self) -> Arc<WorkerCounters> {
        let counters = Arc::new(WorkerCounters::default());
        self.workers().present.push(Arc::clone(&counters));
        counters
    }

    /// Removes the counters of a worker; what it has done stays counted.
    pub(crate) fn retire(&self, counters: &Arc<WorkerCounters>) {
        let mut workers = self.workers();
        workers.retired = workers.retired + counters.read();
        workers.present.retain(|present| !Arc::ptr_eq(present, counters));
    }

    pub(crate) fn sum(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let in_common = Counters {
            adds: read(&self.adds),
            mods: read(&self.mods),
            dels: read(&self.dels),
            rebuilds: read(&self.rebuilds),
            ..Counters::default()
        };
        let workers = self.workers();
        let rest = in_common + workers.retired;
        workers.present.iter().map(|worker| worker.read()).fold(rest, Add::add)
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        // Nothing panics under the lock unless memory runs out.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_has_counted_outlasts_its_counters() {
        let counters = SharedCounters::default();
        let worker = counters.add_worker();
        WorkerCounters::add(&worker.waits, 3);
        counters.retire(&worker);
        assert_eq!(counters.sum().waits, 3);
        assert_eq!(Arc::strong_count(&worker), 1, "nobody else keeps them");
    }
}
