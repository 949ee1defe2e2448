//! A wait of a worker ends when there is something for this thread, or when the time is over.

use crate::shared::TRIGGERS;
use crate::support::ready_pair;
use epoll_kit_testing::DEADLINE;
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor};
use epoll_reactor::{Interest, Registration};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// The kernel may report a source before the thread that inserts it has let go of it: then the event is
/// left for that thread, and must not end the wait.
#[test]
fn it_does_not_end_for_a_source_that_is_still_being_inserted() {
    const ROUNDS: usize = 1500;
    for trigger in TRIGGERS {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let (insert, inserted) = mpsc::channel();
        let mut early = 0;
        thread::scope(|threads| {
            let reactor = &reactor;
            threads.spawn(move || {
                let mut peers = Vec::new();
                for () in inserted {
                    let (ours, theirs) = ready_pair();
                    reactor.insert(ours, trigger(Interest::IN)).unwrap();
                    peers.push(theirs);
                    peers.drain(..peers.len().saturating_sub(8));
                }
            });
            let mut worker = reactor.worker();
            for round in 0..ROUNDS {
                insert.send(()).unwrap();
                let deadline = Instant::now() + DEADLINE;
                while reactor.counters().adds == round as u64 || !reactor.is_empty() {
                    worker.wait(Some(DEADLINE)).unwrap();
                    assert!(Instant::now() < deadline, "round {round}: the source is not reported");
                    let mut reports = 0;
                    while let Some(ready) = worker.next_ready() {
                        reports += 1;
                        if let LeaseReady::Owned(lease) = ready {
                            lease.close();
                        }
                    }
                    early += usize::from(reports == 0);
                }
            }
            drop(insert);
        });
        assert_eq!(early, 0, "of {ROUNDS} rounds");
    }
}
