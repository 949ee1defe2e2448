//! The threads that share connections: each waits for whichever is ready, and has it alone until it is
//! done. Accepting, timers and signals are the first thread's, see `local.rs`.

use crate::Service;
use crate::client::Client;
use crate::handler::{Handler, Parts, Turn};
use crate::stats::{Closed, ThreadStats};
use crate::store::Pool;
use epoll_reactor::net::AcceptCounters;
use epoll_reactor::shared::{LeaseReady, SharedReactor, Worker};
use epoll_timers::Timestamp;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the number of events that one of so many threads takes at once. What it has fetched waits for
/// it, even while it is preempted, which only matters where another one could have fetched it.
pub(crate) fn batch_max(threads: usize) -> usize {
    if threads > 1 { epoll_reactor::shared::WORKER_BATCH_MAX } else { epoll_reactor::BATCH_MAX }
}

/// Serves until the reactor is stopped.
pub(crate) fn run<S: Service>(
    index: usize,
    shared: &SharedReactor<Client<S::Protocol>>,
    batch_max: usize,
    parts: &Parts<S>,
) -> io::Result<ThreadStats> {
    let mut handler = Handler::new(index, parts);
    let mut worker = shared.worker_with_batch_max(batch_max);
    while !shared.is_stopped() {
        let serving = AssertUnwindSafe(|| serve_until_stop::<S>(&mut worker, shared, &mut handler));
        // A panic is logged where it happens, and the connection closed by whoever has it next.
        match catch_unwind(serving) {
            Ok(done) => done?,
            Err(_) => handler.close_panicked(None, &mut Pool(shared)),
        }
    }
    let reactor = worker.counters();
    let accept = AcceptCounters::default();
    let stats = handler.stats().clone();
    Ok(ThreadStats { thread: index, stats, reactor, accept, cut: 0 })
}

#[inline(never)]
fn serve_until_stop<S: Service>(
    worker: &mut Worker<'_, Client<S::Protocol>>,
    shared: &SharedReactor<Client<S::Protocol>>,
    handler: &mut Handler<S>,
) -> io::Result<()> {
    // One wait and one loop: the compiler inlines neither of them twice.
    let mut deadline = None;
    while worker.wait_until(deadline)? {
        handler.refresh_drain();
        let turn = handler.now();
        let number = worker.counters().waits;
        while let Some(ready) = worker.next_ready() {
            let LeaseReady::Owned(mut lease) = ready else { continue };
            let readiness = lease.readiness();
            if lease.close_requested() {
                let closed =
                    if lease.is_unwatched() { Closed::Unwatched } else { Closed::Panicked };
                handler.close(lease, closed);
                continue;
            }
            let now = handler.now_within(turn);
            let is_notified = lease.is_notified();
            let lease = match lease.begin_step(readiness, &mut handler.thread, now) {
                None if !is_notified => continue,
                None => Some(lease),
                Some(rest) => handler.finish_step(lease, rest, readiness, Turn { number, now }),
            };
            if let Some(lease) = lease.filter(|_| is_notified) {
                handler.on_notified(lease);
            }
        }
        deadline = if handler.has_filed() {
            handler.handle_requests(&mut Pool(shared));
            // Those that came meanwhile wait for no event, but let others have their turn.
            handler.has_filed().then_some(Timestamp::EPOCH)
        } else {
            None
        };
    }
    Ok(())
}
