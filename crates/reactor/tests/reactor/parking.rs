//! Parked sources: nothing is reported of them, whatever their peers do, until they are asked for
//! again; then what holds is.

use crate::support::{assert_sleeps, look, next, ready_pair, seen, wait};
use epoll_kit_testing::{assert_kind, eventually};
use epoll_reactor::net::Stream;
use epoll_reactor::{
    ExclusiveInterest, ExclusiveWatch, Interest, Reactor, Readiness, Registration, Token, Watch,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

const TRIGGERS: [fn(Interest) -> Watch; 4] =
    [Watch::level, Watch::edge, Watch::oneshot, Watch::edge_oneshot];

/// An action of a peer after it has sent a byte that nobody has read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Writes,
    ShutsDown,
    Closes,
    Resets,
}

pub(crate) const PEERS: [Peer; 4] = [Peer::Writes, Peer::ShutsDown, Peer::Closes, Peer::Resets];

pub(crate) fn tcp_pair() -> (Stream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = listener.accept().unwrap().0;
    (ours.try_into().unwrap(), theirs.try_into().unwrap())
}

/// Returns the stream if it is still open.
pub(crate) fn act(peer: Peer, mut stream: Stream) -> Option<Stream> {
    match peer {
        Peer::Writes => stream.write_all(b"x").unwrap(),
        Peer::ShutsDown => stream.shutdown(Shutdown::Write).unwrap(),
        Peer::Closes => return None,
        Peer::Resets => {
            stream.reset_on_close().unwrap();
            return None;
        }
    }
    Some(stream)
}

/// Returns the readiness that is reported of a source with this interest when it is armed again.
pub(crate) fn expected(peer: Peer) -> Readiness {
    match peer {
        Peer::Writes => Readiness::IN,
        Peer::ShutsDown | Peer::Closes => Readiness::IN | Readiness::RDHUP,
        Peer::Resets => Readiness::IN | Readiness::RDHUP | Readiness::HUP | Readiness::ERR,
    }
}

#[test]
fn nothing_is_reported_of_a_parked_source_whatever_its_peer_does() {
    for trigger in TRIGGERS {
        for peer in PEERS {
            for is_reported_first in [false, true] {
                let (ours, mut theirs) = tcp_pair();
                let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
                let watch = trigger(Interest::IN | Interest::RDHUP);
                let token = reactor.insert(ours, watch).unwrap();
                if is_reported_first {
                    theirs.write_all(b"x").unwrap();
                    assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
                }
                reactor.park(token).unwrap();
                let _open = act(peer, theirs);
                assert_sleeps(&mut reactor);
                let waits = reactor.counters().waits;
                assert_sleeps(&mut reactor);
                assert_eq!(reactor.counters().waits, waits + 1, "{watch:?} {peer:?}");

                reactor.unpark(token).unwrap();
                assert_eq!(wait(&mut reactor), [(token, expected(peer))], "{watch:?} {peer:?}");
            }
        }
    }
}

#[test]
fn parking_costs_a_call_unless_the_source_is_silent_already() {
    for trigger in TRIGGERS {
        let (ours, _theirs) = ready_pair();
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let token = reactor.insert(ours, trigger(Interest::IN)).unwrap();
        assert_eq!(seen(&mut reactor), [token]);
        reactor.park(token).unwrap();
        reactor.park(token).unwrap();
        let oneshot = u64::from(trigger(Interest::IN).is_oneshot());
        assert_eq!(reactor.counters().dels, 1 - oneshot);
        reactor.unpark(token).unwrap();
        reactor.unpark(token).unwrap();
        let counters = reactor.counters();
        // The waker and the source were added before.
        assert_eq!((counters.adds, counters.mods), (3 - oneshot, oneshot));
    }
}

#[test]
fn a_source_is_parked_by_its_handler_and_what_was_fetched_is_dropped() {
    for trigger in TRIGGERS {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let pairs = [ready_pair(), ready_pair(), ready_pair()];
        let (sources, _peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for source in sources {
            reactor.insert(source, trigger(Interest::IN)).unwrap();
        }
        reactor.wait(None).unwrap();
        let (first, _) = next(&mut reactor).unwrap();
        let others: Vec<Token> =
            reactor.iter().map(|(token, _)| token).filter(|&token| token != first).collect();
        // Itself, with a revisit that it asked for before, and another one of the same batch.
        assert!(reactor.revisit(first, Readiness::IN));
        reactor.entry(first).unwrap().park().unwrap();
        reactor.park(others[0]).unwrap();
        let rest = look(&mut reactor);
        assert!(rest.iter().all(|&(token, _)| token == others[1]), "{rest:?}");
        assert!(!rest.is_empty());
    }
}

#[test]
fn what_ends_the_silence_of_a_source_looks_at_it_anew() {
    for trigger in TRIGGERS {
        type Ask = fn(&mut Reactor<Stream>, Token);
        let asks: [Ask; 4] = [
            |reactor, token| reactor.unpark(token).unwrap(),
            |reactor, token| reactor.set_interest(token, Interest::IN).unwrap(),
            |reactor, token| reactor.modify(token, Watch::edge(Interest::IN)).unwrap(),
            |reactor, token| {
                reactor.entry(token).unwrap().set_interest(Interest::IN).unwrap();
            },
        ];
        for ask in asks {
            let (ours, _theirs) = ready_pair();
            let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
            let token = reactor.insert(ours, trigger(Interest::IN)).unwrap();
            reactor.park(token).unwrap();
            assert_sleeps(&mut reactor);
            ask(&mut reactor, token);
            assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
        }
    }
}

#[test]
fn an_edge_that_came_while_its_source_was_parked_is_not_lost() {
    let (ours, mut theirs) = Stream::pair().unwrap();
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    theirs.write_all(b"x").unwrap();
    reactor.wait(None).unwrap();
    // The event is in the batch.
    reactor.park(token).unwrap();
    assert_eq!(next(&mut reactor), None);
    reactor.unpark(token).unwrap();
    assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
}

#[test]
fn a_revisit_of_a_parked_source_is_told_once_and_the_source_stays_parked() {
    let (ours, _theirs) = ready_pair();
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let token = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    reactor.park(token).unwrap();
    assert!(reactor.revisit(token, Readiness::OUT));
    assert_eq!(look(&mut reactor), [(token, Readiness::OUT)]);
    assert_sleeps(&mut reactor);
}

#[test]
fn parking_a_parked_source_keeps_the_revisit_that_was_asked_for_meanwhile() {
    let (ours, _theirs) = ready_pair();
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    assert!(!reactor.is_parked(token));
    reactor.park(token).unwrap();
    assert!(reactor.is_parked(token));
    assert!(reactor.revisit(token, Readiness::IN));
    reactor.park(token).unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
    reactor.entry(token).unwrap().unpark().unwrap();
    assert!(!reactor.is_parked(token));
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
}

#[test]
fn a_parked_source_is_removed_and_closed_like_any_other() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, theirs) = ready_pair();
    let token = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    reactor.park(token).unwrap();
    let dels = reactor.counters().dels;
    let source = reactor.remove(token).unwrap();
    assert_eq!(reactor.counters().dels, dels, "there was no entry to delete");
    let token = reactor.insert(source, Watch::level(Interest::IN)).unwrap();
    reactor.park(token).unwrap();
    assert!(reactor.close(token));
    eventually("the peer hears of it", || !matches!((&theirs).read(&mut [0]), Ok(1)));
    assert_kind(reactor.park(token), ErrorKind::NotFound);
    assert_kind(reactor.unpark(token), ErrorKind::NotFound);
}

#[test]
fn a_watched_descriptor_can_be_parked() {
    let (ours, theirs) = ready_pair();
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    type Begin = fn(&mut Reactor<Stream, char>, &Stream) -> Token;
    let watches: [Begin; 2] = [
        |reactor, it| reactor.watch(it, 'w', Watch::level(Interest::IN)).unwrap(),
        |reactor, it| {
            let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
            reactor.watch_exclusive(it, 'e', watch).unwrap()
        },
    ];
    for watch in watches {
        let token = watch(&mut reactor, &ours);
        assert_kind(reactor.park(token), ErrorKind::NotFound);
        assert_kind(reactor.park_watched(token, &theirs), ErrorKind::NotFound);
        reactor.park_watched(token, &ours).unwrap();
        assert_sleeps(&mut reactor);
        assert_kind(reactor.unpark_watched(token, &theirs), ErrorKind::NotFound);
        reactor.unpark_watched(token, &ours).unwrap();
        assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
        reactor.park_watched(token, &ours).unwrap();
        reactor.unwatch(token, &ours).unwrap();
        assert!(reactor.is_empty());
    }
    // Parked, it can be watched another way as well.
    let token = watches[0](&mut reactor, &ours);
    reactor.park_watched(token, ours.as_fd()).unwrap();
    reactor.modify_watched(token, &ours, Watch::edge(Interest::OUT)).unwrap();
    assert_eq!(wait(&mut reactor), [(token, Readiness::OUT)]);
}

#[test]
fn the_interest_that_it_has_costs_a_call_only_for_a_source_that_is_silent() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    // A revisit makes no difference.
    reactor.revisit(token, Readiness::IN);
    reactor.set_interest(token, Interest::IN).unwrap();
    assert_eq!(reactor.counters().mods, 0);
    reactor.park(token).unwrap();
    reactor.set_interest(token, Interest::IN).unwrap();
    assert_eq!((reactor.counters().mods, reactor.counters().adds), (0, 3));
}

#[test]
fn a_oneshot_source_that_was_armed_again_in_its_batch_is_silenced() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let one = reactor.insert(one, Watch::oneshot(Interest::IN)).unwrap();
    let other = reactor.insert(other, Watch::oneshot(Interest::IN)).unwrap();
    reactor.wait(None).unwrap();
    let (first, _) = next(&mut reactor).unwrap();
    let second = if first == one { other } else { one };
    reactor.modify(second, Watch::oneshot(Interest::IN)).unwrap();
    assert_eq!(next(&mut reactor), Some((second, Readiness::IN)));
    reactor.park(second).unwrap();
    assert_eq!(reactor.counters().dels, 1);
    assert_sleeps(&mut reactor);
    reactor.unpark(second).unwrap();
    assert_eq!(wait(&mut reactor), [(second, Readiness::IN)]);
}

#[test]
fn a_revisit_that_a_park_has_dropped_does_not_come_twice() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    for _ in 0..3 {
        assert!(reactor.revisit(token, Readiness::IN));
        reactor.park(token).unwrap();
        reactor.unpark(token).unwrap();
    }
    assert!(reactor.revisit(token, Readiness::IN));
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
    assert_sleeps(&mut reactor);
    assert!(reactor.revisit(token, Readiness::OUT));
    assert_eq!(look(&mut reactor), [(token, Readiness::OUT)]);
}

#[test]
fn an_entry_that_is_gone_already_is_no_obstacle_to_parking() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    // As a forked child does that shares the instance.
    reactor.epoll().delete(&reactor[token]).unwrap();
    reactor.park(token).unwrap();
    assert!(reactor.is_parked(token));
    reactor.unpark(token).unwrap();
    assert_eq!(seen(&mut reactor), [token]);
}

#[test]
fn a_source_that_the_kernel_cannot_silence_is_not_parked() {
    let mut reactor: Reactor<OwnedFd> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours.into(), Watch::level(Interest::IN)).unwrap();
    let file = tempfile::tempfile().unwrap();
    let stream = std::mem::replace(&mut reactor[token], file.into());
    assert_kind(reactor.park(token), ErrorKind::PermissionDenied);
    assert!(!reactor.is_parked(token));
    reactor[token] = stream;
    assert_eq!(seen(&mut reactor), [token]);
}
