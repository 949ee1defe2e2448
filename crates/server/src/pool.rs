//! The threads that share connections: each waits for whichever is ready, and has it alone until it is
//! done. Accepting, timers and signals are the first thread's, see `worker.rs`.

use crate::client::Client;
use crate::clients::Clients;
use crate::connections::Held;
use crate::stats::{Closed, ThreadStats};
use epoll_connection::Step;
use epoll_reactor::Registration;
use epoll_reactor::net::AcceptCounters;
use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor, Worker};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many events one of so many threads takes at once. What it has fetched waits for it, even while it
/// is preempted, which only matters where another one could have fetched it.
pub(crate) fn batch_max(threads: usize) -> usize {
    if threads > 1 { epoll_reactor::shared::WORKER_BATCH_MAX } else { epoll_reactor::BATCH_MAX }
}

/// Serves until the reactor is stopped.
pub(crate) fn run(
    index: usize,
    shared: &SharedReactor<Client>,
    batch_max: usize,
    mut clients: Clients,
) -> io::Result<ThreadStats> {
    let mut worker = shared.worker_with_batch_max(batch_max);
    while !shared.is_stopped() {
        let serving = AssertUnwindSafe(|| serve_until_stop(&mut worker, &mut clients));
        // A panic is logged where it happens, and the connection closed by whoever has it next.
        if let Ok(done) = catch_unwind(serving) {
            done?;
        }
    }
    let reactor = worker.counters();
    let accept = AcceptCounters::default();
    let stats = clients.stats().clone();
    Ok(ThreadStats { thread: index, stats, reactor, accept, cut: 0 })
}

#[inline(never)]
fn serve_until_stop(worker: &mut Worker<'_, Client>, clients: &mut Clients) -> io::Result<()> {
    while worker.wait(None)? {
        clients.heed_drain();
        let turn = clients.now();
        while let Some(ready) = worker.next_ready() {
            let LeaseReady::Owned(mut lease) = ready else { continue };
            let readiness = lease.readiness();
            if lease.close_requested() {
                let closed =
                    if lease.is_unwatched() { Closed::Unwatched } else { Closed::Panicked };
                clients.close(Held::Leased(lease), closed);
                continue;
            }
            let now = clients.now_within(turn);
            let token = lease.token();
            let step = lease.step(readiness, token, &mut clients.thread, now);
            if step != Step::Wait || lease.is_notified() {
                heed(lease, step, clients);
            }
        }
    }
    Ok(())
}

/// Does what the connection has asked for, and what another thread has called for.
#[cold]
fn heed(lease: Lease<'_, Client>, step: Step, clients: &mut Clients) {
    let (readiness, is_called) = (lease.readiness(), lease.is_notified());
    let held = clients.obey(Held::Leased(lease), step, readiness);
    if let Some(held) = held.filter(|_| is_called) {
        clients.see_to(held);
    }
}
