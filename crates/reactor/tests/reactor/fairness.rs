//! Sources that give way and are revisited: nobody starves, nothing is lost, nothing comes twice.

use crate::support::{assert_sleeps, look, next, ready_pair, reports, seen, wait};
use epoll_kit_testing::{DEADLINE, before_the_deadline};
use epoll_reactor::net::Stream;
use epoll_reactor::{Interest, Reactor, Readiness, Registration, Token, Watch};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

const EDGE: Watch = Watch::edge(Interest::IN);

/// The most that a flood may send, so that a test which fails comes to an end.
const FLOOD_MAX: usize = 256 << 20;

/// A source that always has something to read, for as long as it lives.
fn flood() -> (Stream, thread::JoinHandle<usize>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let writer = thread::spawn(move || {
        let mut written = 0;
        while written < FLOOD_MAX {
            // The reader has gone.
            let Ok(len) = theirs.write(&[0; 16 << 10]) else { break };
            written += len;
        }
        written
    });
    (ours.try_into().unwrap(), writer)
}

#[test]
fn a_flood_that_never_ends_does_not_keep_its_neighbour_waiting() {
    const ROUNDS: usize = 200;
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (flooded, writer) = flood();
    let busy = reactor.insert(flooded, EDGE).unwrap();
    let (ours, mut theirs) = Stream::pair().unwrap();
    let neighbour = reactor.insert(ours, EDGE).unwrap();

    let (mut served, mut waiting_for) = (0, None);
    let mut buffer = [0; 512];
    while served < ROUNDS {
        reactor.wait(None).unwrap();
        waiting_for = waiting_for.map(|turns| turns + 1);
        while let Some((token, _)) = next(&mut reactor) {
            if token == neighbour {
                reactor[neighbour].read_exact(&mut [0]).unwrap();
                // The wait that follows the byte brings it.
                assert_eq!(waiting_for.take(), Some(1));
                served += 1;
                continue;
            }
            assert_eq!(token, busy);
            match reactor[busy].read(&mut buffer) {
                Ok(0) => panic!("the flood ended after {served} rounds"),
                Ok(_) => assert!(reactor.revisit(busy, Readiness::IN)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            if waiting_for.is_none() {
                theirs.write_all(b"n").unwrap();
                waiting_for = Some(0);
            }
        }
    }
    drop(reactor);
    assert!(writer.join().unwrap() < FLOOD_MAX);
}

#[test]
fn what_an_edge_left_behind_is_read_by_revisits() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, mut theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, EDGE).unwrap();
    let sent: Vec<u8> = (0..200).collect();
    theirs.write_all(&sent).unwrap();

    let (mut received, mut turns) = (Vec::new(), 0);
    while received.len() < sent.len() {
        assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
        let mut byte = [0];
        reactor[token].read_exact(&mut byte).unwrap();
        received.extend(byte);
        turns += 1;
        assert!(reactor.revisit(token, Readiness::IN));
    }
    assert_eq!((received, turns), (sent, 200));
    assert_eq!(reactor.counters().revisits, 199);
    assert_eq!(reactor.counters().waits, 200);
    assert_eq!(reactor.counters().events, 1);
}

#[test]
fn the_batch_comes_first_and_then_the_revisits_in_the_order_asked_for() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (silent, _keep): (Vec<_>, Vec<_>) = (0..3).map(|_| Stream::pair().unwrap()).unzip();
    let silent: Vec<Token> =
        silent.into_iter().map(|ours| reactor.insert(ours, EDGE).unwrap()).collect();
    let (ours, _theirs) = ready_pair();
    let ready = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    for &token in [silent[2], silent[0], silent[1]].iter() {
        assert!(reactor.revisit(token, Readiness::IN));
    }
    assert_eq!(seen(&mut reactor), [ready, silent[2], silent[0], silent[1]]);
    assert_eq!(seen(&mut reactor), [ready]);
}

#[test]
fn a_source_that_is_revisited_and_ready_is_reported_once_with_both() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, mut theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    assert!(reactor.revisit(token, Readiness::OUT));
    theirs.write_all(b"w").unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::IN | Readiness::OUT)]);
    // Once it was revisited, the kernel's word alone holds again.
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
    assert_eq!((reactor.counters().revisits, reactor.counters().events), (1, 2));
}

#[test]
fn an_edge_that_comes_before_the_revisit_is_not_lost() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, mut theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, EDGE).unwrap();
    for _ in 0..100 {
        theirs.write_all(b"w").unwrap();
        assert!(reactor.revisit(token, Readiness::PRI));
        assert_eq!(look(&mut reactor), [(token, Readiness::IN | Readiness::PRI)]);
        assert_eq!(look(&mut reactor), []);
    }
}

#[test]
fn a_source_that_is_to_be_revisited_is_not_reported_before() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let tokens = [one, other].map(|ours| reactor.insert(ours, EDGE).unwrap());
    reactor.wait(None).unwrap();
    let (first, _) = next(&mut reactor).unwrap();
    let second = *tokens.iter().find(|&&token| token != first).unwrap();
    // Its own report is in this batch and moves to the next turn.
    assert!(reactor.revisit(second, Readiness::OUT));
    assert_eq!(next(&mut reactor), None);
    assert_eq!(look(&mut reactor), [(second, Readiness::IN | Readiness::OUT)]);
    assert_sleeps(&mut reactor);
}

#[test]
fn asking_twice_is_asking_once() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, EDGE).unwrap();
    for readiness in [Readiness::IN, Readiness::IN, Readiness::PRI] {
        assert!(reactor.revisit(token, readiness));
    }
    assert_eq!(look(&mut reactor), [(token, Readiness::IN | Readiness::PRI)]);
    assert_sleeps(&mut reactor);
    assert_eq!(reactor.counters().revisits, 1);
}

#[test]
fn sources_that_ask_while_they_are_revisited_come_in_the_next_turn() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let (other, _other_peer) = Stream::pair().unwrap();
    let tokens = [ours, other].map(|stream| reactor.insert(stream, EDGE).unwrap());
    for token in tokens {
        assert!(reactor.revisit(token, Readiness::IN));
    }
    for turns in 1..=100 {
        reactor.wait(Some(DEADLINE)).unwrap();
        for token in tokens {
            assert_eq!(next(&mut reactor), Some((token, Readiness::IN)));
            assert!(reactor.revisit(token, Readiness::IN));
        }
        assert_eq!(next(&mut reactor), None);
        assert_eq!(reactor.counters().waits, turns);
    }
}

#[test]
fn a_source_that_was_removed_meanwhile_is_passed_over() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let pairs = [(); 3].map(|()| Stream::pair().unwrap());
    let (ours, _theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let tokens: Vec<Token> =
        ours.into_iter().map(|ours| reactor.insert(ours, EDGE).unwrap()).collect();
    for &token in &tokens {
        assert!(reactor.revisit(token, Readiness::IN));
    }
    let removed = reactor.remove(tokens[1]).unwrap();
    // What has its slot now asks for nothing.
    reactor.insert(removed, EDGE).unwrap();
    reactor.wait(None).unwrap();
    assert_eq!(next(&mut reactor), Some((tokens[0], Readiness::IN)));
    // And the one whose turn would be next is removed by the handler before.
    reactor.remove(tokens[2]).unwrap();
    assert_eq!(next(&mut reactor), None);
    assert_eq!(reactor.counters().revisits, 1);
    assert_sleeps(&mut reactor);
}

#[test]
fn the_wait_does_not_sleep_while_a_source_is_to_be_revisited() {
    let revisited = before_the_deadline(|| {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let (ours, _theirs) = Stream::pair().unwrap();
        let token = reactor.insert(ours, EDGE).unwrap();
        assert!(reactor.revisit(token, Readiness::IN));
        reactor.wait(None).unwrap();
        reports(&mut reactor) == [(token, Readiness::IN)]
    });
    assert!(revisited);
}

#[test]
fn a_source_in_hand_asks_for_a_revisit_of_itself() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, EDGE).unwrap();
    reactor.entry(token).unwrap().revisit(Readiness::IN);
    assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
}

#[test]
fn a_revisit_for_nothing_is_refused() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, EDGE).unwrap();
    assert!(!reactor.revisit(token, Readiness::empty()));
    assert_sleeps(&mut reactor);
    // Nor does it take anything back.
    assert!(reactor.revisit(token, Readiness::IN));
    assert!(!reactor.revisit(token, Readiness::empty()));
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
}

#[test]
fn whoever_makes_room_can_ask_for_another_source() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (waiting, _keep) = Stream::pair().unwrap();
    let (elsewhere, _keep_elsewhere) = Stream::pair().unwrap();
    let waiting = reactor.insert(waiting, EDGE).unwrap();
    let watched = reactor.watch(&elsewhere, 'w', EDGE).unwrap();
    assert!(reactor.revisit(watched, Readiness::OUT));
    assert_eq!(wait(&mut reactor), [(watched, Readiness::OUT)]);
    assert!(reactor.revisit(waiting, Readiness::IN));
    assert_eq!(wait(&mut reactor), [(waiting, Readiness::IN)]);
}

#[test]
fn a_wait_sleeps_when_what_was_to_be_revisited_is_gone() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, EDGE).unwrap();
    assert!(reactor.revisit(token, Readiness::IN));
    reactor.remove(token).unwrap();
    assert_sleeps(&mut reactor);
}
