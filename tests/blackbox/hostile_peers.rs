//! Peers that reset, leave data unread, or never read at all: only they notice.

use crate::harness::{Launch, Mode, OBSERVATION, PATIENCE, Server, alone, converse, is_cut_off};
use crate::harness::{small_client, uninterrupted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The most that a connection may buffer, in KiB: one read.
const READ_LEN_KIB: u64 = 64;

in_all_modes!(a_reset_in_the_middle_of_a_write_hurts_nobody_else);

fn a_reset_in_the_middle_of_a_write_hurts_nobody_else(mode: Mode) {
    let server = Server::start(mode);
    let mut neighbour = server.client();
    for round in 0..50_usize {
        let mut rude = server.client();
        converse(&mut rude, b"hello");
        // From nothing under way to full buffers in both directions.
        write_until_full(&rude, round * 100_000);
        set_socket_linger(&rude, Some(Duration::ZERO)).unwrap();
        drop(rude);
        converse(&mut neighbour, b"is anybody there");
    }
    converse(&mut server.client(), b"and for those who come");
}

/// Writes up to `len` bytes, or what fits.
#[track_caller]
fn write_until_full(mut stream: &TcpStream, len: usize) {
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    let bytes = [b'x'; 16 * 1024];
    while written < len {
        match stream.write(&bytes[..bytes.len().min(len - written)]) {
            Ok(taken) => written += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
}

in_all_modes!(a_peer_that_closes_with_data_unread_hurts_nobody_else);

fn a_peer_that_closes_with_data_unread_hurts_nobody_else(mode: Mode) {
    let server = Server::start(mode);
    let mut neighbour = server.client();
    for _ in 0..50 {
        let mut rude = server.client();
        rude.write_all(&[b'x'; 1000]).unwrap();
        crate::harness::await_input(&rude);
        // The kernel answers what it has not delivered with a reset.
        drop(rude);
        converse(&mut neighbour, b"is anybody there");
    }
    assert!(server.is_alive());
}

in_all_modes!(peers_that_send_for_ever_and_never_read_cost_one_read_each);

fn peers_that_send_for_ever_and_never_read_cost_one_read_each(mode: Mode) {
    let _alone = alone();
    // Not even cut off for it.
    let server = Launch::tcp(mode).flag("--write-timeout", "0").start();
    let mut neighbour = server.client();
    converse(&mut neighbour, b"before");
    let start = server.process.status("VmRSS");

    let limit = start + 200 * READ_LEN_KIB + 16 * 1024;
    // The second time they find what the first have left.
    for round in 1..=2 {
        let greedy: Vec<_> = (0..200).map(|_| small_client(server.inet())).collect();
        let taken = send_until_nobody_is_served(&greedy);
        // The kernel holds some of it; but the server has read and kept something of each.
        assert!(taken > 200 * 64 * 1024, "only {taken} bytes went out");

        let peak = server.process.status("VmHWM");
        println!("{mode}, {round}: from {start} KiB to {peak} KiB at most, limit {limit} KiB");
        assert!(peak < limit, "{peak} KiB at the peak, {limit} KiB are the limit");
        for _ in 0..100 {
            converse(&mut neighbour, b"as before");
        }
        converse(&mut server.client(), b"a new one");
    }
}

/// Writes on all of them until none has had room for a while; returns how much went out.
#[track_caller]
fn send_until_nobody_is_served(streams: &[TcpStream]) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let bytes = [b'x'; 64 * 1024];
    let mut written = 0;
    for stream in streams {
        stream.set_nonblocking(true).unwrap();
    }
    loop {
        let mut fds: Vec<_> =
            streams.iter().map(|stream| PollFd::new(stream, PollFlags::OUT)).collect();
        let timeout = Timespec::try_from(OBSERVATION).unwrap();
        if uninterrupted(|| Ok(poll(&mut fds, Some(&timeout))?)).unwrap() == 0 {
            return written;
        }
        let ready = fds.iter().zip(streams).filter(|(fd, _)| !fd.revents().is_empty());
        for (_, mut stream) in ready {
            match stream.write(&bytes) {
                Ok(taken) => written += taken,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert!(Instant::now() < deadline, "the server takes without end");
    }
}

in_all_modes!(a_port_scan_hurts_nobody);

fn a_port_scan_hurts_nobody(mode: Mode) {
    let server = Server::start(mode);
    for _ in 0..100 {
        // Reset before or while it is accepted.
        let stream = server.client();
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    assert!(server.is_alive());
    drop(server);
    assert!(is_cut_off(&mut stream));
}
