//! Counters that threads write and any thread reads. Each thread has its own and is the only one to write
//! them, so counting is a load and a store.

use crate::Counters;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is counted for all threads in common: it goes with system calls.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) adds: AtomicU64,
    pub(crate) mods: AtomicU64,
    pub(crate) dels: AtomicU64,
    workers: Mutex<Workers>,
}

#[derive(Default)]
struct Workers {
    present: Vec<Arc<OfWorker>>,
    /// What those have done that are gone.
    gone: Counters,
}

/// What one thread has done.
#[derive(Default)]
pub(crate) struct OfWorker {
    pub(crate) waits: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) revisits: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) batch_max: AtomicU64,
}

/// One more, from any thread.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl OfWorker {
    /// Adds to a counter; only its own thread does.
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
            events: read(&self.events),
            stale: read(&self.stale),
            revisits: read(&self.revisits),
            wakes: read(&self.wakes),
            batch_max: read(&self.batch_max),
            ..Counters::default()
        }
    }
}

impl Shared {
    /// The counters of one more thread.
    pub(crate) fn of_worker(&self) -> Arc<OfWorker> {
        let counters = Arc::new(OfWorker::default());
        self.workers().present.push(Arc::clone(&counters));
        counters
    }

    /// A thread is gone; what it has done stays counted.
    pub(crate) fn retire(&self, counters: &Arc<OfWorker>) {
        let mut workers = self.workers();
        workers.gone = workers.gone + counters.read();
        workers.present.retain(|present| !Arc::ptr_eq(present, counters));
    }

    pub(crate) fn sum(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let in_common = Counters {
            adds: read(&self.adds),
            mods: read(&self.mods),
            dels: read(&self.dels),
            ..Counters::default()
        };
        let workers = self.workers();
        let gone = in_common + workers.gone;
        workers.present.iter().map(|worker| worker.read()).fold(gone, Add::add)
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        // Nothing in there panics but for want of memory.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
