//! The reports of particular sources: duplicated descriptors, pipes whose other end is gone, resets,
//! half-closed streams, out-of-band data, and counters that nobody reads.

use crate::support::{await_readiness, look, tcp_listener, tcp_pair, wait};
use epoll_kit_testing::{close, eventually};
use epoll_sys::{Epoll, EventFd, Expiry, Interest, Readiness, TimerFd, Watch, socket};
use rustix::net::SendFlags;
use rustix::pipe::PipeFlags;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

const READABLE: Watch = Watch::level(Interest::IN);

#[track_caller]
fn only_readiness(epoll: &Epoll) -> Readiness {
    let events = wait(epoll);
    assert_eq!(events.len(), 1, "{events:?}");
    events[0].readiness
}

/// Waits until one report of the only source has all of `readiness`.
#[track_caller]
fn await_report(epoll: &Epoll, readiness: Readiness) {
    eventually("the report", || only_readiness(epoll).contains(readiness));
}

/// A pipe that closes on exec: the processes that other tests start must not keep an end open.
fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap()
}

#[test]
fn a_duplicate_keeps_a_closed_descriptor_reporting() {
    let epoll = Epoll::new().unwrap();
    let (ours, theirs) = socket::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    let number = ours.as_raw_fd();
    epoll.add(&ours, 7, READABLE).unwrap();
    close(ours);

    socket::send(&theirs, b"a").unwrap();
    assert_eq!(look(&epoll)[0].data, 7);
    assert_eq!(epoll.interest_list().unwrap()[0].fd, number);
    // The duplicate is another number, so it cannot stand in for the closed one.
    let error = epoll.delete(&duplicate).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);

    close(duplicate);
    assert!(look(&epoll).is_empty());
    assert!(epoll.interest_list().unwrap().is_empty());
}

#[test]
fn two_duplicates_are_two_entries_and_both_report() {
    let epoll = Epoll::new().unwrap();
    let (ours, theirs) = socket::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    epoll.add(&ours, 1, Watch::edge(Interest::IN)).unwrap();
    epoll.add(&duplicate, 2, Watch::edge(Interest::IN)).unwrap();
    socket::send(&theirs, b"a").unwrap();
    let mut data: Vec<_> = look(&epoll).iter().map(|event| event.data).collect();
    data.sort_unstable();
    assert_eq!(data, [1, 2]);
}

#[test]
fn a_batch_keeps_the_event_of_a_source_that_is_closed_after_the_wait() {
    let epoll = Epoll::new().unwrap();
    let sources = [EventFd::new(1).unwrap(), EventFd::new(1).unwrap()];
    for (data, source) in (0..).zip(&sources) {
        epoll.add(source, data, READABLE).unwrap();
    }
    let batch = look(&epoll);
    epoll.delete(&sources[1]).unwrap();
    close(sources);
    assert_eq!(batch.len(), 2);
    assert!(look(&epoll).is_empty());
}

#[test]
fn hang_up_and_error_are_reported_for_an_empty_interest_again_and_again() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = pipe();
    let (ours, theirs) = socket::pair().unwrap();
    epoll.add(&writer, 1, Watch::level(Interest::empty())).unwrap();
    epoll.add(&ours, 2, Watch::level(Interest::empty())).unwrap();
    assert!(look(&epoll).is_empty());

    close((reader, theirs));
    for _ in 0..3 {
        let mut events = look(&epoll);
        events.sort_unstable_by_key(|event| event.data);
        let readiness: Vec<_> = events.iter().map(|event| event.readiness).collect();
        assert_eq!(readiness, [Readiness::ERR, Readiness::HUP]);
    }
}

#[test]
fn a_half_closed_peer_is_reported_by_level_for_as_long_as_rdhup_is_watched() {
    let epoll = Epoll::new().unwrap();
    let (ours, theirs) = tcp_pair();
    epoll.add(&ours, 0, Watch::level(Interest::RDHUP)).unwrap();
    assert!(look(&epoll).is_empty());

    socket::shutdown(&theirs, Shutdown::Write).unwrap();
    for _ in 0..3 {
        assert_eq!(only_readiness(&epoll), Readiness::RDHUP);
    }
    epoll.modify(&ours, 0, Watch::level(Interest::empty())).unwrap();
    assert!(look(&epoll).is_empty());
}

#[test]
fn the_receiver_of_a_pipe_hangs_up_when_the_sender_is_gone() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = pipe();
    epoll.add(&reader, 0, READABLE).unwrap();
    rustix::io::write(&writer, b"a").unwrap();
    close(writer);
    assert_eq!(only_readiness(&epoll), Readiness::IN | Readiness::HUP);
    rustix::io::read(&reader, &mut [0; 8]).unwrap();
    assert_eq!(only_readiness(&epoll), Readiness::HUP);
}

#[test]
fn the_sender_of_a_pipe_has_an_error_when_the_receiver_is_gone() {
    let epoll = Epoll::new().unwrap();
    let (reader, writer) = pipe();
    epoll.add(&writer, 0, Watch::level(Interest::OUT)).unwrap();
    close(reader);
    assert_eq!(only_readiness(&epoll), Readiness::OUT | Readiness::ERR);
}

#[test]
fn a_reset_is_hang_up_and_error_in_one() {
    let epoll = Epoll::new().unwrap();
    let (ours, theirs) = tcp_pair();
    epoll.add(&ours, 0, Watch::level(Interest::IN | Interest::RDHUP)).unwrap();
    socket::set_linger(&theirs, Some(Duration::ZERO)).unwrap();
    close(theirs);
    await_report(&epoll, Readiness::RDHUP | Readiness::HUP | Readiness::ERR);
    let error = socket::take_error(&ours).unwrap().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(socket::take_error(&ours).unwrap().is_none());
}

#[test]
fn an_out_of_band_byte_is_reported_as_urgent() {
    let epoll = Epoll::new().unwrap();
    let (ours, theirs) = tcp_pair();
    epoll.add(&ours, 0, Watch::level(Interest::PRI)).unwrap();
    socket::send(&theirs, b"in band").unwrap();
    await_readiness(&ours, Interest::IN);
    assert!(look(&epoll).is_empty());

    rustix::net::send(&theirs, b"!", SendFlags::OOB).unwrap();
    assert_eq!(only_readiness(&epoll), Readiness::PRI);
}

#[test]
fn a_full_socket_is_writable_again_once_the_peer_has_read() {
    let epoll = Epoll::new().unwrap();
    let (ours, theirs) = socket::pair().unwrap();
    fill(&ours);
    epoll.add(&ours, 0, Watch::edge(Interest::OUT)).unwrap();
    assert!(look(&epoll).is_empty());
    let mut buffer = vec![0; 1 << 16];
    while socket::recv(&theirs, &mut buffer).is_ok() {}
    assert_eq!(only_readiness(&epoll), Readiness::OUT);
}

/// Writes until the socket takes no more.
fn fill(socket: &OwnedFd) {
    let chunk = vec![0; 1 << 16];
    while socket::send(socket, &chunk).is_ok() {}
}

#[test]
fn a_counter_that_nobody_reads_is_an_edge_at_every_write() {
    let (epoll, counter) = (Epoll::new().unwrap(), EventFd::new(0).unwrap());
    epoll.add(&counter, 0, Watch::edge(Interest::IN)).unwrap();
    for _ in 0..100 {
        assert!(look(&epoll).is_empty());
        counter.write(1).unwrap();
        assert_eq!(look(&epoll).len(), 1);
    }
    assert_eq!(counter.read().unwrap(), 100);
}

#[test]
fn a_timer_that_nobody_reads_is_an_edge_at_every_expiry() {
    let (epoll, timer) = (Epoll::new().unwrap(), TimerFd::new().unwrap());
    epoll.add(&timer, 0, Watch::edge(Interest::IN)).unwrap();
    for _ in 0..100 {
        timer.set(Expiry::After(Duration::from_micros(50))).unwrap();
        assert_eq!(only_readiness(&epoll), Readiness::IN);
        assert!(look(&epoll).is_empty());
    }
}

#[test]
fn a_listener_is_ready_when_a_connection_waits() {
    let epoll = Epoll::new().unwrap();
    let (listener, address) = tcp_listener();
    epoll.add(&listener, 0, READABLE).unwrap();
    assert!(look(&epoll).is_empty());
    let _client = std::net::TcpStream::connect(address).unwrap();
    assert_eq!(only_readiness(&epoll), Readiness::IN);
    socket::accept(&listener).unwrap();
    assert!(look(&epoll).is_empty());
}

#[test]
fn an_instance_that_became_a_plain_descriptor_reports_what_it_watches() {
    let (inner, outer, ready) =
        (Epoll::new().unwrap(), Epoll::new().unwrap(), EventFd::new(1).unwrap());
    inner.add(&ready, 0, READABLE).unwrap();
    let inner = OwnedFd::from(inner);
    outer.add(&inner, 0, READABLE).unwrap();
    assert_eq!(only_readiness(&outer), Readiness::IN);
}
