//! The reactor that threads share: one holder at a time, no report lost, and nobody told what is over.
//!
//! What follows has a worker on the test's own thread where one is enough, for then every turn is known.

mod asking;
mod contention;
mod dropping;
mod interruptions;
mod leases;
mod naming;
mod panics;
mod parking;
mod refusals;
mod revisiting;
mod stale;
mod threads;
mod unparking;
mod waiting;
mod watching;

use crate::support::{drain, ready_pair};
use epoll_kit_testing::{DEADLINE, eventually, sleeps_in_a_wait};
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Interest, Readiness, Registration, Source, Token, Watch};
use std::process;
use std::sync::mpsc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// A way to watch a source, whatever for.
type Trigger = fn(Interest) -> Watch;

/// The triggers that a shared source may have.
const TRIGGERS: [Trigger; 3] = [Watch::oneshot, Watch::edge, Watch::edge_oneshot];

/// The report of a lease, and the bytes that were read under it.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    token: Token,
    readiness: Readiness,
    close_requested: bool,
    bytes: Vec<u8>,
}

impl Told {
    /// A report of `bytes`, and of nothing else.
    fn brought(token: Token, bytes: &[u8]) -> Self {
        Self { token, readiness: Readiness::IN, close_requested: false, bytes: bytes.to_vec() }
    }

    /// A question for the close, and nothing else.
    fn to_close(token: Token) -> Self {
        Self { token, readiness: Readiness::empty(), close_requested: true, bytes: Vec::new() }
    }
}

/// A reactor with a source that has nothing to read; its name, and its peer.
#[track_caller]
fn with_silent(watch: Watch) -> (SharedReactor<Stream>, Token, Stream) {
    with(Stream::pair().unwrap(), watch)
}

/// A reactor with a source that has a byte to read; its name, and its peer.
#[track_caller]
fn with_ready(watch: Watch) -> (SharedReactor<Stream>, Token, Stream) {
    with(ready_pair(), watch)
}

#[track_caller]
fn with((ours, theirs): (Stream, Stream), watch: Watch) -> (SharedReactor<Stream>, Token, Stream) {
    let reactor = SharedReactor::new().unwrap();
    let token = reactor.insert(ours, watch).unwrap();
    (reactor, token, theirs)
}

/// Reads all there is and ends the lease.
#[track_caller]
fn read(lease: Lease<'_, Stream>) -> Told {
    let told = Told {
        token: lease.token(),
        readiness: lease.readiness(),
        close_requested: lease.close_requested(),
        bytes: drain(&lease),
    };
    drop(lease);
    told
}

/// The next lease of this turn. Wakes must not come.
#[track_caller]
fn next<'a, T: Source>(worker: &'a mut Worker<'_, T>) -> Option<Lease<'a, T>> {
    match worker.next_ready()? {
        LeaseReady::Owned(lease) => Some(lease),
        LeaseReady::Watched { .. } => panic!("nothing is watched"),
        LeaseReady::Woken => panic!("nobody used the waker"),
    }
}

/// Returns the reports that are left in this turn. A wake may be among them, for a source that is handed out
/// again.
#[track_caller]
fn rest(worker: &mut Worker<'_, Stream>) -> Vec<Told> {
    let mut told = Vec::new();
    while let Some(ready) = worker.next_ready() {
        match ready {
            LeaseReady::Owned(lease) => told.push(read(lease)),
            LeaseReady::Woken => {}
            LeaseReady::Watched { .. } => panic!("nothing is watched"),
        }
    }
    told
}

/// The reports of a turn that only looks. It is sure to find them where no other thread waits.
#[track_caller]
fn look(worker: &mut Worker<'_, Stream>) -> Vec<Told> {
    assert!(worker.wait(Some(Duration::ZERO)).unwrap());
    rest(worker)
}

/// The reports of the next turn that has some.
#[track_caller]
fn wait(worker: &mut Worker<'_, Stream>) -> Vec<Told> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(worker.wait(Some(DEADLINE)).unwrap());
        let told = rest(worker);
        if !told.is_empty() {
            return told;
        }
        assert!(Instant::now() < deadline, "no report before the deadline");
    }
}

/// Asserts that nothing is ready: a wait sleeps until its timeout is over and reports nothing.
#[track_caller]
fn assert_sleeps(worker: &mut Worker<'_, Stream>) {
    const NAP: Duration = Duration::from_millis(20);
    let (start, waits) = (Instant::now(), worker.counters().waits);
    assert!(worker.wait(Some(NAP)).unwrap());
    assert_eq!(rest(worker), []);
    assert!(start.elapsed() >= NAP, "the wait did not sleep");
    // The kernel may end a sleep by a hair's breadth too early for the clock.
    let waits = worker.counters().waits - waits;
    assert!(waits <= 2, "{waits} waits for one sleep");
}

/// Stops a reactor when a test ends, by failing too, so that its workers end.
struct StopAtTheEnd<'a, T: Source, S = ()>(&'a SharedReactor<T, S>);

impl<T: Source, S> Drop for StopAtTheEnd<'_, T, S> {
    fn drop(&mut self) {
        self.0.stop().unwrap();
    }
}

/// Hands every lease to `serve` until the reactor is stopped.
fn work<T: Source>(reactor: &SharedReactor<T>, mut serve: impl FnMut(Lease<'_, T>)) {
    let mut worker = reactor.worker();
    while worker.wait(None).unwrap() {
        while let Some(ready) = worker.next_ready() {
            if let LeaseReady::Owned(lease) = ready {
                serve(lease);
            }
        }
    }
}

/// Runs `body` beside `count` threads that hand every lease to `serve`.
fn beside_workers<T: Source + Send, R>(
    reactor: &SharedReactor<T>,
    count: usize,
    serve: impl Fn(Lease<'_, T>) + Sync,
    body: impl FnOnce() -> R,
) -> R {
    thread::scope(|threads| {
        let _stop = StopAtTheEnd(reactor);
        for _ in 0..count {
            threads.spawn(|| work(reactor, &serve));
        }
        body()
    })
}

/// Threads of a scope which all sleep in the kernel, in `run`, when this returns.
#[track_caller]
fn asleep<'scope, R: Send + 'scope>(
    threads: &'scope Scope<'scope, '_>,
    count: usize,
    run: impl Fn() -> R + Send + Copy + 'scope,
) -> Vec<ScopedJoinHandle<'scope, R>> {
    let (send, tids) = mpsc::channel();
    let running = (0..count).map(|_| {
        let send = send.clone();
        threads.spawn(move || {
            send.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            run()
        })
    });
    let running: Vec<_> = running.collect();
    for _ in 0..count {
        let tid = tids.recv_timeout(DEADLINE).unwrap();
        eventually("the thread sleeps", || sleeps_in_a_wait(process::id(), tid));
    }
    running
}
