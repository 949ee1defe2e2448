//! Every peer echoes every byte: in odd pieces to a slow reader, to many clients, and after half of
//! the connection was closed.

use crate::harness::{self, Peer, byte, connect};
use rustix::net::sockopt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

const STREAM_LEN: usize = 4 * 1024 * 1024;

/// More than all buffers of a connection can hold.
const FULL_MAX: usize = 128 * 1024 * 1024;

/// Lengths of pieces, in turn: none divides another or the buffer.
const PIECES: [usize; 6] = [1, 997, 65_537, 7, 16_381, 120_011];

/// What the client's own socket may hold, so that it is the peer that has to wait. With much less
/// the kernel delays the answers that make room.
const SMALL: usize = 64 * 1024;

/// When nothing of a write was taken for so long, the connection is full.
const FULL_AFTER: Duration = Duration::from_millis(300);

macro_rules! each_peer {
    ($($name:ident: $program:literal $($flag:literal)*;)*) => {
        $(mod $name {
            use super::*;

            fn peer() -> Peer {
                Peer::start(env!(concat!("CARGO_BIN_EXE_", $program)), &[$($flag),*])
            }

            #[test]
            fn echoes_odd_pieces_to_a_reader_that_lags() {
                super::echoes_odd_pieces_to_a_reader_that_lags(&peer());
            }

            #[test]
            fn keeps_a_hundred_connections_apart() {
                super::keeps_a_hundred_connections_apart(&peer());
            }

            #[test]
            fn echoes_what_came_before_the_end() {
                super::echoes_what_came_before_the_end(&peer());
            }
        })*
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
