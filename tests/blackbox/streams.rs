//! Long streams of random bytes, several at once, compared as they come back.

use crate::harness::{Mode, Random, Server, alone, is_echoed};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;

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
