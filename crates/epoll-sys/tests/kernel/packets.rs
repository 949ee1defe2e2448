//! Packets with descriptors: what arrives, and every documented error.

use epoll_kit_testing::{assert_errno, assert_kind};
use epoll_sys::EventFd;
use epoll_sys::socket::{PACKET_DESCRIPTORS_MAX, packet_pair, recv_packet, send_packet};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use std::io::ErrorKind;
use std::os::fd::AsFd;

#[test]
fn packets_stay_apart_and_their_descriptors_close_on_exec() {
    let (ours, theirs) = packet_pair().unwrap();
    let counter = EventFd::new(7).unwrap();
    send_packet(&ours, b"one", &[counter.as_fd(), ours.as_fd()]).unwrap();
    send_packet(&ours, b"two", &[]).unwrap();
    drop(ours);
    let mut buffer = [0; 16];
    let (len, descriptors) = recv_packet(&theirs, &mut buffer).unwrap();
    assert_eq!((&buffer[..len], descriptors.len()), (&b"one"[..], 2));
    for descriptor in &descriptors {
        assert!(fcntl_getfd(descriptor).unwrap().contains(FdFlags::CLOEXEC));
    }
    let mut value = [0; 8];
    epoll_sys::read(&descriptors[0], &mut value).unwrap();
    assert_eq!(u64::from_ne_bytes(value), 7, "another description");
    let (len, none) = recv_packet(&theirs, &mut buffer).unwrap();
    assert_eq!((&buffer[..len], none.len()), (&b"two"[..], 0));
    // Our end is closed only now: a descriptor of it had been sent.
    assert_kind(recv_packet(&theirs, &mut buffer), ErrorKind::WouldBlock);
    drop(descriptors);
    assert_eq!(recv_packet(&theirs, &mut buffer).unwrap().0, 0);
    assert_kind(send_packet(&theirs, b"three", &[]), ErrorKind::BrokenPipe);
}

#[test]
fn a_packet_carries_253_descriptors_and_no_more() {
    let (ours, theirs) = packet_pair().unwrap();
    let counter = EventFd::new(0).unwrap();
    let many = vec![counter.as_fd(); PACKET_DESCRIPTORS_MAX + 1];
    assert_kind(send_packet(&ours, b"x", &many), ErrorKind::InvalidInput);
    send_packet(&ours, b"x", &many[1..]).unwrap();
    let (_, descriptors) = recv_packet(&theirs, &mut [0; 1]).unwrap();
    assert_eq!(descriptors.len(), PACKET_DESCRIPTORS_MAX);
}

#[test]
fn a_packet_that_is_too_long_for_its_reader_or_for_the_socket_is_an_error() {
    let (ours, theirs) = packet_pair().unwrap();
    send_packet(&ours, b"long", &[]).unwrap();
    assert_kind(recv_packet(&theirs, &mut [0; 3]), ErrorKind::InvalidData);
    assert_errno(send_packet(&ours, &vec![0; 64 << 20], &[]), Errno::MSGSIZE);
}

#[test]
fn a_full_socket_would_block_and_one_that_was_not_read_to_the_end_is_reset() {
    let (ours, theirs) = packet_pair().unwrap();
    let packet = [0; 1024];
    let full = (0..).find_map(|_| send_packet(&ours, &packet, &[]).err()).unwrap();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    drop(theirs);
    assert_kind(recv_packet(&ours, &mut [0; 1]), ErrorKind::ConnectionReset);
}
