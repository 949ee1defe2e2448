//! Every peer echoes every byte: in odd pieces to a slow reader, to many clients, and after half of
//! the connection was closed.

use crate::foreign;
use crate::harness::{self, PATIENCE, Peer, byte, connect};
use rustix::net::sockopt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

const STREAM_LEN: usize = 4 * 1024 * 1024;

/// More than all buffers of a connection can hold.
const FULL_MAX: usize = 128 * 1024 * 1024;

/// Lengths of pieces, in turn: none divides another or the buffer.
const PIECES: [usize; 6] = [1, 997, 65_537, 7, 16_381, 120_011];

/// The size of the client's own socket buffers, which is small so that the peer has to wait. With much
/// less the kernel delays the answers that make room.
const SMALL: usize = 64 * 1024;

/// A connection is full if a write has made no progress for this long.
const FULL_AFTER: Duration = Duration::from_millis(300);

/// The tests of one peer, which is left out where `$start` starts none.
macro_rules! echoes {
    ($name:ident: $start:expr) => {
        mod $name {
            use super::*;

            fn with_peer(test: impl FnOnce(&Peer)) {
                let peer: Option<Peer> = $start;
                peer.as_ref().map(test);
            }

            #[test]
            fn echoes_odd_pieces_to_a_reader_that_lags() {
                with_peer(super::echoes_odd_pieces_to_a_reader_that_lags);
            }

            #[test]
            fn keeps_a_hundred_connections_apart() {
                with_peer(super::keeps_a_hundred_connections_apart);
            }

            #[test]
            fn echoes_what_came_before_the_end() {
                with_peer(super::echoes_what_came_before_the_end);
            }

            #[test]
            fn serves_others_beside_some_that_do_not_read() {
                with_peer(|peer| super::serves_others_beside_some_that_do_not_read(peer, 10));
            }

            #[test]
            fn goes_on_when_connections_are_reset() {
                with_peer(super::goes_on_when_connections_are_reset);
            }
        }
    };
}

macro_rules! each_peer {
    ($($name:ident: $program:literal $($flag:literal)*;)*) => {
        $(echoes!($name: Some(Peer::start(env!(concat!("CARGO_BIN_EXE_", $program)), &[$($flag),*])));)*
    };
}

/// Peers on io_uring, which a sandbox may forbid.
macro_rules! each_peer_on_io_uring {
    ($($name:ident: $program:literal;)*) => {
        $(echoes!($name: Peer::start_on_io_uring(env!(concat!("CARGO_BIN_EXE_", $program)), &[]));)*
    };
}

/// Peers in C and Go, whose compilers and libraries may be missing.
macro_rules! each_foreign_peer {
    ($($name:ident: $program:literal $($flag:literal)*;)*) => {
        $(echoes!($name: foreign::start($program, &[$($flag),*]));)*
    };
}

each_peer! {
    floor: "peer-floor";
    floor_with_two_threads: "peer-floor" "--threads" "2";
    floor_with_short_reads: "peer-floor" "--read-buffer" "1009";
    floor_with_long_reads: "peer-floor" "--read-buffer" "1048576";
    floor_with_splices: "peer-floor" "--splice";
    floor_with_splices_and_two_threads: "peer-floor" "--splice" "--threads" "2";
    floor_with_second_waits: "peer-floor" "--second-wait";
    floor_with_spins: "peer-floor" "--spin" "50";
    floor_with_splices_and_spins: "peer-floor" "--splice" "--spin" "50";
    mio: "peer-mio";
    polling: "peer-polling";
    calloop: "peer-calloop";
    tokio: "peer-tokio";
    tokio_with_two_threads: "peer-tokio" "--threads" "2";
    async_io: "peer-async-io";
    threads: "peer-threads";
}

each_peer_on_io_uring! {
    monoio: "peer-monoio";
    compio: "peer-compio";
}

each_foreign_peer! {
    libuv: "peer-libuv";
    libevent: "peer-libevent";
    bufferevent: "peer-bufferevent";
    libev: "peer-libev";
    uring: "peer-uring";
    uring_with_a_request_each: "peer-uring" "--one-shot";
    go: "peer-go";
    go_with_two_threads: "peer-go" "--threads" "2";
}

#[track_caller]
fn echoes_odd_pieces_to_a_reader_that_lags(peer: &Peer) {
    let stream = connect(peer.address());
    sockopt::set_socket_send_buffer_size(&stream, SMALL).unwrap();
    sockopt::set_socket_recv_buffer_size(&stream, SMALL).unwrap();
    stream.set_write_timeout(Some(FULL_AFTER)).unwrap();
    let (full, is_full) = mpsc::channel();
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_past_full(&stream, full));
        is_full.recv().expect("a connection that is full while no echo is read");
        let received = read_to_end(&stream);
        assert_eq!(received, writer.join().unwrap());
    });
}

/// Writes until the connection was full, `STREAM_LEN` bytes at least, and closes that half; how
/// many that were.
fn write_past_full(mut stream: &TcpStream, full: Sender<()>) -> usize {
    let (mut sent, mut full) = (0, Some(full));
    for len in PIECES.iter().cycle() {
        let piece: Vec<u8> = (sent..sent + len).map(|at| byte(0, at)).collect();
        let mut rest = &piece[..];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    full.take().map_or(Ok(()), |full| full.send(())).unwrap();
                }
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        sent += len;
        if (full.is_none() && sent >= STREAM_LEN) || sent >= FULL_MAX {
            break;
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    sent
}

/// Reads a stream to its end, in odd pieces; how long it was.
#[track_caller]
fn read_to_end(mut stream: &TcpStream) -> usize {
    let mut buffer = vec![0; 120_011];
    let mut received = 0;
    for piece in PIECES.iter().rev().cycle() {
        let len = stream.read(&mut buffer[..*piece]).unwrap();
        if len == 0 {
            break;
        }
        for (at, actual) in (received..).zip(&buffer[..len]) {
            assert_eq!(*actual, byte(0, at), "byte {at}");
        }
        received += len;
    }
    received
}

#[track_caller]
fn keeps_a_hundred_connections_apart(peer: &Peer) {
    const MESSAGE: usize = 1_500;
    let mut streams: Vec<_> = (0..100).map(|_| connect(peer.address())).collect();
    for round in 0..20 {
        let message = |number| -> Vec<u8> {
            (round * MESSAGE..(round + 1) * MESSAGE).map(|at| byte(number, at)).collect()
        };
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&message(number)).unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let mut echo = [0; MESSAGE];
            stream.read_exact(&mut echo).unwrap();
            assert!(echo[..] == message(number), "connection {number}, round {round}");
        }
    }
    // Each ends in its own way; those that are left stay served.
    for (number, mut stream) in streams.into_iter().enumerate() {
        if number % 2 == 0 {
            drop(stream);
        } else {
            stream.write_all(b"bye").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(io::read_to_string(stream).unwrap(), "bye");
        }
    }
}

#[track_caller]
fn echoes_what_came_before_the_end(peer: &Peer) {
    for len in [0, 1, 64, 65_536, 65_537, 131_072, 300_000] {
        let stream = connect(peer.address());
        thread::scope(|scope| {
            scope.spawn(|| {
                let bytes: Vec<u8> = (0..len).map(|at| byte(0, at)).collect();
                (&stream).write_all(&bytes).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
            assert_eq!(read_to_end(&stream), len);
        });
    }
}

/// Asserts that a client is served while `many` others do not read. For a peer that shares buffers these are more
/// than its buffers.
#[track_caller]
fn serves_others_beside_some_that_do_not_read(peer: &Peer, many: usize) {
    let mut reader = connect(peer.address());
    let full: Vec<_> = (0..many).map(|number| (number, connect(peer.address()))).collect();
    let lens: Vec<_> = full.iter().map(|(number, stream)| fill(*number, stream)).collect();
    for number in 0..20 {
        exchange(&mut reader, number);
    }
    for ((number, stream), len) in full.into_iter().zip(lens) {
        stream.shutdown(Shutdown::Write).unwrap();
        read_filled(number, &stream, len);
    }
}

/// Returns the block of bytes that a connection is filled with repeatedly.
fn block(number: usize) -> Vec<u8> {
    (0..SMALL).map(|at| byte(number, at)).collect()
}

/// Writes as many bytes as the connection takes at once, and returns their number.
#[track_caller]
fn fill(number: usize, mut stream: &TcpStream) -> usize {
    sockopt::set_socket_send_buffer_size(stream, SMALL).unwrap();
    sockopt::set_socket_recv_buffer_size(stream, SMALL).unwrap();
    stream.set_nonblocking(true).unwrap();
    let block = block(number);
    let mut sent = 0;
    // Time for the peer to take what it can: it is full when it takes nothing for so many looks.
    let mut pauses = 0;
    while sent < FULL_MAX && pauses < 3 {
        match stream.write(&block[sent % SMALL..]) {
            Ok(len) => (sent, pauses) = (sent + len, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                pauses += 1;
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

/// Reads the bytes that a connection was filled with, and its end.
#[track_caller]
fn read_filled(number: usize, mut stream: &TcpStream, len: usize) {
    let block = block(number);
    let mut buffer = vec![0; SMALL];
    let mut received = 0;
    loop {
        let start = received % SMALL;
        let count = stream.read(&mut buffer[start..]).unwrap();
        if count == 0 {
            break;
        }
        let end = start + count;
        assert!(
            buffer[start..end] == block[start..end],
            "connection {number}, from byte {received}"
        );
        received += count;
    }
    assert_eq!(received, len, "connection {number}");
}

#[track_caller]
fn exchange(stream: &mut TcpStream, number: usize) {
    let message: Vec<u8> = (0..1_000).map(|at| byte(number, at)).collect();
    stream.write_all(&message).unwrap();
    let mut echo = vec![0; message.len()];
    stream.read_exact(&mut echo).unwrap();
    assert!(echo == message, "exchange {number}");
}

#[track_caller]
fn goes_on_when_connections_are_reset(peer: &Peer) {
    let mut survivor = connect(peer.address());
    exchange(&mut survivor, 0);
    let before = peer.sockets();
    for number in 0..15 {
        let mut stream = connect(peer.address());
        match number % 3 {
            0 => {}
            1 => exchange(&mut stream, number),
            _ => drop(fill(number, &stream)),
        }
        // Without a time to linger in, closing resets.
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        drop(stream);
        exchange(&mut survivor, number);
    }
    let start = Instant::now();
    while peer.sockets() > before {
        assert!(start.elapsed() < PATIENCE, "{} sockets, {before} before", peer.sockets());
        exchange(&mut survivor, 0);
    }
}

#[test]
fn buffers_that_are_shared_are_not_kept_by_those_that_do_not_read() {
    const BUFFERS: usize = 256;
    if let Some(peer) = foreign::start("peer-uring", &[]) {
        serves_others_beside_some_that_do_not_read(&peer, BUFFERS + 20);
    }
}

#[test]
fn a_flag_that_means_nothing_is_refused() {
    for (arguments, named) in [
        (&["--threads", "2"][..], "--threads 2"),
        (&["--threads", "none"], "--threads"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--lisen", "127.0.0.1:0"], "--lisen"),
        (&["--splice"], "--splice"),
    ] {
        let message = harness::refusal(env!("CARGO_BIN_EXE_peer-mio"), arguments);
        assert!(message.contains(named), "{message}");
    }
}
