//! A worker of a reactor that threads share, inside another loop.

use crate::nesting::loops::{LOOPS, Turn, is_readable};
use crate::nesting::read_byte;
use crate::support::ready_pair;
use epoll_kit_testing::before_the_deadline;
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor, Worker};
use epoll_reactor::{Interest, Readiness, Registration, Source, Watch};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

type Trigger = fn(Interest) -> Watch;

const TRIGGERS: [Trigger; 3] = [Watch::oneshot, Watch::edge, Watch::edge_oneshot];

/// A thread's part of a shared reactor, as the loop around it has it.
struct Inner<'a> {
    reactor: &'a SharedReactor<Stream>,
    worker: Worker<'a, Stream>,
}

impl<'a> Inner<'a> {
    fn new(reactor: &'a SharedReactor<Stream>) -> Self {
        Self { reactor, worker: reactor.worker() }
    }

    /// A turn that only looks and ends after `most` leases. Returns how many there were.
    fn turn(&mut self, most: usize, mut serve: impl FnMut(Lease<'_, Stream>)) -> Option<usize> {
        assert!(self.worker.wait(Some(Duration::ZERO)).unwrap());
        let (mut leases, mut is_empty) = (0, true);
        while leases < most {
            match self.worker.next_ready() {
                Some(LeaseReady::Owned(lease)) => serve(lease),
                Some(LeaseReady::Woken) => {
                    is_empty = false;
                    continue;
                }
                Some(LeaseReady::Watched { .. }) => panic!("nothing is watched"),
                None => break,
            }
            is_empty = false;
            leases += 1;
        }
        (!is_empty).then_some(leases)
    }
}

/// The outcome of a turn for the loop around it.
fn outcome(leases: Option<usize>, is_over: bool) -> Turn {
    match leases {
        _ if is_over => Turn::Over,
        Some(_) => Turn::Reported,
        None => Turn::Nothing,
    }
}

/// Asserts that a loop which watches it would sleep, after at most one empty turn: the reactor's own
/// signal is taken back by the turn that finds nothing else.
#[track_caller]
fn assert_quiet(inner: &mut Inner<'_>) {
    assert_eq!(inner.turn(usize::MAX, |_| panic!("nothing is left")), None);
    assert!(!is_readable(inner), "it has nothing to report");
}

impl AsFd for Inner<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reactor.as_fd()
    }
}

impl AsRawFd for Inner<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.reactor.as_raw_fd()
    }
}

impl Source for Inner<'_> {}

#[test]
fn what_is_read_a_byte_a_turn_is_read_to_the_end_in_any_loop() {
    for outer in LOOPS {
        for trigger in TRIGGERS {
            before_the_deadline(move || {
                let sent: Vec<u8> = (0..100).collect();
                let (ours, mut theirs) = Stream::pair().unwrap();
                let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
                reactor.insert(ours, trigger(Interest::IN)).unwrap();
                theirs.write_all(&sent).unwrap();

                let (mut received, mut is_over) = (Vec::new(), false);
                let turn = |inner: &mut Inner<'_>| {
                    let leases = inner.turn(usize::MAX, |mut lease| match read_byte(&lease) {
                        Some(byte) => {
                            received.push(byte);
                            lease.revisit(Readiness::IN);
                        }
                        None => is_over = true,
                    });
                    outcome(leases, is_over)
                };
                let mut outcome = outer.run(Inner::new(&reactor), turn, |_| ());
                assert_eq!(received, sent, "{outer:?}");
                assert_eq!(outcome.turns, 101, "{outer:?}");
                assert_quiet(&mut outcome.inner);
            });
        }
    }
}

#[test]
fn a_batch_that_is_left_early_is_continued_in_any_loop() {
    const SOURCES: usize = 9;
    for outer in LOOPS {
        for trigger in TRIGGERS {
            before_the_deadline(move || {
                let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
                let (ours, _theirs): (Vec<_>, Vec<_>) = (0..SOURCES).map(|_| ready_pair()).unzip();
                for ours in ours {
                    reactor.insert(ours, trigger(Interest::IN)).unwrap();
                }
                let mut left = SOURCES;
                let turn = |inner: &mut Inner<'_>| {
                    let leases = inner.turn(1, |lease| {
                        assert_eq!(read_byte(&lease), Some(b'w'));
                        left -= 1;
                    });
                    outcome(leases, left == 0)
                };
                let mut outcome = outer.run(Inner::new(&reactor), turn, |_| ());
                assert_eq!(outcome.turns, SOURCES, "{outer:?}");
                assert_quiet(&mut outcome.inner);
            });
        }
    }
}

/// The queue of the sources that are handed out again is left early, too.
#[test]
fn revisits_that_are_left_early_are_continued_in_any_loop() {
    const SOURCES: usize = 3;
    const BYTES: usize = 10;
    for outer in LOOPS {
        for trigger in TRIGGERS {
            before_the_deadline(move || {
                let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
                let mut peers = Vec::new();
                for _ in 0..SOURCES {
                    let (ours, mut theirs) = Stream::pair().unwrap();
                    theirs.write_all(&[b'w'; BYTES]).unwrap();
                    reactor.insert(ours, trigger(Interest::IN)).unwrap();
                    peers.push(theirs);
                }
                let mut left = SOURCES * (BYTES + 1);
                let turn = |inner: &mut Inner<'_>| {
                    let leases = inner.turn(1, |mut lease| {
                        left -= 1;
                        if read_byte(&lease).is_some() {
                            lease.revisit(Readiness::IN);
                        }
                    });
                    outcome(leases, left == 0)
                };
                let mut outcome = outer.run(Inner::new(&reactor), turn, |_| ());
                assert_quiet(&mut outcome.inner);
            });
        }
    }
}

#[test]
fn what_other_threads_do_to_a_source_is_told_in_any_loop() {
    const ROUNDS: usize = 12;
    for outer in LOOPS {
        for trigger in TRIGGERS {
            before_the_deadline(move || {
                let (ours, _theirs) = ready_pair();
                let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
                let token = reactor.insert(ours, trigger(Interest::IN)).unwrap();
                let (told, wait_for_told) = mpsc::channel();
                thread::scope(|threads| {
                    let reactor = &reactor;
                    threads.spawn(move || {
                        for (round, ()) in wait_for_told.into_iter().enumerate() {
                            assert!(match round % 3 {
                                0 => reactor.notify(token).unwrap(),
                                1 => reactor.unpark(token),
                                _ => reactor.request_close(token).unwrap(),
                            });
                        }
                    });
                    let mut rounds = 0;
                    let turn = |inner: &mut Inner<'_>| {
                        let leases = inner.turn(usize::MAX, |mut lease| {
                            // The readiness of the first report and of every one after `unpark`.
                            let asked = [lease.is_notified(), lease.close_requested()];
                            let is_ready = !lease.readiness().is_empty();
                            let expected = match rounds % 3 {
                                _ if rounds == 0 => ([false, false], true),
                                1 => ([true, false], false),
                                2 => ([false, false], true),
                                _ => ([false, true], false),
                            };
                            assert_eq!((asked, is_ready), expected, "round {rounds}");
                            lease.park().unwrap();
                            drop(lease);
                            rounds += 1;
                            told.send(()).unwrap();
                        });
                        outcome(leases, rounds == ROUNDS)
                    };
                    let outcome = outer.run(Inner::new(reactor), turn, |_| ());
                    drop(told);
                    assert_eq!(rounds, ROUNDS);
                    drop(outcome);
                });
            });
        }
    }
}

#[test]
fn a_batch_that_is_not_begun_is_continued_in_any_loop() {
    for outer in LOOPS {
        before_the_deadline(move || {
            let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
            let (ours, _theirs) = ready_pair();
            let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
            let mut turns = 0;
            let turn = |inner: &mut Inner<'_>| {
                turns += 1;
                // Once for an event, and once for a source in the queue.
                if turns % 2 == 1 {
                    assert!(inner.worker.wait(Some(Duration::ZERO)).unwrap());
                    return if outer.is_edge() { Turn::Reported } else { Turn::Nothing };
                }
                let leases = inner.turn(1, |mut lease| {
                    if turns == 2 {
                        lease.revisit(Readiness::IN);
                    }
                });
                assert_eq!(leases, Some(1));
                outcome(leases, turns == 4)
            };
            let mut outcome = outer.run(Inner::new(&reactor), turn, |_| ());
            assert_quiet(&mut outcome.inner);
            assert!(reactor.contains(token));
        });
    }
}

#[test]
fn a_revisit_that_was_asked_for_before_anybody_watched_shows() {
    let (ours, _theirs) = ready_pair();
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    let mut inner = Inner::new(&reactor);
    assert_eq!(inner.turn(1, |mut lease| lease.revisit(Readiness::IN)), Some(1));
    assert!(is_readable(&inner));
    assert_eq!(inner.turn(1, |lease| drop(lease)), Some(1));
    assert_quiet(&mut inner);
}

#[test]
fn a_parked_source_leaves_the_descriptor_quiet() {
    for trigger in TRIGGERS {
        let (ours, theirs) = ready_pair();
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let mut inner = Inner::new(&reactor);
        let token = reactor.insert(ours, trigger(Interest::IN)).unwrap();
        assert!(is_readable(&inner));
        assert_eq!(inner.turn(1, |mut lease| lease.park().unwrap()), Some(1));
        assert_quiet(&mut inner);
        drop(theirs);
        assert!(!is_readable(&inner));
        assert!(reactor.unpark(token));
        assert!(is_readable(&inner));
        assert_eq!(inner.turn(1, |lease| lease.close()), Some(1));
        assert_quiet(&mut inner);
    }
}
