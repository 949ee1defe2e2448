//! Long streams of random bytes, several at once or after one that broke, compared as they come back.

use crate::harness::{Launch, Mode, Server, alone, is_echoed};
use epoll_kit_testing::Random;
use rustix::net::SendFlags;
use rustix::net::sockopt::set_socket_linger;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

const CONNECTIONS: u64 = 8;
const STREAM_LEN: usize = 64 << 20;
const PIECE_LEN: usize = 256 << 10;

in_all_modes!(eight_streams_of_64_mib_come_back_identical);

fn eight_streams_of_64_mib_come_back_identical(mode: Mode) {
    let _alone = alone();
    let server = Server::start(mode);
    thread::scope(|scope| {
        for seed in 0..CONNECTIONS {
            let mut reader = server.client();
            let writer = reader.try_clone().unwrap();
            scope.spawn(move || send(seed, writer));
            scope.spawn(move || {
                pieces(seed, |piece| is_echoed(&mut reader, piece));
                crate::harness::ends(&mut reader);
            });
        }
    });
}

in_both_modes!(a_stream_comes_back_whatever_a_read_takes);

fn a_stream_comes_back_whatever_a_read_takes(mode: Mode) {
    let lens = ["1", "1000", "16384", "65537", "131072", "262144", "1048576"];
    for (read_len, splice) in lens.into_iter().flat_map(|len| [(len, "on"), (len, "off")]) {
        let launch = Launch::tcp(mode).flag("--read-buffer", read_len).flag("--splice", splice);
        let server = launch.start();
        // One byte at a time takes its time.
        let len = if read_len == "1" { 64 << 10 } else { 8 << 20 };
        let mut sent = vec![0; len];
        Random::seeded(1).fill(&mut sent);
        is_sent_and_echoed(&server, sent, |writer, sent| writer.write_all(sent).unwrap());
    }
}

in_all_modes!(urgent_bytes_come_back_among_those_of_a_stream);

fn urgent_bytes_come_back_among_those_of_a_stream(mode: Mode) {
    let server = Server::start(mode);
    let mut sent = vec![0; 16 * PIECE_LEN];
    Random::seeded(1).fill(&mut sent);
    is_sent_and_echoed(&server, sent, |writer, sent| {
        for piece in sent.chunks(PIECE_LEN) {
            let (bytes, urgent) = piece.split_at(PIECE_LEN - 1);
            writer.write_all(bytes).unwrap();
            // It takes one that has room for it alone.
            assert_eq!(rustix::net::send(&*writer, urgent, SendFlags::OOB), Ok(1));
        }
    });
}

/// Sends and reads at the same time, and compares.
#[track_caller]
fn is_sent_and_echoed(
    server: &Server,
    bytes: Vec<u8>,
    send: impl FnOnce(&mut TcpStream, &[u8]) + Send + 'static,
) {
    let mut reader = server.client();
    let mut writer = reader.try_clone().unwrap();
    let expected = bytes.clone();
    let sending = thread::spawn(move || send(&mut writer, &bytes));
    is_echoed(&mut reader, &expected);
    sending.join().unwrap();
}

in_all_modes!(a_stream_holds_nothing_of_one_that_was_reset);

fn a_stream_holds_nothing_of_one_that_was_reset(mode: Mode) {
    let server = Server::start(mode);
    for seed in 0..20 {
        let mut rude = server.client();
        rude.set_nonblocking(true).unwrap();
        // It reads nothing, so that something of it waits in the server.
        while rude.write(&[b'x'; PIECE_LEN]).is_ok() {}
        set_socket_linger(&rude, Some(Duration::ZERO)).unwrap();
        drop(rude);

        let mut sent = vec![0; 4 * PIECE_LEN];
        Random::seeded(seed).fill(&mut sent);
        is_sent_and_echoed(&server, sent, |writer, sent| writer.write_all(sent).unwrap());
    }
}

fn send(seed: u64, mut writer: TcpStream) {
    pieces(seed, |piece| writer.write_all(piece).unwrap());
    writer.shutdown(Shutdown::Write).unwrap();
}

/// Calls `each` with the stream of this seed, piece by piece.
fn pieces(seed: u64, mut each: impl FnMut(&[u8])) {
    let mut random = Random::seeded(seed);
    let mut piece = vec![0; PIECE_LEN];
    for _ in 0..STREAM_LEN / PIECE_LEN {
        random.fill(&mut piece);
        each(&piece);
    }
}
