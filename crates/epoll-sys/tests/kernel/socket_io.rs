//! Tests of the calls that read and write sockets: bytes that stay, several buffers, and datagrams. Calls for
//! many datagrams are tested in `batches`.

use crate::support::{await_readiness, on_own_thread};
use epoll_kit_testing::{assert_kind, before_the_deadline, close};
use epoll_sys::socket::{self, Address, Family, Received, SendBatch};
use epoll_sys::{Interest, Signal, SignalSet};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

fn received(len: usize, is_truncated: bool) -> Received {
    Received { len, is_truncated }
}

/// A UDP socket of this machine, and its address.
fn udp() -> (OwnedFd, Address) {
    let socket = socket::datagram(Family::Inet).unwrap();
    socket::bind(&socket, "127.0.0.1:0".parse::<Address>().unwrap()).unwrap();
    let address = socket::local_address(&socket).unwrap();
    (socket, address)
}

#[test]
fn bytes_that_were_peeked_at_are_there_to_be_read() {
    let (ours, theirs) = socket::pair().unwrap();
    let mut buffer = [0; 8];
    assert_kind(socket::peek(&ours, &mut buffer), ErrorKind::WouldBlock);
    socket::send(&theirs, b"hello").unwrap();
    for _ in 0..2 {
        assert_eq!(socket::peek(&ours, &mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        buffer.fill(0);
    }
    assert_eq!(socket::recv(&ours, &mut buffer).unwrap(), 5);
    drop(theirs);
    assert_eq!(socket::peek(&ours, &mut buffer).unwrap(), 0);
}

#[test]
fn buffers_are_filled_one_after_another() {
    let (ours, theirs) = socket::pair().unwrap();
    let (mut head, mut rest) = ([0; 2], [0; 8]);
    let mut buffers = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut rest)];
    assert_kind(socket::recv_vectored(&ours, &mut buffers), ErrorKind::WouldBlock);
    socket::send(&theirs, b"hello").unwrap();
    assert_eq!(socket::recv_vectored(&ours, &mut buffers).unwrap(), 5);
    assert_eq!((&head, &rest), (b"he", b"llo\0\0\0\0\0"));
}

#[test]
fn buffers_are_sent_one_after_another() {
    let (ours, theirs) = socket::pair().unwrap();
    let buffers = [IoSlice::new(b"he"), IoSlice::new(b""), IoSlice::new(b"llo")];
    assert_eq!(socket::send_vectored(&ours, &buffers).unwrap(), 5);
    let mut buffer = [0; 8];
    assert_eq!(socket::recv(&theirs, &mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
}

#[test]
fn of_too_many_buffers_the_first_1024_are_used() {
    let (ours, theirs) = socket::pair().unwrap();
    let buffers = [IoSlice::new(b"a"); 1025];
    assert_eq!(socket::send_vectored(&ours, &buffers).unwrap(), 1024);
    socket::send(&ours, b"b").unwrap();
    let mut bytes = [0; 1025];
    let mut buffers: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
    assert_eq!(socket::recv_vectored(&theirs, &mut buffers).unwrap(), 1024);
    assert_eq!(socket::unread(&theirs).unwrap(), 1);
}

type Recv = fn(&OwnedFd, &mut [u8]) -> io::Result<Received>;

#[test]
fn a_datagram_is_truncated_only_if_it_is_longer_than_the_buffer() {
    let (ours, theirs) = socket::datagram_pair().unwrap();
    let mut buffer = [0; 4];
    for (sent, expected) in [
        (&b"one"[..], received(3, false)),
        (b"four", received(4, false)),
        (b"longer", received(4, true)),
        (b"", received(0, false)),
    ] {
        let recv: Recv = |socket, buffer| socket::recv_datagram(socket, buffer);
        let recv_from: Recv = |socket, buffer| Ok(socket::recv_from(socket, buffer)?.0);
        for recv in [recv, recv_from] {
            assert_eq!(socket::send_datagram(&theirs, sent).unwrap(), sent.len());
            assert_eq!(recv(&ours, &mut buffer).unwrap(), expected);
            assert_eq!(buffer[..expected.len], sent[..expected.len]);
            assert_kind(recv(&ours, &mut buffer), ErrorKind::WouldBlock);
        }
    }
}

#[test]
fn a_datagram_goes_to_the_address_that_it_is_sent_to() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| {
        let address = Address::unix(folder.path().join(name)).unwrap();
        let socket = socket::datagram(Family::Unix).unwrap();
        socket::bind(&socket, address).unwrap();
        (socket, address)
    });
    for ((ours, from), (theirs, to)) in [(udp(), udp()), (ours, theirs)] {
        assert_eq!(socket::send_to(&ours, b"hello", to).unwrap(), 5);
        await_readiness(&theirs, Interest::IN);
        let mut buffer = [0; 8];
        let datagram = socket::recv_from(&theirs, &mut buffer).unwrap();
        assert_eq!(datagram, (received(5, false), from));
        assert_eq!(&buffer[..5], b"hello");
    }
}

#[test]
fn a_batch_does_not_wait_although_its_socket_would() {
    before_the_deadline(|| {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let mut waiting = SendBatch::new(64, 1);
        let full = loop {
            while waiting.push(b"a", None) {}
            match waiting.send(&ours) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);

        let mut batch = socket::RecvBatch::new(64, 1);
        let empty = loop {
            match batch.recv(&theirs) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(empty.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_batch_that_nobody_reads_is_a_broken_pipe_without_a_signal() {
    on_own_thread(|| {
        // A blocked signal stays pending even where the process ignores it, as Rust's do.
        let _guard = SignalSet::from_iter([Signal::PIPE]).block().unwrap();
        let (ours, theirs) = socket::pair().unwrap();
        close(theirs);
        let mut waiting = SendBatch::new(1, 1);
        assert!(waiting.push(b"a", None));
        assert_kind(waiting.send(&ours), ErrorKind::BrokenPipe);
        assert!(!SignalSet::pending().unwrap().contains(Signal::PIPE));
    });
}
