//! Tests that each proxy among the examples must pass, as a process between clients and backends of all
//! kinds. The file that includes this one names the proxy.

use crate::{EXAMPLES, MEMORY_MAX, SWITCHES_OF_A_PAUSE_MAX};
use epoll_kit_testing::{DEADLINE, Guard, Random, eventually, sleeps_in_a_wait};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Signal, kill_process};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// The time that it may take to start, with what has to be built.
const PATIENCE: Duration = Duration::from_secs(300);
/// No transfer takes this long, however busy the machine; it turns a hang into an error.
const STALL: Duration = Duration::from_secs(60);
/// A period of the bytes that are sent: a prime, so that it fits no buffer.
const PERIOD: usize = 999_983;
const MIB: usize = 1 << 20;

pub(crate) struct Proxy {
    guard: Guard,
    pub(crate) address: String,
}

impl Proxy {
    #[track_caller]
    pub(crate) fn start(listen: &str, backend: &str, timeouts: &[&str]) -> Self {
        let mut guard = EXAMPLES.spawn("proxy", &[&[listen, backend], timeouts].concat());
        let stdout = guard.child().stdout.take().expect("a pipe");
        let (send, line) = mpsc::channel();
        thread::spawn(move || send.send(BufReader::new(stdout).lines().next()));
        let line = line.recv_timeout(PATIENCE).expect("it starts").expect("a line").unwrap();
        let address = line.strip_prefix("listening on ").expect(&line).to_owned();
        Self { guard, address }
    }

    pub(crate) fn between(backend: &TcpListener) -> Self {
        Self::start("127.0.0.1:0", &address_of(backend).to_string(), &[])
    }

    pub(crate) fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(&self.address).unwrap())
    }

    /// Returns the client's end and the backend's.
    pub(crate) fn connection(&self, backend: &TcpListener) -> (TcpStream, TcpStream) {
        (self.connect(), patient(backend.accept().unwrap().0))
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.guard.pid().as_raw_pid())).unwrap()
    }

    /// Returns the bytes of memory that no file has. Pages of a program that was just linked are dirty as
    /// well, and its own whenever no other test runs the program.
    fn memory(&self) -> usize {
        1024 * number_after(&self.proc("smaps_rollup"), "Anonymous:")
    }

    /// Returns the number of times that it was put to sleep or interrupted.
    fn switches(&self) -> usize {
        let status = self.proc("status");
        number_after(&status, "\nvoluntary_ctxt_switches:")
            + number_after(&status, "nonvoluntary_ctxt_switches:")
    }

    fn is_asleep(&self) -> bool {
        let pid = self.guard.pid().as_raw_pid();
        sleeps_in_a_wait(pid.unsigned_abs(), pid)
    }

    /// Waits until it has not run for a while.
    #[track_caller]
    pub(crate) fn await_rest(&self) {
        eventually("the proxy rests", || {
            let before = self.switches();
            // Long enough for a loop that spins to be seen: it would run on.
            thread::sleep(Duration::from_millis(200));
            self.is_asleep() && self.switches() == before
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.guard.pid(), signal).unwrap();
    }

    #[track_caller]
    pub(crate) fn ends_well(self) {
        let output = self.guard.output(DEADLINE);
        assert!(output.status.success(), "{}", output.status);
    }
}

fn number_after(text: &str, name: &str) -> usize {
    let rest = text.split(name).nth(1).expect(name);
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

pub(crate) fn address_of(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap()
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(STALL)).unwrap();
    stream.set_write_timeout(Some(STALL)).unwrap();
    stream
}

fn period(seed: u64) -> Vec<u8> {
    let mut period = vec![0; PERIOD];
    Random::seeded(seed).fill(&mut period);
    period
}

/// Sends `len` bytes and the end; counts in `sent`.
fn send(mut stream: &TcpStream, seed: u64, len: usize, sent: &AtomicUsize) {
    let period = period(seed);
    let mut at = 0;
    while at < len {
        let start = at % PERIOD;
        let end = PERIOD.min(start + 64 * 1024).min(start + len - at);
        let written = stream.write(&period[start..end]).unwrap();
        at += written;
        sent.store(at, Ordering::Relaxed);
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Reads up to the end, and compares; calls `pause` after every 64 KiB.
#[track_caller]
fn receive(mut stream: &TcpStream, seed: u64, len: usize, mut pause: impl FnMut()) {
    let period = period(seed);
    let mut buffer = [0; 64 * 1024];
    let (mut at, mut unpaused) = (0, 0);
    loop {
        let max = buffer.len().min(PERIOD - at % PERIOD);
        let count = stream.read(&mut buffer[..max]).unwrap();
        if count == 0 {
            break;
        }
        let expected = &period[at % PERIOD..][..count];
        assert!(buffer[..count] == *expected, "other bytes after {at}");
        at += count;
        unpaused += count;
        if unpaused >= buffer.len() {
            unpaused = 0;
            pause();
        }
    }
    assert_eq!(at, len);
}

/// Both directions at once, of which the client reads with pauses.
fn exchange(client: &TcpStream, backend: &TcpStream, seed: u64, len: usize, pause: Duration) {
    thread::scope(|scope| {
        for (from, to, seed, pause) in
            [(client, backend, seed, Duration::ZERO), (backend, client, seed + 1, pause)]
        {
            scope.spawn(move || send(from, seed, len, &AtomicUsize::new(0)));
            scope.spawn(move || {
                receive(to, seed, len, || {
                    if !pause.is_zero() {
                        thread::sleep(pause);
                    }
                });
            });
        }
    });
}

fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[track_caller]
fn assert_is_reset(mut stream: &TcpStream) {
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Both an end and a reset will do.
#[track_caller]
fn assert_is_cut(mut stream: &TcpStream) {
    match stream.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("not cut: {other:?}"),
    }
}

/// A word goes to the backend, and comes back.
#[track_caller]
pub(crate) fn assert_echoes(client: &TcpStream, backend: &TcpStream) {
    for (mut from, mut to) in [(client, backend), (backend, client)] {
        from.write_all(b"word").unwrap();
        let mut read = [0; 4];
        to.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"word");
    }
}

/// Sends until nothing on the way takes more. Returns how much was sent.
fn fill(mut stream: &TcpStream, proxy: &Proxy, seed: u64) -> usize {
    let period = period(seed);
    let (mut sent, mut is_full) = (0, false);
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.write(&period[sent % PERIOD..]) {
            Ok(len) => (sent, is_full) = (sent + len, false),
            Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
            Err(_) if is_full => return sent,
            Err(_) => {
                proxy.await_rest();
                is_full = true;
            }
        }
    }
}

#[test]
fn what_is_on_its_way_arrives_though_both_sides_have_ended() {
    let backend = listener();
    let proxy = Proxy::between(&backend);
    let (client, mut peer) = proxy.connection(&backend);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    let len = fill(&peer, &proxy, 9);
    drop(peer);
    // The last bytes and the end reach the proxy while the client has no room for what came before.
    receive(&client, 9, len, || thread::sleep(Duration::from_millis(2)));
    proxy.await_rest();
}

#[test]
fn a_side_that_reads_nothing_is_read_even_so() {
    const LEN: usize = 30 * MIB;
    let backend = listener();
    let proxy = Proxy::between(&backend);
    for is_client in [true, false] {
        let (client, peer) = proxy.connection(&backend);
        let (silent, busy) = if is_client { (&client, &peer) } else { (&peer, &client) };
        let len = fill(busy, &proxy, 3);
        busy.set_nonblocking(false).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| send(silent, 4, LEN, &AtomicUsize::new(0)));
            receive(busy, 4, LEN, || ());
        });
        busy.shutdown(Shutdown::Write).unwrap();
        receive(silent, 3, len, || ());
    }
    proxy.await_rest();
}

#[test]
fn every_byte_arrives_in_both_directions_beside_a_slow_reader() {
    let backend = listener();
    let proxy = Proxy::between(&backend);
    let pairs: Vec<_> = (0..5).map(|_| proxy.connection(&backend)).collect();
    proxy.await_rest();
    let at_rest = proxy.memory();
    let mut most = 0;
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (index, (client, backend)) in pairs.iter().enumerate() {
            let (len, pause) = match index {
                0 => (5 * MIB, Duration::from_millis(10)),
                _ => (20_000_000, Duration::ZERO),
            };
            let seed = 2 * index as u64;
            running.push(scope.spawn(move || exchange(client, backend, seed, len, pause)));
        }
        while running.iter().any(|one| !one.is_finished()) {
            most = most.max(proxy.memory());
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(most <= at_rest + MEMORY_MAX, "{at_rest} bytes at rest, {most} at most");
    proxy.await_rest();
}

#[test]
fn a_reader_that_stops_stops_its_peer() {
    const LEN: usize = 64 * MIB;
    let backend = listener();
    let proxy = Proxy::between(&backend);
    let (client, backend) = proxy.connection(&backend);
    proxy.await_rest();
    let at_rest = proxy.memory();
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| send(&client, 1, LEN, &sent));
        eventually("the client sends", || sent.load(Ordering::Relaxed) > MIB);
        proxy.await_rest();
        let stopped_at = sent.load(Ordering::Relaxed);
        assert!(stopped_at < LEN, "the client was not stopped");
        let memory = proxy.memory();
        assert!(memory <= at_rest + MIB, "{at_rest} bytes at rest, {memory} while it is stopped");
        receive(&backend, 1, LEN, || ());
    });
    // The other direction is still open.
    send(&backend, 2, 10, &sent);
    receive(&client, 2, 10, || ());
}

#[test]
fn either_side_that_has_ended_gets_the_whole_answer() {
    const LEN: usize = 3 * MIB;
    let backend = listener();
    let proxy = Proxy::between(&backend);
    let sent = AtomicUsize::new(0);
    for client_ends_first in [true, false] {
        let (client, backend) = proxy.connection(&backend);
        let (first, second) =
            if client_ends_first { (&client, &backend) } else { (&backend, &client) };
        thread::scope(|scope| {
            scope.spawn(|| send(first, 1, LEN, &sent));
            receive(second, 1, LEN, || ());
        });
        proxy.await_rest();
        thread::scope(|scope| {
            scope.spawn(|| send(second, 2, LEN, &sent));
            receive(first, 2, LEN, || ());
        });
    }
    proxy.await_rest();
    proxy.signal(Signal::TERM);
    proxy.ends_well();
}

#[test]
fn a_side_that_has_gone_does_not_spin_while_the_other_drains() {
    const LEN: usize = 3 * MIB;
    let backend = listener();
    let proxy = Proxy::between(&backend);
    let (client, backend) = proxy.connection(&backend);
    backend.shutdown(Shutdown::Write).unwrap();
    receive(&client, 0, 0, || ());
    // More than the backend's socket takes unread; its window is small from now on.
    let sent = AtomicUsize::new(0);
    send(&client, 1, LEN, &sent);
    drop(client);
    proxy.await_rest();
    receive(&backend, 1, LEN, || ());
    proxy.await_rest();
    proxy.signal(Signal::TERM);
    proxy.ends_well();
}

#[test]
fn a_client_is_closed_when_the_backend_refuses_and_the_next_is_served() {
    let backend = listener();
    let address = address_of(&backend);
    let proxy = Proxy::between(&backend);
    drop(backend);
    assert_eq!(proxy.connect().read(&mut [0]).unwrap(), 0);
    proxy.await_rest();
    let backend = TcpListener::bind(address).unwrap();
    let (client, backend) = proxy.connection(&backend);
    assert_echoes(&client, &backend);
}

#[test]
fn paths_of_unix_sockets_will_do_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| format!("unix:{}", directory.path().join(name).display());
    let proxy = Proxy::start(&path("front"), &path("back"), &[]);
    assert_eq!(proxy.address, path("front"));
    let connect = || UnixStream::connect(directory.path().join("front")).unwrap();
    // Nobody listens at the back.
    assert_eq!(connect().read(&mut [0]).unwrap(), 0);
    let backend = UnixListener::bind(directory.path().join("back")).unwrap();
    let (mut client, mut backend) = (connect(), backend.accept().unwrap().0);
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    backend.read_to_string(&mut text).unwrap();
    backend.write_all(b"goodbye").unwrap();
    drop(backend);
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hellogoodbye");
}

/// Returns a listener whose queue is full, so that a connect to it is not answered, and what fills it.
fn deaf_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let mut queue = Vec::new();
    while let Ok(stream) =
        TcpStream::connect_timeout(&address_of(&listener), Duration::from_millis(300))
    {
        queue.push(stream);
        assert!(queue.len() < 16, "the queue does not become full");
    }
    (listener, queue)
}

#[test]
fn a_backend_that_does_not_answer_is_given_up_after_the_connect_timeout() {
    let (backend, _queue) = deaf_listener();
    let timeout = Duration::from_millis(300);
    let proxy = Proxy::start("127.0.0.1:0", &address_of(&backend).to_string(), &["300", "600000"]);
    let start = Instant::now();
    let mut client = proxy.connect();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(start.elapsed() >= timeout);
    proxy.await_rest();
    proxy.signal(Signal::TERM);
    proxy.ends_well();
}

#[test]
fn what_a_client_says_before_the_backend_answers_waits_and_wakes_nobody() {
    const WORDS: usize = 20;
    let (backend, queue) = deaf_listener();
    let proxy =
        Proxy::start("127.0.0.1:0", &address_of(&backend).to_string(), &["600000", "600000"]);
    let mut client = proxy.connect();
    client.set_nodelay(true).unwrap();
    proxy.await_rest();
    let before = proxy.switches();
    for _ in 0..WORDS {
        client.write_all(b"word").unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    proxy.await_rest();
    assert!(proxy.switches() <= before + SWITCHES_OF_A_PAUSE_MAX);
    for _ in queue {
        backend.accept().unwrap();
    }
    // The kernel tries again within seconds.
    let mut backend = patient(backend.accept().unwrap().0);
    let mut words = String::new();
    backend.read_to_string(&mut words).unwrap();
    assert_eq!(words, "word".repeat(WORDS));
}

#[test]
fn a_connection_is_cut_when_nothing_moves_and_no_other() {
    let backend = listener();
    let timeout = Duration::from_millis(300);
    let proxy = Proxy::start("127.0.0.1:0", &address_of(&backend).to_string(), &["600000", "300"]);
    let start = Instant::now();
    let (talking, silent) = (proxy.connection(&backend), proxy.connection(&backend));
    let cut = thread::scope(|scope| {
        let cut = scope.spawn(|| {
            assert_is_cut(&silent.0);
            assert_is_cut(&silent.1);
            start.elapsed()
        });
        while !cut.is_finished() {
            assert_echoes(&talking.0, &talking.1);
        }
        cut.join().unwrap()
    });
    assert!(cut >= timeout, "after {cut:?}");
    assert_echoes(&talking.0, &talking.1);
}

#[test]
fn a_proxy_that_was_held_up_cuts_nobody_whose_bytes_have_come() {
    let backend = listener();
    let proxy = Proxy::start("127.0.0.1:0", &address_of(&backend).to_string(), &["600000", "1500"]);
    let (mut client, mut backend) = proxy.connection(&backend);
    assert_echoes(&client, &backend);
    proxy.signal(Signal::STOP);
    eventually("it has stopped", || proxy.proc("stat").contains(") T "));
    // Longer than the timeout, and the bytes after it: the timer is the first that is reported.
    thread::sleep(Duration::from_millis(1800));
    client.write_all(b"late").unwrap();
    proxy.signal(Signal::CONT);
    let mut read = [0; 4];
    backend.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"late");
}

#[test]
fn a_reset_reaches_the_other_side_and_nobody_else() {
    const LEN: usize = 10 * MIB;
    let backend = listener();
    let proxy = Proxy::between(&backend);
    for client_resets in [true, false] {
        let (client, peer) = proxy.connection(&backend);
        let (cut, left) = proxy.connection(&backend);
        let (mut cut, mut left) = if client_resets { (cut, left) } else { (left, cut) };
        // Under way in both directions.
        for stream in [&mut cut, &mut left] {
            stream.write_all(&[0; 100_000]).unwrap();
        }
        left.read_exact(&mut [0; 1000]).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| exchange(&client, &peer, 7, LEN, Duration::ZERO));
            reset(cut);
            assert_is_reset(&left);
        });
    }
    proxy.await_rest();
}
