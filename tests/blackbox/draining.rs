//! The end of a server: what is under way is finished, nothing new is taken, and the status and the
//! last words say how it went.

use crate::harness::{Guard, Launch, Lines, Mode, PATIENCE, Process, Sends, Server, Streaming};
use crate::harness::{alone, converse, ends, is_echoed, small_client, tool};
use epoll_kit_testing::{Random, eventually};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// More runs of the drain under load than the one that every test run makes.
const RUNS_VARIABLE: &str = "EPOLL_KIT_DRAIN_RUNS";

/// The same signal again within this time counts as the first one.
const REPETITION: Duration = Duration::from_millis(100);

/// A server that cuts nothing for the sake of time, but for what is said afterwards.
fn patient(mode: Mode) -> Launch {
    let launch = Launch::at("127.0.0.1:0").mode(mode).flag("--quit-word", "quit");
    launch.flag("--linger-timeout", "0").flag("--write-timeout", "0")
}

/// Sends a signal that begins the drain, and waits until it has begun.
#[track_caller]
fn begin(server: &Server, signal: Signal) {
    server.process.signal(signal);
    server.stderr.next_with(&["draining"]);
}

/// Waits for the server to end with this status; the rest of its log.
#[track_caller]
fn ends_with(mut server: Server, status: i32) -> Vec<String> {
    let ended = server.await_end();
    let lines = server.stderr.rest();
    assert_eq!(ended.code(), Some(status), "{lines:#?}");
    lines
}

/// Like [`ends_with`]; the last line, which sums up.
#[track_caller]
fn last_words(server: Server, status: i32) -> String {
    let last = ends_with(server, status).pop().expect("a last line");
    assert!(last.contains("stopped"), "{last}");
    last
}

in_all_modes!(streams_end_in_order);

fn streams_end_in_order(mode: Mode) {
    let _alone = alone();
    let runs = env::var(RUNS_VARIABLE).map_or(1, |runs| runs.parse().expect("a number of runs"));
    let mut random = Random::seeded(22);
    let (mut finished, mut bytes) = (0, 0);
    for run in 0..runs {
        let (more, received) = drain_under_load(mode, &mut random, run);
        finished += more;
        bytes += received;
    }
    println!("{mode}: {runs} runs, {finished} had finished, {bytes} bytes read");
    assert!(finished > 0, "no client had finished before the signal");
}

/// A run with 200 clients: how many had finished sending before the signal, and the bytes read.
#[track_caller]
fn drain_under_load(mode: Mode, random: &mut Random, run: u32) -> (usize, u64) {
    const CLIENTS: u32 = 200;
    // Streams are ended at half time. The other half is for a machine that is busy with more.
    let launch = Launch::at("127.0.0.1:0").mode(mode);
    let server = launch.flag("--drain-timeout", "6s").start();
    let mut moment = || Duration::from_micros(random.next() % 150_000);
    let signal_after = moment();
    let mut sizes = Random::seeded(run.into());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| match client % 4 {
            3 => Sends::Bytes { count: sizes.next() % 200_000, after: moment() },
            _ => Sends::Forever,
        })
        .collect();
    let streaming = Streaming::start(server.inet(), clients);
    thread::sleep(signal_after);
    streaming.mark();
    server.process.signal(Signal::TERM);
    // First of all its own account: another status means that the deadline has cut clients.
    ends_with(server, 0);
    let outcomes = streaming.outcomes();
    let finished: Vec<_> = outcomes
        .iter()
        .filter(|client| matches!(client.sends, Sends::Bytes { .. }) && client.finished_before_mark)
        .collect();
    for client in &finished {
        assert_eq!(client.received, client.sent, "run {run}, {signal_after:?}: {client:?}");
    }
    (finished.len(), outcomes.iter().map(|client| client.received).sum())
}

in_all_modes!(those_who_wait_to_be_accepted_are_served_and_nobody_after_them);

fn those_who_wait_to_be_accepted_are_served_and_nobody_after_them(mode: Mode) {
    let server = patient(mode).flag("--drain-timeout", "0").start();
    server.process.stop();
    let mut waiting: Vec<_> = (0..50).map(|_| server.client()).collect();
    for stream in &mut waiting {
        stream.write_all(b"sent before anybody accepts").unwrap();
    }
    server.process.signal(Signal::TERM);
    server.process.signal(Signal::CONT);
    for stream in &mut waiting {
        is_echoed(stream, b"sent before anybody accepts");
        ends(stream);
    }
    let refused = TcpStream::connect(server.inet()).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    assert!(server.is_alive(), "nobody has closed yet");
    drop(waiting);
    ends_with(server, 0);
}

in_all_modes!(quiet_connections_end_promptly);

fn quiet_connections_end_promptly(mode: Mode) {
    let server = patient(mode).flag("--drain-timeout", "5m").start();
    let mut quiet: Vec<_> = (0..50).map(|_| server.client()).collect();
    quiet.iter_mut().for_each(|stream| converse(stream, b"hello"));
    begin(&server, Signal::INT);
    let start = Instant::now();
    quiet.iter_mut().for_each(|stream| ends(stream));
    drop(quiet);
    ends_with(server, 0);
    assert!(start.elapsed() < PATIENCE, "after {:?}", start.elapsed());
}

in_all_modes!(a_server_without_connections_ends_at_once);

fn a_server_without_connections_ends_at_once(mode: Mode) {
    for signal in [Signal::TERM, Signal::INT] {
        let server = patient(mode).flag("--drain-timeout", "0").start();
        server.process.signal(signal);
        let last = last_words(server, 0);
        assert!(last.contains("connections=0 "), "{last}");
    }
}

/// A client that has filled everything between itself and the server, and reads nothing.
#[track_caller]
fn stuck_client(server: &Server) -> TcpStream {
    let mut stream = small_client(server.inet());
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while stream.write(&[b'x'; 65536]).is_ok() {}
    stream
}

in_all_modes!(the_deadline_cuts_what_has_not_finished);

fn the_deadline_cuts_what_has_not_finished(mode: Mode) {
    let server = patient(mode).flag("--drain-timeout", "500ms").start();
    let _neither_reads_nor_closes = stuck_client(&server);
    let mut reads_but_does_not_close = server.client();
    let mut closes = server.client();
    converse(&mut reads_but_does_not_close, b"hello");
    converse(&mut closes, b"hello");
    let start = Instant::now();
    begin(&server, Signal::TERM);
    ends(&mut reads_but_does_not_close);
    ends(&mut closes);
    drop(closes);
    let lines = ends_with(server, 3);
    assert!(start.elapsed() >= Duration::from_millis(500), "after {:?}", start.elapsed());
    let [.., warning, last] = lines.as_slice() else { panic!("{lines:?}") };
    let warns = ["WARN", "cut", "connections=2"].iter().all(|part| warning.contains(part));
    assert!(warns, "{warning}");
    assert!(last.contains("stopped") && last.contains("closed.cut=2"), "{last}");
}

in_all_modes!(a_second_signal_ends_the_drain_at_once);

fn a_second_signal_ends_the_drain_at_once(mode: Mode) {
    let cases = [
        (Signal::TERM, Signal::TERM, 143),
        (Signal::TERM, Signal::INT, 130),
        (Signal::INT, Signal::TERM, 143),
    ];
    for (first, second, status) in cases {
        let server = patient(mode).flag("--drain-timeout", "0").start();
        let mut stream = server.client();
        converse(&mut stream, b"hello");
        begin(&server, first);
        ends(&mut stream);
        assert!(server.is_alive(), "it waits for ever for the client to close");
        if first == second {
            // Sooner it counts as the first one.
            thread::sleep(REPETITION);
        }
        server.process.signal(second);
        let last = last_words(server, status);
        assert!(last.contains("closed.cut=1"), "{last}");
    }
}

in_modes!(the_same_signal_twice_in_a_row_is_one: level Level, oneshot Oneshot);

/// `timeout` of coreutils sends a signal to its child, and then to the group that the child is in.
fn the_same_signal_twice_in_a_row_is_one(mode: Mode) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "this machine is too busy for two in a row");
        let server = patient(mode).flag("--drain-timeout", "0").start();
        let mut stream = server.client();
        converse(&mut stream, b"hello");
        let start = Instant::now();
        for _ in 0..2 {
            // Two that are pending at once would be one for the kernel.
            server.process.signal(Signal::TERM);
            server.process.await_signals_taken();
        }
        if start.elapsed() >= REPETITION {
            continue;
        }
        ends(&mut stream);
        // It comes after them, and a server that is forced to end does not answer it.
        server.process.signal(Signal::USR1);
        server.stderr.next_with(&["connections so far"]);
        thread::sleep(REPETITION);
        server.process.signal(Signal::TERM);
        last_words(server, 143);
        return;
    }
}

in_all_modes!(a_second_signal_ends_a_server_whose_threads_are_stuck);

fn a_second_signal_ends_a_server_whose_threads_are_stuck(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    let launch = patient(mode).outermost([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
    // No echo is sent before the test is over. With a filter strace stops a thread for no other call, so
    // one that is stopped is stuck.
    let filter = ["--seccomp-bpf", "-e", "trace=sendto"];
    let launch = launch.under(filter);
    let server = launch.under(["-e", "inject=sendto:delay_enter=1000s"]).start();
    let threads = server.process.event_loops();
    let serving = &threads[usize::from(mode.is_shared())..];
    let is_stuck = |thread: &u32| server.process.thread_state(*thread) == "t";
    let mut clients = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !serving.iter().all(is_stuck) {
        assert!(Instant::now() < deadline, "not every thread is stuck");
        let mut stream = server.client();
        stream.write_all(b"x").unwrap();
        clients.push(stream);
    }
    server.process.signal(Signal::TERM);
    server.process.await_signals_taken();
    assert!(server.is_alive(), "it waits for its threads");
    server.process.signal(Signal::INT);
    server.stderr.next_with(&["ERROR", "threads are stuck", "SIGINT"]);
    // strace keeps the threads that it delays, and with them the process's end.
    eventually("the other threads end", || server.process.threads().len() <= threads.len());
}

#[test]
fn a_second_signal_ends_a_server_that_cannot_say_where_it_listens() {
    let (_reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    let mut command = patient(Mode::Level).command();
    let mut guard = Guard::spawn(command.stdout(writer).stderr(Stdio::piped()));
    let stderr = Lines::of(guard.child().stderr.take().unwrap());
    stderr.next_with(&["started"]);
    let process = Process::open(guard.pid());
    process.signal(Signal::TERM);
    process.await_signals_taken();
    assert!(!process.has_ended_within(Duration::ZERO), "it waits for the reader of stdout");
    process.signal(Signal::INT);
    assert_eq!(guard.await_end().code(), Some(130));
}

in_all_modes!(other_signals_log_the_counters_also_while_draining);

fn other_signals_log_the_counters_also_while_draining(mode: Mode) {
    let server = patient(mode).flag("--drain-timeout", "0").start();
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    let log_counters = || {
        for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1")] {
            server.process.signal(signal);
            server.stderr.next_with(&["counters", name]);
            server.stderr.next_with(&["connections so far", "connections=1 "]);
        }
    };
    log_counters();
    converse(&mut stream, b"as before");
    begin(&server, Signal::TERM);
    log_counters();
    ends(&mut stream);
    log_counters();
    drop(stream);
    ends_with(server, 0);
}

in_all_modes!(the_path_of_a_unix_socket_is_removed);

fn the_path_of_a_unix_socket_is_removed(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let launch = Launch::at(format!("unix:{}", path.display())).mode(mode);
    let server = launch.flag("--drain-timeout", "0").flag("--linger-timeout", "0").start();
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(&mut stream, b"hello");
    begin(&server, Signal::TERM);
    ends(&mut stream);
    assert!(!path.exists(), "a path without a listener");
    assert!(server.is_alive(), "nobody has closed yet");
    drop(stream);
    ends_with(server, 0);
}

/// The statistics, whose connections add up.
#[track_caller]
fn statistics(path: &std::path::Path) -> Value {
    let stats: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).expect("JSON");
    let connections = &stats["connections"];
    let closed = connections["closed"].as_object().expect("reasons").values();
    let closed: u64 = closed.map(|count| count.as_u64().expect("a count")).sum();
    assert_eq!(connections["opened"], closed, "{connections:#}");
    assert_eq!(stats["accept"]["accepted"], closed, "{stats:#}");
    stats
}

in_all_modes!(the_last_line_and_the_statistics_sum_up);

fn the_last_line_and_the_statistics_sum_up(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stats.json");
    let server = patient(mode).flag("--stats-json", &path).start();
    let [mut polite, mut quitting, mut quiet] = [server.client(), server.client(), server.client()];
    converse(&mut quiet, b"twenty bytes, quiet.");
    converse(&mut polite, b"ten bytes.");
    polite.shutdown(Shutdown::Write).unwrap();
    ends(&mut polite);
    converse(&mut quitting, b"quit\n");
    ends(&mut quitting);
    drop(quitting);
    begin(&server, Signal::TERM);
    ends(&mut quiet);
    drop(quiet);

    let last = last_words(server, 0);
    let reasons = "closed.finished=1 closed.peer-closed=1 closed.drained=1";
    let parts = ["connections=3 ", "received=35 ", "sent=35 ", "longest_s=", reasons];
    assert!(parts.iter().all(|part| last.contains(part)), "not all of {parts:?} in {last}");
    let connections = &statistics(&path)["connections"];
    let bytes = (&connections["bytes_received"], &connections["bytes_sent"]);
    assert_eq!(bytes, (&35.into(), &35.into()));
    let reasons = serde_json::json!({"drained": 1, "peer-closed": 1, "quit": 1});
    assert_eq!(connections["closed"], reasons);
}

in_all_modes!(who_had_finished_sending_gets_every_byte_however_late_it_reads);

fn who_had_finished_sending_gets_every_byte_however_late_it_reads(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stats.json");
    let server = patient(mode).flag("--drain-timeout", "0").flag("--stats-json", &path).start();
    let mut message = vec![0; 1_000_000];
    Random::seeded(7).fill(&mut message);
    let mut stream = server.client();
    // More than the server can echo while nobody reads, but the sockets take all of it.
    let taken = {
        stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut taken = 0;
        while let Ok(len @ 1..) = stream.write(&message[taken..]) {
            taken += len;
        }
        taken
    };
    stream.shutdown(Shutdown::Write).unwrap();
    begin(&server, Signal::TERM);
    is_echoed(&mut stream, &message[..taken]);
    ends(&mut stream);
    drop(stream);
    ends_with(server, 0);
    let connections = &statistics(&path)["connections"];
    let bytes = (&connections["bytes_received"], &connections["bytes_sent"]);
    assert_eq!(bytes, (&taken.into(), &taken.into()));
}
