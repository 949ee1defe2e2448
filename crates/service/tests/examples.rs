//! The examples, run as anybody would run them: each says where it listens, answers, and is drained by a
//! SIGTERM. What a connection had sent by then is answered first.

use epoll_kit_testing::{DEADLINE, Examples, Guard, eventually};
use rustix::process::{Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ChildStdout;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{fs, thread};

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };

/// The time that an example may take to start, with what has to be built for it.
const START: Duration = Duration::from_secs(300);

/// The processors that an example may run on. It has a thread for each.
#[derive(Clone, Copy, Debug)]
enum Cpus {
    All,
    One,
}

/// An example that listens.
struct Server {
    guard: Guard,
    address: SocketAddr,
    /// Output after the first line; nothing, and the pipe stays open.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    #[track_caller]
    fn start(name: &'static str, cpus: Cpus) -> Self {
        // The child inherits what this thread may run on, and the thread ends here.
        let spawned = thread::spawn(move || {
            if matches!(cpus, Cpus::One) {
                keep_to_one_cpu();
            }
            EXAMPLES.spawn(name, &["127.0.0.1:0"])
        });
        let mut guard = spawned.join().expect("an example that can be started");
        let stdout = guard.child().stdout.take().expect("a pipe");
        let (sender, first) = channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = sender.send((line, stdout));
        });
        let (line, stdout) = first.recv_timeout(START).expect("a line in time");
        let address = line.trim_end().strip_prefix("listening on ").and_then(|at| at.parse().ok());
        let address = address.unwrap_or_else(|| panic!("not where it listens: {line:?}"));
        Self { guard, address, _stdout: stdout }
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Client(BufReader::new(stream))
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.guard.pid(), signal).expect("a process to signal");
    }

    /// Stops the example while `send` runs, so that it finds a SIGTERM and the sent bytes at once, in no order.
    fn drain_while(&self, send: impl FnOnce()) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.guard.pid());
        eventually("it has stopped", || {
            let stat = fs::read_to_string(&stat).expect("a process");
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        });
        send();
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Waits until it accepts nobody any more.
    fn await_drain(&self) {
        let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
        eventually("it accepts nobody", || TcpStream::connect(self.address).is_err_and(refused));
    }

    /// Waits for its end, which has to come with status 0 and long before the deadline of its drain.
    #[track_caller]
    fn assert_ends_well(mut self) {
        let mut status = None;
        eventually("it ends", || {
            status = self.guard.child().try_wait().expect("a child");
            status.is_some()
        });
        let status = status.expect("it has ended");
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

fn keep_to_one_cpu() {
    let allowed = sched_getaffinity(None).expect("an affinity");
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).expect("a CPU");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).expect("an affinity");
}

struct Client(BufReader<TcpStream>);

impl Client {
    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("a peer that reads");
    }

    #[track_caller]
    fn assert_line(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        assert_eq!(line, format!("{expected}\n"));
    }

    #[track_caller]
    fn assert_answer(&mut self, line: &str, expected: &str) {
        self.send(format!("{line}\n").as_bytes());
        self.assert_line(expected);
    }

    /// Asserts that this and nothing more comes before the end of the stream.
    #[track_caller]
    fn assert_rest(&mut self, expected: &[u8]) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("an end, and no reset");
        assert!(rest == expected, "{} bytes, not {}", rest.len(), expected.len());
    }

    fn end(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).expect("a half to close");
    }
}

#[test]
fn echo_sends_every_byte_back_and_finishes_a_stream_before_it_ends() {
    let server = Server::start("echo", Cpus::All);
    let mut client = server.client();
    client.assert_answer("hello", "hello");
    // More than one read takes, and less than the sockets hold.
    let message: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).take(300_000).collect();
    server.drain_while(|| client.send(&message));
    server.await_drain();
    client.assert_rest(&message);
    client.end();
    server.assert_ends_well();
}

#[test]
fn lines_are_answered_in_reverse_and_one_under_way_is_finished() {
    let server = Server::start("lines", Cpus::All);
    let mut client = server.client();
    client.assert_line("say something");
    client.assert_answer("one two three", "three two one");
    client.assert_answer("", "");
    let mut long = server.client();
    long.assert_line("say something");
    long.send(&[b'x'; 5000]);
    long.assert_line("too long");
    drop(long);
    let mut whole = server.client();
    whole.assert_line("say something");
    whole.send(&[&[b'x'; 5000][..], b"\n"].concat());
    whole.assert_line("too long");
    drop(whole);
    // It has the beginning of a line, and of another connection nothing.
    client.send(b"first\nhalf a");
    client.assert_line("first");
    let mut quiet = server.client();
    quiet.assert_line("say something");
    server.drain_while(|| client.send(b" line\n"));
    server.await_drain();
    client.assert_rest(b"line a half\n");
    quiet.assert_rest(b"");
    drop((client, quiet));
    server.assert_ends_well();
}

#[test]
fn chat_lines_reach_everybody_else_and_one_under_way_is_finished() {
    // One thread: what another one has to say might come after a listener has proved to be quiet.
    let server = Server::start("chat", Cpus::One);
    let [mut speaker, mut listener, mut other] = [(); 3].map(|()| server.client());
    // Each is known to be there when something of it has arrived.
    speaker.send(b"hello\n");
    listener.assert_line("hello");
    other.assert_line("hello");
    listener.send(b"welcome\n");
    speaker.assert_line("welcome");
    other.assert_line("welcome");
    server.drain_while(|| speaker.send(b"goodbye\n"));
    server.await_drain();
    listener.assert_rest(b"goodbye\n");
    other.assert_rest(b"goodbye\n");
    speaker.assert_rest(b"");
    drop((speaker, listener, other));
    server.assert_ends_well();
}

#[test]
fn jobs_are_done_beside_the_loop_and_those_under_way_are_finished() {
    let server = Server::start("jobs", Cpus::All);
    let mut client = server.client();
    client.assert_answer("100", "25");
    client.assert_answer("a hundred", "a number up to 10000000");
    client.assert_answer("10000001", "a number up to 10000000");
    let mut clients = [(); 4].map(|()| server.client());
    // One thread does them all, one after the other; the last ones wait for longer than a quiet connection
    // would have to be finished.
    server.drain_while(|| clients.iter_mut().for_each(|client| client.send(b"1000000\n")));
    server.await_drain();
    clients.iter_mut().for_each(|client| client.assert_rest(b"78498\n"));
    client.assert_rest(b"");
    drop((client, clients));
    server.assert_ends_well();
}
