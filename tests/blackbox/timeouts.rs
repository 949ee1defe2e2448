//! Connections that are closed because time has passed: never early, for the right reason, and not
//! at all while they are at work.

use crate::harness::{Crowd, Launch, Mode, OBSERVATION, PATIENCE, Server, Tool, alone};
use crate::harness::{converse, ends, is_echoed, poll_input, small_client, tool, uninterrupted};
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(250);

/// A server that closes nothing for the sake of time, but for what is said afterwards.
fn patient(mode: Mode, timeouts: &[(&str, &str)]) -> Launch {
    let launch = Launch::at("127.0.0.1:0").mode(mode).flag("--log", "debug");
    ["--idle-timeout", "--write-timeout", "--linger-timeout"].iter().fold(
        launch.flag("--quit-word", "quit"),
        |launch, flag| {
            let given = timeouts.iter().find(|(name, _)| name == flag);
            launch.flag(flag, given.map_or("0", |(_, time)| time))
        },
    )
}

/// Waits for the log to tell that this client's connection was closed, and why.
#[track_caller]
fn is_closed_as(server: &Server, client: &TcpStream, reason: &str) {
    let peer = format!("peer={} ", client.local_addr().unwrap());
    let line = server.stderr.next_with(&["connection closed", &peer]);
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
}

in_all_modes!(a_silent_connection_is_closed);

fn a_silent_connection_is_closed(mode: Mode) {
    let server = patient(mode, &[("--idle-timeout", "250ms")]).start();
    let start = Instant::now();
    let mut never = server.client();
    ends(&mut never);
    assert!(start.elapsed() >= SHORT, "after {:?}", start.elapsed());
    is_closed_as(&server, &never, "idle");

    let mut once = server.client();
    let start = Instant::now();
    converse(&mut once, b"hello");
    ends(&mut once);
    assert!(start.elapsed() >= SHORT, "after {:?}", start.elapsed());
    is_closed_as(&server, &once, "idle");
}

/// The outcome of a conversation, a byte at a time.
enum Talk {
    Kept,
    /// The client itself has let so much time pass.
    Paused,
}

/// Talks for longer than three idle periods, with pauses of a fifth of one.
#[track_caller]
fn talk(stream: &mut TcpStream) -> Talk {
    let start = Instant::now();
    let mut last = start;
    while start.elapsed() < 3 * SHORT + SHORT / 2 {
        thread::sleep(SHORT / 5);
        let is_echoed = stream.write_all(b"x").is_ok()
            && matches!(uninterrupted(|| stream.read(&mut [0])), Ok(1));
        if last.elapsed() >= SHORT {
            return Talk::Paused;
        }
        assert!(is_echoed, "closed after a pause of {:?}", last.elapsed());
        // The server may have dated it as early as this.
        last = Instant::now() - Duration::from_millis(5);
    }
    Talk::Kept
}

in_all_modes!(a_connection_that_talks_is_kept_until_it_falls_silent);

fn a_connection_that_talks_is_kept_until_it_falls_silent(mode: Mode) {
    let server = patient(mode, &[("--idle-timeout", "250ms")]).start();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = server.client();
        if let Talk::Kept = talk(&mut stream) {
            ends(&mut stream);
            return is_closed_as(&server, &stream, "idle");
        }
        assert!(Instant::now() < deadline, "the machine is too busy for a talk");
    }
}

/// Sends until that fails, and reads nothing.
#[track_caller]
fn send_for_ever(stream: &mut TcpStream) -> ErrorKind {
    loop {
        match stream.write(&[b'x'; 65536]) {
            Ok(_) => {}
            // Where a socket has a timeout, the machine's stop and continue end a call too.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind(),
        }
    }
}

in_all_modes!(a_peer_that_takes_nothing_is_reset);

fn a_peer_that_takes_nothing_is_reset(mode: Mode) {
    let server = patient(mode, &[("--write-timeout", "250ms")]).start();
    let start = Instant::now();
    let mut stream = small_client(server.inet());
    assert_eq!(send_for_ever(&mut stream), ErrorKind::ConnectionReset);
    assert!(start.elapsed() >= SHORT, "after {:?}", start.elapsed());
    is_closed_as(&server, &stream, "stalled");
    converse(&mut server.client(), b"another one");
}

in_all_modes!(a_peer_that_takes_little_is_kept);

/// The socket becomes writable only when a large part of its buffer is free, which takes this peer
/// longer than the timeout: it is told by what it has taken, not by what could be written.
fn a_peer_that_takes_little_is_kept(mode: Mode) {
    let server = patient(mode, &[("--write-timeout", "500ms")]).start();
    let stream = server.client();
    thread::scope(|scope| {
        // Ends when the other half is shut down, or the server has reset the connection.
        let flood = scope.spawn(|| while (&stream).write(&[0; 65_536]).is_ok() {});
        let mut buffer = [0; 16_384];
        let start = Instant::now();
        while start.elapsed() < 5 * SHORT {
            (&stream).read_exact(&mut buffer).expect("the server goes on");
            thread::sleep(Duration::from_millis(20));
        }
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        flood.join().unwrap();
    });
    converse(&mut server.client(), b"another one");
}

in_all_modes!(a_peer_that_does_not_close_is_left);

fn a_peer_that_does_not_close_is_left(mode: Mode) {
    let server = patient(mode, &[("--linger-timeout", "250ms")]).start();
    let mut stream = server.client();
    let start = Instant::now();
    converse(&mut stream, b"quit\n");
    ends(&mut stream);
    is_closed_as(&server, &stream, "lingered-out");
    assert!(start.elapsed() >= SHORT, "after {:?}", start.elapsed());
}

in_all_modes!(a_peer_that_is_still_reading_gets_everything_before_it_is_left);

/// Our end was sent long before the peer comes to it. To close the connection when the linger timeout
/// is over, while the peer goes on sending, would destroy what it has yet to read.
fn a_peer_that_is_still_reading_gets_everything_before_it_is_left(mode: Mode) {
    const LEN: usize = 300_000;
    let server = patient(mode, &[("--linger-timeout", "1s")]).start();
    let stream = small_client(server.inet());
    let mut sent = vec![b'x'; LEN];
    sent.extend(b"\nquit\n");
    let mut received = Vec::new();
    thread::scope(|scope| {
        let sending = scope.spawn(|| (&stream).write_all(&sent).expect("the server takes it"));
        let mut buffer = [0; 8192];
        loop {
            match uninterrupted(|| (&stream).read(&mut buffer)).expect("an end without an error") {
                0 => break,
                len => received.extend_from_slice(&buffer[..len]),
            }
            if sending.is_finished() {
                // Into nowhere: the server discards it.
                let _ = (&stream).write(b"y");
            }
            thread::sleep(Duration::from_millis(4));
        }
    });
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
}

in_all_modes!(zero_turns_timeouts_off);

fn zero_turns_timeouts_off(mode: Mode) {
    let server = patient(mode, &[]).start();
    let mut silent = server.client();
    converse(&mut silent, b"hello");
    let mut lingering = server.client();
    converse(&mut lingering, b"quit\n");
    ends(&mut lingering);
    let mut stalled = small_client(server.inet());
    stalled.set_write_timeout(Some(OBSERVATION)).unwrap();
    // It fails because nothing moves for as long as we watch.
    assert_eq!(send_for_ever(&mut stalled), ErrorKind::WouldBlock);

    assert_eq!(poll_input(&[&silent], OBSERVATION), [false]);
    server.process.signal(Signal::USR1);
    let line = server.stderr.next_with(&["connections so far"]);
    assert!(line.contains("connections=3 ") && !line.contains("closed."), "{line}");
    converse(&mut silent, b"still here");
}

in_all_modes!(a_server_that_was_stopped_closes_what_is_due_and_serves_the_rest);

fn a_server_that_was_stopped_closes_what_is_due_and_serves_the_rest(mode: Mode) {
    const IDLE: Duration = Duration::from_secs(1);
    let mut server = patient(mode, &[("--idle-timeout", "1s")]).start();
    let mut silent: Vec<_> = (0..20).map(|_| server.client()).collect();
    let [mut early, mut late] = [server.client(), server.client()];
    for stream in silent.iter_mut().chain([&mut early, &mut late]) {
        converse(stream, b"hello");
    }
    server.process.stop();
    let stopped = Instant::now();
    early.write_all(b"sent before the timeout").unwrap();
    thread::sleep((IDLE + OBSERVATION).saturating_sub(stopped.elapsed()));
    late.write_all(b"sent after it").unwrap();
    server.process.signal(Signal::CONT);

    is_echoed(&mut early, b"sent before the timeout");
    is_echoed(&mut late, b"sent after it");
    silent.iter_mut().for_each(|stream| ends(stream));
    converse(&mut server.client(), b"a new one");
    drop((early, late));
    server.drain();
    let lines = server.stderr.rest();
    let idle = |stream: &TcpStream| {
        let peer = format!("peer={} ", stream.local_addr().unwrap());
        let parts = ["connection closed", &peer, "reason=\"idle\""];
        lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    };
    assert!(silent.iter().all(|stream| idle(stream) == 1), "{lines:#?}");
}

/// Returns the number of times that a server sets its timerfd for `messages` on one connection beside others.
#[track_caller]
fn timerfd_settimes(strace: &Tool, mode: Mode, messages: u32) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("calls");
    let timeouts = [("--idle-timeout", "5m"), ("--write-timeout", "30s")];
    let options = ["-f", "-c", "-e", "trace=timerfd_settime", "-o"];
    let launch = patient(mode, &timeouts).under([strace.path().as_os_str()]);
    let mut server = launch.under(options).under([&report]).start();
    let mut crowd = Crowd::of(server.inet(), 300);
    for _ in 0..messages {
        converse(&mut crowd.streams[0], b"sixty-four bytes are not needed for this");
    }
    server.end(Signal::KILL);
    let text = fs::read_to_string(report).unwrap();
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Share of time, seconds, microseconds a call, calls, perhaps errors, name.
    let mut rows = rows.filter(|row| row.last() == Some(&"timerfd_settime"));
    let row = rows.next();
    row.map_or(0, |row| row[3].parse().unwrap())
}

in_all_modes!(a_message_does_not_set_the_timer);

fn a_message_does_not_set_the_timer(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    let _alone = alone();
    let [once, often] = [500, 5000].map(|messages| timerfd_settimes(&strace, mode, messages));
    println!("{mode}: set {once} times for 500 messages, {often} times for 5000");
    assert!(once > 0, "the idle timeout has to be set");
    // The wheel may have been turned meanwhile; that goes with time, not with messages.
    assert!(often <= once + 5, "{once} times for 500 messages, {often} for 5000");
}
