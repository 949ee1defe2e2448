//! The effects of the reference's flags, seen from outside: its system calls and its descriptors.

use crate::harness::{PATIENCE, Peer, byte, connect, refusal};
use epoll_kit_bench_peers::{BUFFER_LEN, EVENTS_MAX};
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

const FLOOR: &str = env!("CARGO_BIN_EXE_peer-floor");

const MESSAGE: usize = 64;

/// Sleeps that a trace has to hold.
const SLEEPS: usize = 3;

/// A peer whose trace is silent for so long sleeps, most likely.
const SILENCE: Duration = Duration::from_millis(50);

/// A connection is full if a write has made no progress for this long.
const FULL_AFTER: Duration = Duration::from_millis(300);

/// Returns the system calls of a peer that slept several times; `None` without strace.
#[track_caller]
fn trace(flags: &[&str]) -> Option<Vec<String>> {
    let calls = "epoll_pwait,recvfrom,sendto,splice,read,write";
    let (peer, lines) = Peer::start_traced(FLOOR, flags, calls)?;
    let mut stream = connect(peer.address());
    let start = Instant::now();
    let mut trace: Vec<String> = Vec::new();
    while trace.iter().filter(|line| is_wait(line, SLEEPING)).count() < SLEEPS {
        assert!(start.elapsed() < PATIENCE, "{trace:#?}");
        exchange(&mut stream);
        while let Ok(line) = lines.recv_timeout(SILENCE) {
            trace.push(line);
        }
    }
    drop(peer);
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => trace.push(line),
            Err(RecvTimeoutError::Disconnected) => return Some(trace),
            Err(RecvTimeoutError::Timeout) => panic!("strace has not ended with the peer"),
        }
    }
}

const SLEEPING: i32 = -1;
const LOOKING: i32 = 0;

/// Returns whether the line is a wait with this timeout that has returned.
fn is_wait(line: &str, timeout: i32) -> bool {
    line.contains(&format!(", {EVENTS_MAX}, {timeout}, NULL"))
}

fn exchange(stream: &mut TcpStream) {
    let message: Vec<u8> = (0..MESSAGE).map(|at| byte(0, at)).collect();
    stream.write_all(&message).unwrap();
    let mut echo = [0; MESSAGE];
    stream.read_exact(&mut echo).unwrap();
    assert!(echo[..] == message);
}

/// Asserts that every read of a socket asks for `len` bytes, and that nothing is spliced.
#[track_caller]
fn reads(flags: &[&str], len: usize) -> Option<Vec<String>> {
    let trace = trace(flags)?;
    let mut reads = trace.iter().filter(|line| line.contains(" recvfrom(")).peekable();
    assert!(reads.peek().is_some(), "{trace:#?}");
    for read in reads {
        assert!(read.contains(&format!(", {len}, 0, NULL, NULL)")), "{read}");
    }
    assert!(!trace.iter().any(|line| line.contains(" splice(")), "{trace:#?}");
    Some(trace)
}

#[test]
fn without_flags_nothing_is_different() {
    let Some(trace) = reads(&[], BUFFER_LEN) else { return };
    assert!(!trace.iter().any(|line| is_wait(line, LOOKING)), "{trace:#?}");
}

#[test]
fn a_read_asks_for_what_was_chosen() {
    reads(&["--read-buffer", "1009"], 1009);
}

#[test]
fn what_is_spliced_is_not_read() {
    let Some(trace) = trace(&["--splice"]) else { return };
    // A message goes once in and once out.
    let moved: Vec<_> =
        trace.iter().filter(|line| line.ends_with(&format!(" = {MESSAGE}"))).collect();
    assert!(moved.len() >= 2 && moved.iter().all(|line| line.contains(" splice(")), "{trace:#?}");
    let copies = [" recvfrom(", " sendto("];
    assert!(!trace.iter().any(|line| copies.iter().any(|call| line.contains(call))), "{trace:#?}");
}

/// Returns the sleeps in a trace, each after the waits with timeout zero that came right before it and had no events.
fn sleeps(trace: &[String]) -> Vec<&[String]> {
    let mut sleeps = Vec::new();
    let mut start = 0;
    for (at, line) in trace.iter().enumerate() {
        if is_wait(line, SLEEPING) {
            sleeps.push(&trace[start..=at]);
        }
        if !(is_wait(line, LOOKING) && line.ends_with(" = 0")) {
            start = at + 1;
        }
    }
    sleeps
}

#[test]
fn a_second_wait_comes_before_each_sleep() {
    let Some(trace) = trace(&["--second-wait"]) else { return };
    for sleep in sleeps(&trace) {
        assert_eq!(sleep.len(), 2, "{sleep:#?}");
    }
}

#[test]
fn a_spin_before_a_sleep_lasts_as_long_as_it_was_told() {
    let Some(trace) = trace(&["--spin", "20000"]) else { return };
    let time = |line: &String| -> f64 { line.split(' ').next().unwrap().parse().unwrap() };
    for sleep in sleeps(&trace) {
        assert!(time(&sleep[sleep.len() - 1]) - time(&sleep[0]) >= 0.020, "{sleep:#?}");
    }
}

#[test]
fn connections_at_rest_share_a_pipe() {
    let peer = Peer::start(FLOOR, &["--splice"]);
    let before = peer.pipe_ends();
    let mut streams: Vec<_> = (0..20).map(|_| connect(peer.address())).collect();
    for stream in &mut streams {
        exchange(stream);
    }
    assert_eq!(peer.pipe_ends(), before + 2);
}

#[test]
fn connections_that_are_full_have_a_pipe_each() {
    let peer = Peer::start(FLOOR, &["--splice"]);
    let before = peer.pipe_ends();
    for _ in 0..2 {
        let streams: Vec<_> = (0..3).map(|_| connect(peer.address())).collect();
        let mut sent = vec![0; streams.len()];
        let start = Instant::now();
        // One that is only slow takes more. The pipes of the first round serve the second.
        loop {
            for (stream, sent) in streams.iter().zip(&mut sent) {
                fill(stream, sent);
            }
            let ends = peer.pipe_ends() - before;
            if ends == 2 * streams.len() {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{ends} ends of pipes");
        }
        for (stream, sent) in streams.iter().zip(sent) {
            read_back(stream, sent);
        }
    }
}

/// Writes more until the connection is full, and counts the bytes.
#[track_caller]
fn fill(mut stream: &TcpStream, sent: &mut usize) {
    const SMALL: usize = 64 * 1024;
    const FULL_MAX: usize = 128 * 1024 * 1024;
    sockopt::set_socket_send_buffer_size(stream, SMALL).unwrap();
    sockopt::set_socket_recv_buffer_size(stream, SMALL).unwrap();
    stream.set_write_timeout(Some(FULL_AFTER)).unwrap();
    while *sent < FULL_MAX {
        let piece: Vec<u8> = (*sent..*sent + SMALL).map(|at| byte(0, at)).collect();
        match stream.write(&piece) {
            Ok(len) => *sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    panic!("a connection that takes {sent} bytes while no echo is read");
}

#[track_caller]
fn read_back(mut stream: &TcpStream, sent: usize) {
    let mut buffer = vec![0; 120_011];
    let mut received = 0;
    while received < sent {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "the end after {received} bytes of {sent}");
        for (at, actual) in (received..).zip(&buffer[..len]) {
            assert_eq!(*actual, byte(0, at), "byte {at}");
        }
        received += len;
    }
    assert_eq!(received, sent);
}

#[test]
fn an_experiment_that_means_nothing_is_refused() {
    for (arguments, named) in [
        (&["--read-buffer", "0"][..], "--read-buffer 0: expected a number from 1"),
        (&["--read-buffer", "18446744073709551615"], "--read-buffer 18446744073709551615"),
        (&["--read-buffer", "much"], "--read-buffer"),
        (&["--spin", "0"], "--spin 0: expected a number from 1"),
        (&["--spin"], "--spin"),
        (&["--splice=yes"], "--splice"),
        (&["--splice", "--read-buffer", "1"], "--read-buffer with --splice"),
        (&["--read-buffer", "1", "--splice"], "--read-buffer with --splice"),
        (&["--second-wait", "--spin", "1"], "--second-wait with --spin"),
        (&["--spin", "1", "--second-wait"], "--second-wait with --spin"),
    ] {
        let message = refusal(FLOOR, arguments);
        assert!(message.contains(named), "{message}");
    }
}
