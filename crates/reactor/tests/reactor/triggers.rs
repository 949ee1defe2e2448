//! Tests of the triggers: their reports, the moments of these, and their costs.

use crate::support::{assert_sleeps, drain, look, next, ready_pair, reports, seen, wait};
use epoll_reactor::net::{Address, ListenOptions, Listener, Stream};
use epoll_reactor::{
    ExclusiveInterest, ExclusiveWatch, Interest, Reactor, Readiness, Token, Watch,
};
use epoll_sys::EventFd;
use rustix::net::SendFlags;
use std::io::{Read, Write};
use std::net::TcpStream;

/// A source of each trigger in one reactor, and their peers, all in the same order.
struct Scene {
    reactor: Reactor<Stream>,
    tokens: Vec<Token>,
    peers: Vec<Stream>,
}

const NAMES: [&str; 6] =
    ["level", "edge", "oneshot", "edge oneshot", "exclusive", "exclusive edge"];
/// The number of sources that are not exclusive. They come first.
const SHARED: usize = 4;

impl Scene {
    fn new() -> Self {
        let mut reactor = Reactor::new().unwrap();
        let (mut tokens, mut peers) = (Vec::new(), Vec::new());
        let watches = [Watch::level, Watch::edge, Watch::oneshot, Watch::edge_oneshot];
        for watch in watches {
            let (ours, theirs) = Stream::pair().unwrap();
            tokens.push(reactor.insert(ours, watch(Interest::IN)).unwrap());
            peers.push(theirs);
        }
        for watch in [ExclusiveWatch::level, ExclusiveWatch::edge] {
            let (ours, theirs) = Stream::pair().unwrap();
            tokens.push(reactor.insert_exclusive(ours, watch(ExclusiveInterest::IN)).unwrap());
            peers.push(theirs);
        }
        Self { reactor, tokens, peers }
    }

    fn write(&mut self, bytes: &[u8]) {
        for peer in &mut self.peers {
            assert_eq!(peer.write(bytes).unwrap(), bytes.len());
        }
    }

    fn read(&mut self, len: usize) {
        for &token in &self.tokens {
            self.reactor[token].read_exact(&mut vec![0; len]).unwrap();
        }
    }

    /// Asks for the interest that is in force already, where that is possible.
    fn set_same_interest(&mut self) {
        for &token in &self.tokens[..SHARED] {
            self.reactor.set_interest(token, Interest::IN).unwrap();
        }
    }

    /// Asserts that a turn reports these sources and no others, and each once.
    #[track_caller]
    fn assert_reports<const N: usize>(&mut self, names: [&str; N]) {
        let mut reported = seen(&mut self.reactor);
        reported.sort_unstable();
        let mut expected =
            names.map(|name| self.tokens[NAMES.iter().position(|&other| other == name).unwrap()]);
        expected.sort_unstable();
        assert_eq!(reported, expected, "of {names:?} in {:?}", self.tokens);
    }
}

#[test]
fn each_source_of_a_reactor_has_its_own_trigger() {
    let mut scene = Scene::new();
    scene.assert_reports([]);
    scene.write(b"four");
    scene.assert_reports(NAMES);
    // Nothing was read at all, then a part.
    scene.assert_reports(["level", "exclusive"]);
    scene.read(2);
    scene.assert_reports(["level", "exclusive"]);
    scene.write(b"more");
    scene.assert_reports(["level", "edge", "exclusive", "exclusive edge"]);
    scene.assert_reports(["level", "exclusive"]);
    scene.read(6);
    scene.assert_reports([]);
}

#[test]
fn a_oneshot_source_is_silent_until_it_is_armed_again() {
    let mut scene = Scene::new();
    scene.write(b"a");
    scene.assert_reports(NAMES);
    scene.read(1);
    // Readiness that comes while it is disarmed is not lost.
    scene.write(b"b");
    scene.assert_reports(["level", "edge", "exclusive", "exclusive edge"]);
    scene.set_same_interest();
    scene.assert_reports(["level", "oneshot", "edge oneshot", "exclusive"]);
    scene.assert_reports(["level", "exclusive"]);
    scene.read(1);
    scene.set_same_interest();
    scene.assert_reports([]);
}

#[test]
fn asking_for_the_same_interest_costs_a_call_only_where_it_arms_again() {
    let mut scene = Scene::new();
    scene.set_same_interest();
    assert_eq!(scene.reactor.counters().mods, 2);
    let mut mods = 2;
    for (index, cost) in [0, 0, 1, 1].into_iter().enumerate() {
        scene.reactor.set_interest(scene.tokens[index], Interest::IN).unwrap();
        mods += cost;
        assert_eq!(scene.reactor.counters().mods, mods, "{}", NAMES[index]);
    }
}

#[test]
fn asking_for_another_interest_costs_one_call_and_keeps_the_trigger() {
    let mut scene = Scene::new();
    for &token in &scene.tokens[..SHARED] {
        scene.reactor.set_interest(token, Interest::OUT).unwrap();
    }
    assert_eq!(scene.reactor.counters().mods, 4);
    scene.assert_reports(["level", "edge", "oneshot", "edge oneshot"]);
    scene.assert_reports(["level"]);
}

#[test]
fn the_interest_in_force_is_the_one_that_was_asked_for_last() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, Watch::level(Interest::IN)).unwrap();
    reactor.set_interest(token, Interest::OUT).unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::OUT)]);
    reactor.set_interest(token, Interest::IN).unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
    reactor.modify(token, Watch::edge(Interest::OUT)).unwrap();
    reactor.set_interest(token, Interest::OUT).unwrap();
    assert_eq!(reactor.counters().mods, 3);
    assert_eq!(look(&mut reactor), [(token, Readiness::OUT)]);
    assert_eq!(look(&mut reactor), []);
}

#[test]
fn a_source_that_is_ready_when_it_is_inserted_is_reported_whatever_the_trigger() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let mut peers = Vec::new();
    for watch in [Watch::level, Watch::edge, Watch::oneshot, Watch::edge_oneshot] {
        let (ours, theirs) = ready_pair();
        reactor.insert(ours, watch(Interest::IN)).unwrap();
        peers.push(theirs);
    }
    assert_eq!(wait(&mut reactor).len(), 4);
    assert_eq!(look(&mut reactor).len(), 1);
}

#[test]
fn modifying_reports_an_edge_anew() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let watch = Watch::edge(Interest::IN);
    let token = reactor.insert(ours, watch).unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
    assert_eq!(look(&mut reactor), []);
    reactor.modify(token, watch).unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
    assert_eq!(reactor.counters().mods, 1);
}

#[test]
fn readiness_that_was_not_fetched_vanishes_with_its_interest() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, mut theirs) = Stream::pair().unwrap();
    let token = reactor.insert(ours, Watch::edge(Interest::IN)).unwrap();
    theirs.write_all(b"w").unwrap();
    reactor.modify(token, Watch::edge(Interest::OUT)).unwrap();
    assert_eq!(look(&mut reactor), [(token, Readiness::OUT)]);
    reactor.set_interest(token, Interest::empty()).unwrap();
    assert_sleeps(&mut reactor);
}

#[test]
fn a_report_in_the_present_batch_survives_a_modification() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let tokens = [one, other].map(|ours| reactor.insert(ours, Watch::edge(Interest::IN)).unwrap());
    reactor.wait(None).unwrap();
    let (first, _) = next(&mut reactor).unwrap();
    let second = *tokens.iter().find(|&&token| token != first).unwrap();
    reactor.set_interest(second, Interest::empty()).unwrap();
    assert_eq!(reports(&mut reactor), [(second, Readiness::IN)]);
    assert_sleeps(&mut reactor);
}

#[test]
fn out_of_band_data_and_the_end_of_a_connection_come_through_raw() {
    let mut listener =
        Listener::bind(&"127.0.0.1:0".parse::<Address>().unwrap(), &ListenOptions::default())
            .unwrap();
    let client = TcpStream::connect(listener.address().inet().unwrap()).unwrap();
    let server = listener.accept_batch().next().unwrap().stream;
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let watch = Watch::level(Interest::IN | Interest::PRI | Interest::RDHUP);
    let token = reactor.insert(server, watch).unwrap();
    rustix::net::send(&client, b"!", SendFlags::OOB).unwrap();
    assert!(wait(&mut reactor)[0].1.contains(Readiness::PRI));

    // The reset that follows is reported although nobody can ask for it.
    reactor.set_interest(token, Interest::empty()).unwrap();
    epoll_sys::socket::set_linger(&client, Some(std::time::Duration::ZERO)).unwrap();
    epoll_kit_testing::close(client);
    let readiness = wait(&mut reactor)[0].1;
    assert!(readiness.contains(Readiness::ERR | Readiness::HUP), "{readiness:?}");
}

#[test]
fn a_peer_that_hangs_up_is_reported_for_an_empty_interest() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, theirs) = ready_pair();
    let token = reactor.insert(ours, Watch::level(Interest::empty())).unwrap();
    assert_sleeps(&mut reactor);
    epoll_kit_testing::close(theirs);
    let [(reported, readiness)] = look(&mut reactor)[..] else { panic!("one report") };
    assert_eq!(reported, token);
    assert!(readiness.contains(Readiness::HUP) && !readiness.intersects(Readiness::IN));
    assert_eq!(drain(&reactor[token]), b"w");
}

#[test]
fn a_half_closed_peer_is_readable_with_the_interest_in_it() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, theirs) = ready_pair();
    reactor.insert(ours, Watch::level(Interest::IN | Interest::RDHUP)).unwrap();
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    let [(_, readiness)] = look(&mut reactor)[..] else { panic!("one report") };
    assert!(readiness.contains(Readiness::IN | Readiness::RDHUP));
    assert!(!readiness.intersects(Readiness::HUP));
}

#[test]
fn an_edge_of_a_counter_needs_no_read() {
    let mut reactor: Reactor<EventFd> = Reactor::new().unwrap();
    let token = reactor.insert(EventFd::new(0).unwrap(), Watch::edge(Interest::IN)).unwrap();
    for _ in 0..3 {
        reactor[token].write(1).unwrap();
        assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
        assert_eq!(look(&mut reactor), []);
    }
}
