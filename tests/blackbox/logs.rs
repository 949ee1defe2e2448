//! Tests of the server's log on stderr, and that the server does not need a reader of it.

use crate::harness::{Guard, Launch, Lines, Mode, PATIENCE, Server, converse, ends};
use rustix::net::sockopt::set_socket_linger;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn debugging(mode: Mode) -> Launch {
    listening(mode).flag("--log", "debug")
}

fn listening(mode: Mode) -> Launch {
    let launch = Launch::at("127.0.0.1:0").mode(mode);
    launch.flag("--quit-word", "quit").flag("--linger-timeout", "0")
}

/// Everything that can become of a connection; returns the addresses of the clients.
#[track_caller]
fn live_and_die(server: &Server) -> [String; 3] {
    let address = |stream: &TcpStream| stream.local_addr().unwrap().to_string();
    let mut polite = server.client();
    converse(&mut polite, b"twelve bytes");
    polite.shutdown(Shutdown::Write).unwrap();
    ends(&mut polite);

    let mut quitting = server.client();
    converse(&mut quitting, b"quit\n");
    ends(&mut quitting);

    let mut rude = server.client();
    let addresses = [&polite, &quitting, &rude].map(address);
    drop(quitting);
    converse(&mut rude, b"rude");
    set_socket_linger(&rude, Some(Duration::ZERO)).unwrap();
    drop(rude);
    addresses
}

const EXPECTED: [(u64, &str); 3] = [(12, "peer-closed"), (5, "quit"), (4, "reset")];

/// Returns the lines that the server has logged up to this number of closed connections, then kills it.
#[track_caller]
fn log_of(mut server: Server, closed: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for _ in 0..closed {
        loop {
            lines.push(server.stderr.next().expect("a line"));
            if lines.last().is_some_and(|line| line.contains("connection closed")) {
                break;
            }
        }
    }
    server.end(Signal::KILL);
    lines.extend(server.stderr.rest());
    lines
}

in_all_modes!(debug_tells_of_every_connection_as_text);

fn debug_tells_of_every_connection_as_text(mode: Mode) {
    let server = debugging(mode).start();
    let addresses = live_and_die(&server);
    let lines = log_of(server, 3);
    for (address, (bytes, reason)) in addresses.iter().zip(EXPECTED) {
        let of_this = |message: &str| {
            let parts = ["DEBUG", message, &format!("peer={address}")];
            let found = lines.iter().find(|line| parts.iter().all(|part| line.contains(part)));
            found.unwrap_or_else(|| panic!("no {parts:?} in {lines:#?}"))
        };
        of_this("connection opened");
        let closed = of_this("connection closed");
        let (received, sent) = (format!(" received={bytes} "), format!(" sent={bytes} "));
        for said in [&received, &sent, &format!(" reason=\"{reason}\"")] {
            assert!(closed.contains(said.as_str()), "{said} is not in: {closed}");
        }
    }
}

in_all_modes!(json_is_an_object_a_line);

fn json_is_an_object_a_line(mode: Mode) {
    let launch = debugging(mode).flag("--log-format", "json");
    let server = launch.start();
    let addresses = live_and_die(&server);
    let lines = log_of(server, 3);
    let objects: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(objects.iter().all(|object| object["timestamp"].is_string()), "{lines:#?}");
    for (address, (bytes, reason)) in addresses.iter().zip(EXPECTED) {
        let of_this = |message: &str| {
            let found = objects.iter().find(|o| o["peer"] == **address && o["message"] == message);
            found.unwrap_or_else(|| panic!("no {message} of {address} in {lines:#?}"))
        };
        assert_eq!(of_this("connection opened")["level"], "DEBUG");
        let closed = of_this("connection closed");
        assert_eq!((&closed["received"], &closed["sent"]), (&bytes.into(), &bytes.into()));
        assert_eq!(closed["reason"], reason);
    }
}

in_all_modes!(off_is_silent);

fn off_is_silent(mode: Mode) {
    let mut server = listening(mode).flag("--log", "off").start();
    live_and_die(&server);
    converse(&mut server.client(), b"hello");
    server.end(Signal::KILL);
    assert_eq!(server.stderr.rest(), [""; 0]);
}

in_modes!(counters_are_logged_at_any_level_but_off: level Level, oneshot Oneshot);

fn counters_are_logged_at_any_level_but_off(mode: Mode) {
    for level in ["error", "warn", "debug"] {
        let launch = listening(mode).flag("--log", level).flag("--log-format", "json");
        let server = launch.start();
        converse(&mut server.client(), b"hello");
        server.process.signal(Signal::USR1);
        let line = server.stderr.next_with(&["connections so far"]);
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["connections"], &line["level"]), (&1.into(), &"INFO".into()), "{line}");
    }
    let mut server = listening(mode).flag("--log", "off").start();
    server.process.signal(Signal::USR1);
    server.process.await_signals_taken();
    server.drain();
    assert_eq!(server.stderr.rest(), [""; 0]);
    // Nobody has asked for the sums at the end.
    let mut server = listening(mode).flag("--log", "warn").start();
    server.drain();
    assert_eq!(server.stderr.rest(), [""; 0]);
}

in_all_modes!(info_tells_of_the_start_but_not_of_connections);

fn info_tells_of_the_start_but_not_of_connections(mode: Mode) {
    let mut server = listening(mode).start();
    live_and_die(&server);
    converse(&mut server.client(), b"hello");
    server.drain();
    let lines = server.stderr.rest();
    assert!(
        lines.iter().any(|line| line.contains("INFO") && line.contains("started")),
        "{lines:?}"
    );
    assert!(!lines.iter().any(|line| line.contains("connection ")), "{lines:?}");
}

/// Asserts that a server serves although nobody reads its output.
#[track_caller]
fn serves_unheard(mut command: Command, path: &Path) {
    let mut guard = Guard::spawn(&mut command);
    // The reading ends of its pipes close; every line it prints from now on fails.
    drop(guard.child().stdout.take());
    drop(guard.child().stderr.take());
    let deadline = Instant::now() + PATIENCE;
    for _ in 0..10 {
        let mut stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            assert_eq!(guard.child().try_wait().unwrap(), None, "the server has ended");
            thread::yield_now();
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        converse(&mut stream, b"hello");
        stream.shutdown(Shutdown::Write).unwrap();
        ends(&mut stream);
    }
    assert_eq!(guard.child().try_wait().unwrap(), None, "the server has ended");
}

#[track_caller]
fn unheard(path: &Path) -> Launch {
    Launch::at(format!("unix:{}", path.display())).flag("--log", "trace")
}

#[test]
fn a_reader_of_stdout_or_stderr_that_goes_away_changes_nothing() {
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo");
        let mut command = unheard(&path).flag("--log-format", format).command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        serves_unheard(command, &path);
    }
}

#[test]
fn stdout_and_stderr_may_be_closed_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let shell = ["sh", "-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"];
    serves_unheard(unheard(&path).under(shell).command(), &path);
}

/// A server whose stderr is a pipe of one page, and the end of it that nobody reads yet.
#[track_caller]
fn unread(launch: &Launch, flags: PipeFlags) -> (Server, File) {
    let (reader, writer) = pipe_with(flags | PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&writer, 4096).unwrap();
    (launch.start_with_stderr(writer), reader.into())
}

/// Connects so many times, one after another; each connection is served and closed.
#[track_caller]
fn come_and_go(server: &Server, count: usize) {
    for _ in 0..count {
        let mut stream = server.client();
        converse(&mut stream, b"hello");
        stream.shutdown(Shutdown::Write).unwrap();
        ends(&mut stream);
    }
}

in_all_modes!(a_reader_that_stands_still_holds_nobody_up);

fn a_reader_that_stands_still_holds_nobody_up(mode: Mode) {
    // More lines than the pipe holds.
    const CONNECTIONS: usize = 80;
    for flags in [PipeFlags::empty(), PipeFlags::NONBLOCK] {
        let (mut server, reader) = unread(&debugging(mode), flags);
        come_and_go(&server, CONNECTIONS);
        server.process.signal(Signal::TERM);
        assert_eq!(server.await_end().code(), Some(0));
        let said = Lines::of(reader).rest();
        assert!(
            (1..CONNECTIONS).contains(&said.len()),
            "the reader did not stand still: {said:#?}"
        );
    }
}

in_all_modes!(a_second_signal_ends_a_server_whose_log_nobody_reads);

fn a_second_signal_ends_a_server_whose_log_nobody_reads(mode: Mode) {
    let launch = debugging(mode).flag("--drain-timeout", "0");
    let (mut server, _reader) = unread(&launch, PipeFlags::empty());
    come_and_go(&server, 80);
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    server.process.signal(Signal::INT);
    ends(&mut stream);
    assert!(server.is_alive(), "it waits for ever for the client to close");
    server.process.signal(Signal::TERM);
    assert_eq!(server.await_end().code(), Some(143));
}

in_modes!(lines_that_were_dropped_are_counted_and_their_number_is_said: level Level,
    edge_shared EdgeShared);

fn lines_that_were_dropped_are_counted_and_their_number_is_said(mode: Mode) {
    // Two lines each, of which 4096 wait.
    const CONNECTIONS: usize = 2500;
    let launch = debugging(mode).flag("--log-format", "json");
    let (mut server, reader) = unread(&launch, PipeFlags::empty());
    come_and_go(&server, CONNECTIONS);
    let stderr = Lines::of(reader);
    let mut lines = Vec::new();
    loop {
        lines.push(stderr.next().expect("a line"));
        if lines.last().is_some_and(|line| line.contains("log lines were dropped")) {
            break;
        }
    }
    // There is room again.
    come_and_go(&server, 1);
    server.process.signal(Signal::TERM);
    assert_eq!(server.await_end().code(), Some(0));
    lines.extend(stderr.rest());

    let lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let sum_of = |message: &str| -> u64 {
        let found = lines.iter().filter(|line| line["message"] == message);
        found.map(|line| line["lines"].as_u64().expect("a number of lines")).sum()
    };
    let dropped = sum_of("log lines were dropped");
    assert!(dropped > 0);
    assert_eq!(sum_of("log lines were dropped in all"), dropped);
    assert_eq!(lines.last().unwrap()["message"], "log lines were dropped in all");
    let of_connections = lines.iter().filter(|line| {
        line["message"].as_str().is_some_and(|message| message.starts_with("connection "))
    });
    let written = of_connections.count() as u64;
    assert_eq!(written + dropped, 2 * (CONNECTIONS as u64 + 1));
}

in_modes!(trace_has_a_line_for_each_message: level Level, edge_shared EdgeShared);

fn trace_has_a_line_for_each_message(mode: Mode) {
    let server = listening(mode).flag("--log", "trace").start();
    let mut stream = server.client();
    converse(&mut stream, b"hello\n");
    server.stderr.next_with(&["TRACE", "echo", "received=6 sent=6"]);
    // Of what follows the quit word nothing is sent.
    stream.write_all(b"quit\nignored").unwrap();
    server.stderr.next_with(&["TRACE", "echo", "received=12 sent=5"]);
}
