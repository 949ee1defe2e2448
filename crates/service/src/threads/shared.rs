//! The threads that share connections: each waits for whichever is ready, and has it alone until it is
//! done, or accepts connections. Timers and signals are the first thread's, see `local.rs`.

use crate::Service;
use crate::acceptor::{BATCH_MAX, SharedAcceptors};
use crate::client::Client;
use crate::handler::{Handler, Parts, Turn};
use crate::measures::{Measures, Meter, TurnMeter, Unmeasured};
use crate::panics::catch;
use crate::stats::{Closed, ThreadStats};
use crate::store::Pool;
use epoll_connection::{Protocol, StepRest};
use epoll_reactor::net::AcceptCounters;
use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Readiness, Token};
use epoll_timers::Timestamp;
use std::io;

/// Returns the number of events that one of so many threads takes at once. What it has fetched waits for
/// it, even while it is preempted, which only matters where another one could have fetched it.
pub(crate) fn batch_max(threads: usize) -> usize {
    if threads > 1 { epoll_reactor::shared::WORKER_BATCH_MAX } else { epoll_reactor::BATCH_MAX }
}

/// Serves until the reactor is stopped. `on_serving` is called when nothing can keep the thread from it any more.
pub(crate) fn run<S: Service>(
    index: usize,
    shared: &SharedReactor<Client<S::Protocol>>,
    batch_max: usize,
    acceptors: &SharedAcceptors,
    parts: &Parts<S>,
    on_serving: impl FnOnce(),
) -> io::Result<ThreadStats> {
    let mut handler = Handler::new(index, parts);
    let mut worker = shared.worker_with_batch_max(batch_max);
    on_serving();
    let mut meter = parts.measures.clone().map(TurnMeter::new);
    while !shared.is_stopped() {
        let listening = Listening { acceptors, measures: parts.measures.as_deref() };
        let (worker, handler) = (&mut worker, &mut handler);
        // Chosen here: a loop that asked in every turn would cost those who measure nothing.
        let serve = || match &mut meter {
            None => serve_until_stop::<S, _>(worker, shared, listening, handler, Unmeasured),
            Some(meter) => serve_until_stop::<S, _>(worker, shared, listening, handler, meter),
        };
        // A panic is logged where it happens, and the connection closed by whoever has it next.
        match catch(serve) {
            Some(done) => done?,
            None => handler.close_panicked(None, &mut Pool(shared)),
        }
    }
    let reactor = worker.counters();
    let accept = AcceptCounters::default();
    let stats = handler.stats();
    Ok(ThreadStats { thread: index, stats, reactor, accept, cut: 0 })
}

/// The listeners, and the measures of the thread that accepts from them.
#[derive(Clone, Copy)]
struct Listening<'a> {
    acceptors: &'a SharedAcceptors,
    measures: Option<&'a Measures>,
}

#[inline(never)]
fn serve_until_stop<S: Service, M: Meter>(
    worker: &mut Worker<'_, Client<S::Protocol>>,
    shared: &SharedReactor<Client<S::Protocol>>,
    listening: Listening<'_>,
    handler: &mut Handler<S>,
    mut meter: M,
) -> io::Result<()> {
    // A panic may have left requests, or a pass.
    handler.resume_passes();
    // Counted here: the thread has no other use for the number of its waits.
    let mut number = handler.turn();
    loop {
        let goes_on = if handler.has_filed() {
            wait_after_requests(worker, shared, handler, &mut meter)?
        } else {
            meter.end_turn(|| worker.counters().events);
            worker.wait_until(None)?
        };
        if !goes_on {
            return Ok(());
        }
        number += 1;
        meter.begin_turn();
        handler.refresh_drain();
        let turn = handler.now();
        while let Some(ready) = worker.next_ready() {
            let mut lease = match ready {
                LeaseReady::Owned(lease) => lease,
                LeaseReady::Watched { token, .. } => {
                    accept(listening, token, number, shared, handler)?;
                    continue;
                }
                LeaseReady::Woken => continue,
            };
            let readiness = lease.readiness();
            if lease.close_requested() {
                close(handler, Reported { lease, readiness });
                continue;
            }
            let now = handler.now_within(turn);
            let rest = lease.begin_step(readiness, &mut handler.thread, now);
            if rest.is_none() && !lease.is_notified() {
                lease.release();
                continue;
            }
            finish(handler, Reported { lease, readiness }, rest, Turn { number, now });
        }
    }
}

/// A connection that was reported. Cold code is given the lease in this: given the lease itself, it would have its
/// address, and the lease of every report would be kept in memory for its sake.
struct Reported<'a, P: Protocol> {
    lease: Lease<'a, Client<P>>,
    readiness: Readiness,
}

#[cold]
#[inline(never)]
fn close<S: Service>(handler: &mut Handler<S>, reported: Reported<'_, S::Protocol>) {
    let Reported { lease, .. } = reported;
    handler.thread.begin_turn(None);
    let closed = if lease.is_unwatched() { Closed::Unwatched } else { Closed::Panicked };
    handler.close(lease, closed);
}

/// Finishes what the usual step has left.
#[cold]
#[inline(never)]
fn finish<S: Service>(
    handler: &mut Handler<S>,
    reported: Reported<'_, S::Protocol>,
    rest: Option<StepRest>,
    turn: Turn,
) {
    let Reported { lease, readiness } = reported;
    let is_notified = lease.is_notified();
    let lease = match rest {
        None => Some(lease),
        Some(rest) => handler.finish_step(lease, rest, readiness, turn),
    };
    if let Some(lease) = lease.filter(|_| is_notified) {
        handler.on_notified(lease);
    }
}

/// Does what protocols have asked for, then waits.
// Out of line, so that the usual wait is compiled without a deadline.
#[cold]
#[inline(never)]
fn wait_after_requests<S: Service, M: Meter>(
    worker: &mut Worker<'_, Client<S::Protocol>>,
    shared: &SharedReactor<Client<S::Protocol>>,
    handler: &mut Handler<S>,
    meter: &mut M,
) -> io::Result<bool> {
    handler.handle_requests_and_passes(&mut Pool(shared));
    meter.end_turn(|| worker.counters().events);
    // Those that came meanwhile wait for no event, but let others have their turn.
    worker.wait_until(handler.has_filed().then_some(Timestamp::EPOCH))
}

/// Accepts from the listener that was reported.
#[cold]
#[inline(never)]
fn accept<S: Service>(
    listening: Listening<'_>,
    token: Token,
    wait: u64,
    shared: &SharedReactor<Client<S::Protocol>>,
    handler: &mut Handler<S>,
) -> io::Result<()> {
    let Listening { acceptors, measures } = listening;
    handler.thread.begin_turn(None);
    let control = handler.control();
    match control.accept_permits(BATCH_MAX) {
        Ok(permits) => {
            let serve = |listener, accepted| {
                handler.accept(listener, accepted, &mut Pool(shared));
            };
            acceptors.accept_batch(token, wait, permits, shared, measures, serve)
        }
        Err(pause) => {
            acceptors.pause(token, pause, shared)?;
            control.wake_first();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_threads_takes_few_events_at_once() {
        assert_eq!(batch_max(1), epoll_reactor::BATCH_MAX);
        let few = epoll_reactor::shared::WORKER_BATCH_MAX;
        assert_eq!([2, 3, 64].map(batch_max), [few; 3]);
    }
}
