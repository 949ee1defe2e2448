//! Batches of datagrams: what they take, what they keep, and in which order.

use crate::support::await_readiness;
use epoll_kit_testing::{assert_errno, assert_kind};
use epoll_sys::Interest;
use epoll_sys::socket::{self, Address, Family, RecvBatch, SendBatch};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

fn udp() -> (OwnedFd, Address) {
    let socket = socket::datagram(Family::Inet).unwrap();
    socket::bind(&socket, "127.0.0.1:0".parse::<Address>().unwrap()).unwrap();
    let address = socket::local_address(&socket).unwrap();
    (socket, address)
}

/// Takes `count` datagrams, which over loopback may arrive one by one.
#[track_caller]
fn receive(socket: &OwnedFd, count: usize) -> Vec<(Vec<u8>, Address, Option<usize>)> {
    let (mut batch, mut received) = (RecvBatch::new(count, 16), Vec::new());
    while received.len() < count {
        await_readiness(socket, Interest::IN);
        batch.recv(socket).unwrap();
        received.extend(
            batch
                .iter()
                .map(|datagram| (datagram.bytes.to_vec(), datagram.from, datagram.segment_len)),
        );
    }
    received
}

fn contents(batch: &RecvBatch) -> Vec<Vec<u8>> {
    batch.iter().map(|datagram| datagram.bytes.to_vec()).collect()
}

#[test]
fn a_batch_holds_what_the_last_call_took() {
    let (ours, theirs) = socket::datagram_pair().unwrap();
    let mut batch = RecvBatch::new(3, 4);
    assert_eq!((batch.len(), batch.is_empty()), (0, true));
    for bytes in [&b"one"[..], b"", b"longer", b"four"] {
        socket::send_datagram(&theirs, bytes).unwrap();
    }
    assert_eq!(batch.recv(&ours).unwrap(), 3);
    assert_eq!((batch.len(), batch.is_empty()), (3, false));
    assert_eq!(contents(&batch), [&b"one"[..], b"", b"long"]);
    let is_truncated: Vec<_> = batch.iter().map(|datagram| datagram.is_truncated).collect();
    assert_eq!(is_truncated, [false, false, true]);
    assert!(batch.get(3).is_none());
    assert_eq!(batch.recv(&ours).unwrap(), 1);
    assert_eq!(contents(&batch), [b"four"]);
    assert_kind(batch.recv(&ours), ErrorKind::WouldBlock);
    assert!(batch.is_empty() && batch.get(0).is_none());
}

#[test]
fn what_the_socket_does_not_take_waits_in_its_order() {
    let (ours, theirs) = socket::datagram_pair().unwrap();
    let mut waiting = SendBatch::new(400, 8);
    let mut expected = Vec::new();
    for number in 0..400_usize {
        let bytes = vec![u8::try_from(number % 251).unwrap(); number % 8];
        assert!(waiting.push(&bytes, None));
        expected.push(bytes);
    }
    assert!(!waiting.push(b"", None), "no buffer is free");
    let (mut received, mut batch) = (Vec::new(), RecvBatch::new(64, 8));
    let mut rounds = 0;
    while !waiting.is_empty() {
        let before = waiting.len();
        let sent = waiting.send(&ours).unwrap();
        assert_eq!(waiting.len(), before - sent);
        while batch.recv(&theirs).is_ok() {
            received.extend(contents(&batch));
        }
        rounds += 1;
    }
    assert!(rounds > 1, "the socket took all of them at once");
    assert_eq!(received, expected);
    assert!(waiting.push(b"again", None));
    assert!(!waiting.push(b"too long!", None));
    assert_eq!(waiting.len(), 1);
}

#[test]
fn a_datagram_at_fault_can_be_discarded() {
    let ((ours, from), (theirs, address)) = (udp(), udp());
    let mut waiting = SendBatch::new(2, 65_535);
    assert!(waiting.push(&[0; 65_535], Some(&address)));
    assert!(waiting.push(b"fits", Some(&address)));
    assert_errno(waiting.send(&ours), Errno::MSGSIZE);
    assert_eq!(waiting.len(), 2);
    waiting.discard_first();
    assert_eq!(waiting.send(&ours).unwrap(), 1);
    assert_eq!(receive(&theirs, 1), [(b"fits".to_vec(), from, None)]);
    assert!(waiting.push(b"more", Some(&address)));
    waiting.clear();
    assert_eq!(waiting.send(&ours).unwrap(), 0);
    waiting.discard_first();
    assert!(waiting.is_empty());
}

#[test]
fn the_kernel_cuts_segments_of_the_length_asked_for() {
    let ((ours, from), (theirs, address)) = (udp(), udp());
    let mut waiting = SendBatch::new(1, 16);
    assert!(waiting.push_segments(b"abcdefghij", 4, Some(&address)));
    assert_eq!(waiting.send(&ours).unwrap(), 1);
    let expected = [&b"abcd"[..], b"efgh", b"ij"].map(|bytes| (bytes.to_vec(), from, None));
    assert_eq!(receive(&theirs, 3), expected);
}
