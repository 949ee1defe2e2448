//! A reactor inside another loop: its descriptor is readable while it has something to report, whoever
//! watches it, and not when it has nothing.

mod accepted;
mod loops;
mod shared;
mod system_calls;

use crate::parking::tcp_pair;
use crate::support::{next, ready_pair, reports, seen};
use epoll_kit_testing::before_the_deadline;
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Readiness, Ready, Token, Watch};
use loops::{LOOPS, Turn, is_readable};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const TRIGGERS: [fn(Interest) -> Watch; 4] =
    [Watch::level, Watch::edge, Watch::oneshot, Watch::edge_oneshot];

/// Reads a byte if there is one.
#[track_caller]
fn read_byte(mut stream: &Stream) -> Option<u8> {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(len) => {
            assert_eq!(len, 1, "the peer is still there");
            Some(byte[0])
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            None
        }
    }
}

/// One turn that only looks, as a loop makes it when it reports the descriptor.
fn look(inner: &mut Reactor<Stream>) -> Vec<Token> {
    inner.wait(Some(Duration::ZERO)).unwrap();
    reports(inner).into_iter().map(|(token, _)| token).collect()
}

/// Asserts that a loop which watches it would sleep, and that there is nothing to miss.
#[track_caller]
fn assert_quiet(inner: &mut Reactor<Stream>) {
    assert!(!is_readable(inner), "it has nothing to report");
    assert_eq!(look(inner), []);
    assert!(!is_readable(inner));
}

#[test]
fn what_is_read_a_byte_a_turn_is_read_to_the_end_in_any_loop() {
    for outer in LOOPS {
        before_the_deadline(move || {
            let sent: Vec<u8> = (0..100).collect();
            let (ours, mut theirs) = Stream::pair().unwrap();
            let mut inner: Reactor<Stream> = Reactor::new().unwrap();
            let token = inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
            theirs.write_all(&sent).unwrap();

            let mut received = Vec::new();
            let turn = |inner: &mut Reactor<Stream>| {
                inner.wait(Some(Duration::ZERO)).unwrap();
                assert_eq!(next(inner), Some((token, Readiness::IN)));
                let byte = read_byte(&inner[token]);
                received.extend(byte);
                if byte.is_some() {
                    assert!(inner.revisit(token, Readiness::IN));
                }
                assert_eq!(next(inner), None);
                if byte.is_some() { Turn::Reported } else { Turn::Over }
            };
            let mut outcome = outer.run(inner, turn, |_| ());
            assert_eq!(received, sent, "{outer:?}");
            // A byte a turn, and one that finds nothing left.
            assert_eq!(outcome.turns, 101, "{outer:?}");
            let reports = if outer.is_edge() { 1 } else { 101 };
            assert_eq!(outcome.reports, reports, "{outer:?}");
            assert_quiet(&mut outcome.inner);
        });
    }
}

#[test]
fn a_batch_that_is_left_early_is_continued_in_any_loop() {
    const SOURCES: usize = 5;
    for outer in LOOPS {
        for trigger in TRIGGERS {
            before_the_deadline(move || {
                let mut inner: Reactor<Stream> = Reactor::new().unwrap();
                let (ours, _theirs): (Vec<_>, Vec<_>) = (0..SOURCES).map(|_| ready_pair()).unzip();
                for ours in ours {
                    inner.insert(ours, trigger(Interest::IN)).unwrap();
                }
                let mut left = SOURCES;
                let turn = |inner: &mut Reactor<Stream>| {
                    inner.wait(Some(Duration::ZERO)).unwrap();
                    match next(inner) {
                        Some((token, _)) => {
                            assert_eq!(read_byte(&inner[token]), Some(b'w'));
                            left -= 1;
                            Turn::Reported
                        }
                        None if left > 0 => panic!("{left} reports are lost"),
                        None => Turn::Over,
                    }
                };
                let mut outcome = outer.run(inner, turn, |_| ());
                assert_eq!(left, 0);
                // The last one finds that the batch is over, which nobody has told the reactor before.
                assert_eq!(outcome.turns, SOURCES + 1, "{outer:?}");
                assert_quiet(&mut outcome.inner);
            });
        }
    }
}

#[test]
fn a_batch_that_one_wait_does_not_take_is_continued_in_any_loop() {
    const SOURCES: usize = 9;
    for outer in LOOPS {
        for trigger in TRIGGERS {
            before_the_deadline(move || {
                let mut inner: Reactor<Stream> = Reactor::with_batch_max(2).unwrap();
                let (ours, _theirs): (Vec<_>, Vec<_>) = (0..SOURCES).map(|_| ready_pair()).unzip();
                for ours in ours {
                    inner.insert(ours, trigger(Interest::IN)).unwrap();
                }
                let mut left = SOURCES;
                let turn = |inner: &mut Reactor<Stream>| {
                    let tokens = look(inner);
                    for &token in &tokens {
                        assert_eq!(read_byte(&inner[token]), Some(b'w'));
                    }
                    left -= tokens.len();
                    if left == 0 { Turn::Over } else { Turn::Reported }
                };
                let mut outcome = outer.run(inner, turn, |_| ());
                // The signal that the reactor gives itself may take a place of a batch.
                assert!(outcome.turns <= SOURCES, "{outer:?}: {} turns", outcome.turns);
                assert_quiet(&mut outcome.inner);
            });
        }
    }
}

#[test]
fn a_source_that_is_inserted_ready_is_reported_in_any_loop() {
    const SOURCES: usize = 10;
    for outer in LOOPS {
        for trigger in TRIGGERS {
            before_the_deadline(move || {
                let mut inner: Reactor<Stream> = Reactor::new().unwrap();
                let mut peers = Vec::new();
                let mut insert = |inner: &mut Reactor<Stream>| {
                    let (ours, theirs) = ready_pair();
                    peers.push(theirs);
                    inner.insert(ours, trigger(Interest::IN)).unwrap();
                };
                insert(&mut inner);
                let mut seen = 0;
                let turn = |inner: &mut Reactor<Stream>| {
                    let tokens = look(inner);
                    for &token in &tokens {
                        assert_eq!(read_byte(&inner[token]), Some(b'w'));
                        seen += 1;
                        if seen < SOURCES {
                            insert(inner);
                        }
                    }
                    match tokens.len() {
                        _ if seen == SOURCES => Turn::Over,
                        0 => Turn::Nothing,
                        _ => Turn::Reported,
                    }
                };
                let mut outcome = outer.run(inner, turn, |_| ());
                assert_eq!(outcome.turns, SOURCES, "{outer:?}");
                assert_quiet(&mut outcome.inner);
            });
        }
    }
}

#[test]
fn a_source_that_is_inserted_between_turns_is_reported_in_any_loop() {
    const SOURCES: usize = 10;
    for outer in LOOPS {
        before_the_deadline(move || {
            let (mut peers, mut seen) = (Vec::new(), 0);
            let turn = |inner: &mut Reactor<Stream>| {
                let tokens = look(inner);
                for &token in &tokens {
                    assert_eq!(read_byte(&inner[token]), Some(b'w'));
                    seen += 1;
                }
                match tokens.len() {
                    _ if seen == SOURCES => Turn::Over,
                    0 => Turn::Nothing,
                    _ => Turn::Reported,
                }
            };
            let insert = |inner: &mut Reactor<Stream>| {
                let (ours, theirs) = ready_pair();
                peers.push(theirs);
                inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
            };
            let mut outcome = outer.run(Reactor::new().unwrap(), turn, insert);
            assert_eq!(outcome.reports, SOURCES, "{outer:?}");
            assert_quiet(&mut outcome.inner);
        });
    }
}

#[test]
fn a_wake_by_another_thread_is_told_in_any_loop() {
    const WAKES: usize = 20;
    for outer in LOOPS {
        before_the_deadline(move || {
            let inner: Reactor<Stream> = Reactor::new().unwrap();
            let waker = inner.waker();
            let (told, wait_for_told) = mpsc::channel();
            let waking = thread::spawn(move || {
                for () in wait_for_told {
                    waker.wake().unwrap();
                }
            });
            told.send(()).unwrap();
            let mut wakes = 0;
            let turn = |inner: &mut Reactor<Stream>| {
                inner.wait(Some(Duration::ZERO)).unwrap();
                let mut turn = Turn::Nothing;
                while let Some(ready) = inner.next_ready() {
                    assert!(matches!(ready, Ready::Woken), "{ready:?}");
                    wakes += 1;
                    turn = if wakes == WAKES { Turn::Over } else { Turn::Reported };
                    if wakes < WAKES {
                        told.send(()).unwrap();
                    }
                }
                turn
            };
            let mut outcome = outer.run(inner, turn, |_| ());
            drop(told);
            waking.join().unwrap();
            assert!(outcome.reports <= WAKES, "{outer:?}: {} reports", outcome.reports);
            assert_quiet(&mut outcome.inner);
            assert_eq!(outcome.inner.counters().wakes, WAKES as u64);
        });
    }
}

#[test]
fn a_revisit_that_is_asked_for_between_turns_is_told_in_any_loop() {
    const REVISITS: usize = 20;
    for outer in LOOPS {
        before_the_deadline(move || {
            let (ours, _theirs) = Stream::pair().unwrap();
            let mut inner: Reactor<Stream> = Reactor::new().unwrap();
            let token = inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
            let mut told = 0;
            let turn = |inner: &mut Reactor<Stream>| {
                let reported = look(inner).len();
                told += reported;
                match reported {
                    _ if told == REVISITS => Turn::Over,
                    0 => Turn::Nothing,
                    _ => Turn::Reported,
                }
            };
            let ask = |inner: &mut Reactor<Stream>| {
                assert!(!is_readable(inner));
                assert!(inner.revisit(token, Readiness::IN));
                assert!(is_readable(inner));
            };
            let mut outcome = outer.run(inner, turn, ask);
            assert_eq!(outcome.reports, REVISITS, "{outer:?}");
            assert_quiet(&mut outcome.inner);
        });
    }
}

#[test]
fn a_parked_source_is_not_readable_until_it_is_unparked_in_any_loop() {
    const ROUNDS: usize = 10;
    for outer in LOOPS {
        for trigger in TRIGGERS {
            before_the_deadline(move || {
                let (ours, theirs) = tcp_pair();
                let mut inner: Reactor<Stream> = Reactor::new().unwrap();
                let token = inner.insert(ours, trigger(Interest::IN | Interest::RDHUP)).unwrap();
                inner.park(token).unwrap();
                let (mut theirs, mut unparked, mut told) = (Some(theirs), 0, 0);
                let turn = |inner: &mut Reactor<Stream>| {
                    inner.wait(Some(Duration::ZERO)).unwrap();
                    let Some((reported, _)) = next(inner) else { return Turn::Nothing };
                    assert_eq!(reported, token);
                    told += 1;
                    // By its handler, which has asked for a revisit before.
                    assert!(inner.revisit(token, Readiness::IN));
                    inner.park(token).unwrap();
                    assert_eq!(next(inner), None);
                    if told == ROUNDS { Turn::Over } else { Turn::Reported }
                };
                let unpark = |inner: &mut Reactor<Stream>| {
                    // First it brings bytes, then its end, and nobody reads any of it.
                    match &mut theirs {
                        Some(peer) if unparked < ROUNDS / 2 => peer.write_all(b"x").unwrap(),
                        peer => drop(peer.take()),
                    }
                    assert!(!is_readable(inner), "it is parked");
                    inner.unpark(token).unwrap();
                    unparked += 1;
                };
                let mut outcome = outer.run(inner, turn, unpark);
                assert_eq!((outcome.reports, unparked), (ROUNDS, ROUNDS), "{outer:?}");
                assert_quiet(&mut outcome.inner);
            });
        }
    }
}

#[test]
fn two_reactors_deep_nothing_is_lost() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut innermost: Reactor<Stream> = Reactor::new().unwrap();
    let source = innermost.insert(ours, Watch::edge(Interest::IN)).unwrap();
    let mut middle: Reactor<Reactor<Stream>> = Reactor::new().unwrap();
    let nested = middle.insert(innermost, Watch::level(Interest::IN)).unwrap();
    assert!(!is_readable(&middle));
    theirs.write_all(&[b'x'; 10]).unwrap();
    for turn in 0..10 {
        assert!(is_readable(&middle), "turn {turn}");
        assert_eq!(seen(&mut middle), [nested]);
        assert_eq!(look(&mut middle[nested]), [source]);
        assert_eq!(read_byte(&middle[nested][source]), Some(b'x'));
        middle[nested].revisit(source, Readiness::IN);
    }
    assert_eq!(seen(&mut middle), [nested]);
    assert_eq!(look(&mut middle[nested]), [source]);
    assert_eq!(read_byte(&middle[nested][source]), None);
    assert!(!is_readable(&middle));
}

#[test]
fn a_reactor_is_readable_as_long_as_it_has_something_to_report() {
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    assert!(!is_readable(&inner));
    let (ours, mut theirs) = ready_pair();
    let token = inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
    assert!(is_readable(&inner));
    inner.wait(Some(Duration::ZERO)).unwrap();
    assert!(is_readable(&inner), "a report is left of the batch");
    assert_eq!(next(&mut inner), Some((token, Readiness::IN)));
    assert_eq!(next(&mut inner), None);
    assert!(!is_readable(&inner), "the edge was reported");

    inner.revisit(token, Readiness::IN);
    assert!(is_readable(&inner), "a revisit is due");
    inner.wait(Some(Duration::ZERO)).unwrap();
    assert!(is_readable(&inner), "it is still due");
    assert_eq!(next(&mut inner), Some((token, Readiness::IN)));
    inner.revisit(token, Readiness::IN);
    assert_eq!(next(&mut inner), None);
    assert!(is_readable(&inner), "it is due again");
    assert_eq!(look(&mut inner), [token]);
    assert_quiet(&mut inner);

    theirs.write_all(b"x").unwrap();
    assert_eq!(look(&mut inner), [token]);
    assert_quiet(&mut inner);

    inner.waker().wake().unwrap();
    assert!(is_readable(&inner));
    inner.wait(Some(Duration::ZERO)).unwrap();
    assert!(is_readable(&inner), "the wake is still to be told");
    assert!(matches!(inner.next_ready(), Some(Ready::Woken)));
    assert_eq!(next(&mut inner), None);
    assert_quiet(&mut inner);
}

#[test]
fn a_wake_outlasts_the_turn_in_which_it_comes() {
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    let waker = inner.waker();
    let (ours, _theirs) = ready_pair();
    let token = inner.insert(ours, Watch::level(Interest::IN)).unwrap();
    assert!(is_readable(&inner));
    for _ in 0..3 {
        inner.wait(Some(Duration::ZERO)).unwrap();
        // The kernel has been asked, so this wake is for the next turn.
        waker.wake().unwrap();
        assert_eq!(next(&mut inner), Some((token, Readiness::IN)));
        assert_eq!(next(&mut inner), None);
        // It is readable for the wake alone.
        inner.park(token).unwrap();
        assert!(is_readable(&inner));
        inner.wait(Some(Duration::ZERO)).unwrap();
        assert!(matches!(inner.next_ready(), Some(Ready::Woken)));
        assert_eq!(next(&mut inner), None);
        assert!(!is_readable(&inner));
        inner.unpark(token).unwrap();
    }
}

/// The descriptor may be asked for when the reactor is in the middle of something.
#[test]
fn a_descriptor_that_is_asked_for_late_shows_what_is_due() {
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs): (Vec<_>, Vec<_>) = (0..2).map(|_| ready_pair()).unzip();
    for ours in ours {
        inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
    }
    inner.wait(None).unwrap();
    let (first, _) = next(&mut inner).unwrap();
    assert!(is_readable(&inner), "a report is left");
    assert!(next(&mut inner).is_some());
    assert_eq!(next(&mut inner), None);
    // It may take an empty turn to find that nothing is left, and no more.
    assert_eq!(look(&mut inner), []);
    assert_quiet(&mut inner);

    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let token = inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
    assert_ne!(token, first);
    inner.revisit(token, Readiness::IN);
    assert!(is_readable(&inner), "a revisit is due");
    assert_eq!(look(&mut inner), [token]);
    assert_quiet(&mut inner);
}

#[test]
fn a_revisit_that_is_due_no_more_leaves_at_most_one_empty_turn() {
    type End = fn(&mut Reactor<Stream>, Token);
    let ends: [End; 3] = [
        |inner, token| assert!(inner.close(token)),
        |inner, token| drop(inner.remove(token)),
        |inner, token| inner.park(token).unwrap(),
    ];
    for end in ends {
        let mut inner: Reactor<Stream> = Reactor::new().unwrap();
        let (ours, _theirs) = Stream::pair().unwrap();
        let token = inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
        assert!(!is_readable(&inner));
        inner.revisit(token, Readiness::IN);
        end(&mut inner, token);
        assert_eq!(look(&mut inner), []);
        assert_quiet(&mut inner);
        // In a turn, where the end of the turn finds it.
        let (ours, _theirs) = ready_pair();
        let token = inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
        inner.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(next(&mut inner), Some((token, Readiness::IN)));
        inner.revisit(token, Readiness::IN);
        end(&mut inner, token);
        assert_eq!(next(&mut inner), None);
        assert_quiet(&mut inner);
    }
}

#[test]
fn the_rest_of_a_batch_that_was_closed_is_not_announced_for_ever() {
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    assert!(!is_readable(&inner));
    let (ours, _theirs): (Vec<_>, Vec<_>) = (0..3).map(|_| ready_pair()).unzip();
    let insert = |ours| inner.insert(ours, Watch::level(Interest::IN)).unwrap();
    let tokens: Vec<Token> = ours.into_iter().map(insert).collect();
    inner.wait(Some(Duration::ZERO)).unwrap();
    for token in tokens {
        inner.close(token);
    }
    assert_eq!(next(&mut inner), None);
    assert_eq!(inner.counters().stale, 3);
    assert_quiet(&mut inner);
}

#[test]
fn a_new_instance_shows_what_is_due_when_it_is_watched_again() {
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let token = inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
    let former = inner.as_fd().try_clone_to_owned().unwrap();
    inner.revisit(token, Readiness::IN);
    assert!(is_readable(&former));
    inner.rebuild().unwrap();
    // Nobody watches the new one yet, so it costs nothing; the next to ask is shown what is due.
    assert!(is_readable(&inner));
    assert_eq!(look(&mut inner), [token]);
    assert_quiet(&mut inner);
    inner.waker().wake().unwrap();
    assert!(is_readable(&inner));
}

/// A wait that sleeps is not ended by what the reactor signals to others.
#[test]
fn a_nested_reactor_that_waits_itself_sleeps() {
    const NAP: Duration = Duration::from_millis(20);
    let mut inner: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = inner.insert(ours, Watch::edge(Interest::IN)).unwrap();
    assert!(is_readable(&inner));
    inner.wait(None).unwrap();
    // Left without asking for the end of the batch, so the signal is still set.
    assert_eq!(next(&mut inner), Some((token, Readiness::IN)));
    let start = std::time::Instant::now();
    inner.wait(Some(NAP)).unwrap();
    assert_eq!(next(&mut inner), None);
    assert!(start.elapsed() >= NAP, "the wait did not sleep");
}
