//! Restarts: a new process takes over the sockets, and no client is refused, reset or left without an answer.

use crate::harness::{Launch, Lines, Mode, PATIENCE, Process, Server, Stats, alone};
use crate::harness::{client, converse, ends, tool, uninterrupted};
use crate::supervision::Supervisor;
use epoll_kit_testing::eventually;
use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A process that a server has started. It is killed when it goes out of scope, as a server is.
struct Successor(Process, Pid);

impl Drop for Successor {
    fn drop(&mut self) {
        self.0.signal(Signal::KILL);
    }
}

/// The value of a field in a line of the log.
#[track_caller]
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// Opens the process that a line of the log is about.
#[track_caller]
fn process_in(line: &str) -> Successor {
    let id = field(line, "process").parse().expect("a number");
    let id = Pid::from_raw(id).expect("a process");
    Successor(Process::open(id), id)
}

/// Waits until the new process serves.
#[track_caller]
fn successor(log: &Lines) -> Successor {
    process_in(&log.next_with(&["a new process serves"]))
}

/// Makes a process restart, and waits for the new one.
#[track_caller]
fn restart(process: &Process, log: &Lines) -> Successor {
    process.signal(Signal::USR2);
    successor(log)
}

/// A server that logs, and ends connections that are quiet.
fn launch(mode: Mode) -> Launch {
    Launch::at("127.0.0.1:0").mode(mode)
}

/// The numbers of outcomes of clients that are at work while servers come and go.
#[derive(Default)]
struct Tally {
    is_over: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
    reset: AtomicU64,
    unanswered: AtomicU64,
}

/// The messages of a connection, one after another, before it is quiet.
const MESSAGES: usize = 5;
/// The connections of a thread that stay open, of which the oldest is closed.
const STAYING_MAX: usize = 20;
/// A server that drains may end a connection that is quiet for longer, and has not lost what comes later.
const QUIET_MAX: Duration = Duration::from_millis(80);

impl Tally {
    /// Connects, exchanges and stays, again and again.
    fn work(&self, server: SocketAddr) {
        let mut staying = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            match TcpStream::connect(server) {
                Ok(stream) => staying.extend(self.exchange(stream)),
                Err(error) => {
                    eprintln!("no connection: {error}");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            staying.retain_mut(|stream| self.stays(stream));
            if staying.len() > STAYING_MAX {
                self.close(&mut staying.remove(0));
            }
            // So that the ports of this machine last.
            thread::sleep(Duration::from_millis(1));
        }
        staying.iter_mut().for_each(|stream| self.close(stream));
    }

    /// Sends messages and reads them back; `None` if that has failed, or the connection has ended in between.
    fn exchange(&self, mut stream: TcpStream) -> Option<TcpStream> {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut last = Instant::now();
        for message in 0..MESSAGES {
            let message = format!("message {message}");
            let mut echo = vec![0; message.len()];
            let sent = stream.write_all(message.as_bytes());
            let is_late = last.elapsed() > QUIET_MAX;
            match sent.and_then(|()| stream.read_exact(&mut echo)) {
                Ok(()) => assert_eq!(echo, message.as_bytes()),
                // This thread was held up, so the server took the connection for a quiet one.
                Err(_) if is_late => return None,
                Err(error) => {
                    eprintln!("no answer: {error}");
                    let is_end = error.kind() == ErrorKind::UnexpectedEof;
                    let count = if is_end { &self.unanswered } else { &self.reset };
                    count.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            last = Instant::now();
        }
        Some(stream)
    }

    /// Returns whether a connection that is quiet is still open. A server that drains ends it in order.
    fn stays(&self, stream: &mut TcpStream) -> bool {
        stream.set_nonblocking(true).expect("an option");
        let end = stream.read(&mut [0]);
        stream.set_nonblocking(false).expect("an option");
        match end {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Ok(0) => {}
            other => {
                eprintln!("not in order: {other:?}");
                self.reset.fetch_add(1, Ordering::Relaxed);
            }
        }
        false
    }

    fn close(&self, stream: &mut TcpStream) {
        let closed = stream.shutdown(Shutdown::Write).and_then(|()| stream.read(&mut [0]));
        if !matches!(closed, Ok(0)) {
            eprintln!("not in order: {closed:?}");
            self.reset.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn failures(&self) -> [u64; 3] {
        [&self.refused, &self.reset, &self.unanswered].map(|count| count.load(Ordering::Relaxed))
    }
}

in_modes!(ten_restarts_under_load_fail_nobody: reuseport Reuseport, exclusive Exclusive,
    oneshot Oneshot, edge Edge);

fn ten_restarts_under_load_fail_nobody(mode: Mode) {
    const RESTARTS: usize = 10;
    const CLIENTS: usize = 2;
    let _alone = alone();
    let mut server = launch(mode).start();
    let (address, tally) = (server.inet(), Tally::default());
    let mut successors: Vec<Successor> = Vec::new();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| tally.work(address));
        }
        let restarts = std::panic::AssertUnwindSafe(|| {
            for _ in 0..RESTARTS {
                let before = tally.answered.load(Ordering::Relaxed);
                let serving = successors.last().map_or(&server.process, |last| &last.0);
                successors.push(restart(serving, &server.stderr));
                eventually("clients go on", || {
                    tally.answered.load(Ordering::Relaxed) > before + 100
                });
            }
        });
        let restarted = std::panic::catch_unwind(restarts);
        tally.is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = restarted {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(tally.failures(), [0; 3], "refused, reset and unanswered");
    println!("{mode}: {} answers", tally.answered.load(Ordering::Relaxed));
    assert_eq!(server.await_end().code(), Some(0));
    let last = successors.pop().expect("a process");
    successors.iter().for_each(|one| one.0.await_end());
    converse(&mut client(address), b"the last one");
    last.0.signal(Signal::TERM);
    last.0.await_end();
    // Every new process has said where it listens: where the first one did.
    let line = format!("listening on {address}");
    let lines = server.stdout.rest();
    assert_eq!(lines, vec![line; RESTARTS]);
}

#[test]
fn metrics_and_datagrams_go_on_at_the_same_addresses() {
    let _alone = alone();
    let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (udp, folder) = (free(), tempfile::tempdir().unwrap());
    let path = folder.path().join("metrics");
    let launch = launch(Mode::Level).flag("--metrics", format!("unix:{}", path.display()));
    let mut server = launch.flag("--udp", udp.to_string()).start();
    let successor = restart(&server.process, &server.stderr);
    assert_eq!(server.await_end().code(), Some(0));
    assert!(answer_of(&path).starts_with("HTTP/1.1 200"));
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
    datagrams.send_to(b"hello", udp).unwrap();
    assert_eq!(uninterrupted(|| datagrams.recv(&mut [0; 16])).unwrap(), 5);
    converse(&mut server.client(), b"not at the socket of the metrics");
    successor.0.signal(Signal::TERM);
    successor.0.await_end();
    assert!(!path.exists(), "the path is the new process's to remove");
}

/// Returns the answer of a server to the question whether it is ready.
#[track_caller]
fn answer_of(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).expect("a connection");
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn each_process_writes_its_own_statistics() {
    let (launch, stats) = Stats::of(launch(Mode::Reuseport));
    let mut server = launch.start();
    for _ in 0..3 {
        converse(&mut server.client(), b"to the first one");
    }
    let next = restart(&server.process, &server.stderr);
    assert_eq!(server.await_end().code(), Some(0));
    assert_eq!(stats.read()["connections"]["opened"], 3);
    converse(&mut server.client(), b"to the second one");
    next.0.signal(Signal::TERM);
    next.0.await_end();
    assert_eq!(stats.read()["connections"]["opened"], 1);
}

in_all_modes!(a_path_is_left_to_the_new_process_which_removes_it);

fn a_path_is_left_to_the_new_process_which_removes_it(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let mut server = Launch::at(format!("unix:{}", path.display())).mode(mode).start();
    let inode = fs::metadata(&path).unwrap().ino();
    let next = restart(&server.process, &server.stderr);
    assert_eq!(server.await_end().code(), Some(0));
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    unix_is_served(&path);
    let last = restart(&next.0, &server.stderr);
    next.0.await_end();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    unix_is_served(&path);
    last.0.signal(Signal::TERM);
    last.0.await_end();
    assert!(!path.exists(), "nobody has removed it");
}

in_all_modes!(a_path_that_was_deleted_is_made_again);

fn a_path_that_was_deleted_is_made_again(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let mut server = Launch::at(format!("unix:{}", path.display())).mode(mode).start();
    let mut waiting = UnixStream::connect(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let next = restart(&server.process, &server.stderr);
    unix_is_served(&path);
    converse(&mut waiting, b"as before");
    drop(waiting);
    assert_eq!(server.await_end().code(), Some(0));
    unix_is_served(&path);
    let last = restart(&next.0, &server.stderr);
    next.0.await_end();
    unix_is_served(&path);
    last.0.signal(Signal::TERM);
    last.0.await_end();
    assert!(!path.exists(), "nobody has removed it");
}

#[track_caller]
fn unix_is_served(path: &Path) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(&mut stream, b"hello");
}

/// Lets the threads of a process, and whatever it starts, run on so many cores.
#[track_caller]
fn run_on(process: &Process, cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    for thread in process.threads() {
        let thread = i32::try_from(thread).ok().and_then(Pid::from_raw);
        sched_setaffinity(thread, &set).expect("cores");
    }
}

/// Returns the number of sockets that listen at a port of 127.0.0.1.
#[track_caller]
fn listening(address: SocketAddr) -> usize {
    let local = format!(" 0100007F:{:04X} ", address.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("a table");
    table.lines().filter(|line| line.contains(&local) && line.contains(" 0A ")).count()
}

#[test]
fn every_queue_has_a_thread_whatever_their_number() {
    let set = sched_getaffinity(None).expect("cores");
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).take(2).collect();
    if cores.len() < 2 {
        epoll_kit_testing::leave_out(
            "every_queue_has_a_thread_whatever_their_number",
            "a second core",
        );
        return;
    }
    // One thread for each core.
    let launch = Launch::at("127.0.0.1:0").flag("--accept", "reuseport");
    let mut server = launch.under(["taskset", "-c", &cores[0].to_string()]).start();
    let address = server.inet();
    assert_eq!(field(&server.stderr.next_with(&["started"]), "threads"), "1");
    assert_eq!(listening(address), 1);
    run_on(&server.process, &cores);
    let restarted = |process: &Process, log: &Lines| {
        process.signal(Signal::USR2);
        let [started, serving] = log.next_of_each([" started ", "a new process serves"]);
        (field(&started, "threads").to_owned(), process_in(&serving))
    };
    let (threads, wide) = restarted(&server.process, &server.stderr);
    assert_eq!(threads, "2");
    server.await_end();
    assert_eq!(listening(address), 2, "a queue is missing");
    let served_by_all = || {
        // So many that each queue gets some.
        for _ in 0..50 {
            converse(&mut client(address), b"hello");
        }
    };
    served_by_all();
    run_on(&wide.0, &cores[..1]);
    let (threads, narrow) = restarted(&wide.0, &server.stderr);
    assert_eq!(threads, "1");
    wide.0.await_end();
    assert_eq!(listening(address), 2, "a queue is lost");
    served_by_all();
    narrow.0.signal(Signal::TERM);
    narrow.0.await_end();
    assert_eq!(listening(address), 0);
}

in_all_modes!(the_metrics_are_those_of_the_new_process_at_once);

fn the_metrics_are_those_of_the_new_process_at_once(mode: Mode) {
    let launch = launch(mode).flag("--metrics", "127.0.0.1:0").flag("--linger-timeout", "0");
    // No delay is for a restart.
    let launch = launch.flag("--drain-timeout", "0").flag("--drain-delay", "1h");
    let mut server = launch.start();
    let mut held = client(server.inet());
    converse(&mut held, b"hello");
    let mut of_metrics = client(server.metrics_address().parse().unwrap());
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    of_metrics.write_all(request).unwrap();
    assert_eq!(uninterrupted(|| of_metrics.peek(&mut [0])).unwrap(), 1, "no answer");
    let next = restart(&server.process, &server.stderr);
    // The answer, and the end.
    let mut rest = Vec::new();
    of_metrics.read_to_end(&mut rest).expect("an end");
    assert!(rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    // The process that has ended it goes on for the sake of its connection.
    ends(&mut held);
    assert!(!server.process.has_ended_within(Duration::ZERO));
    drop(held);
    server.await_end();
    next.0.signal(Signal::TERM);
    next.0.signal(Signal::INT);
    next.0.await_end();
}

/// Makes a program of these lines of a shell at `path`, in one step.
#[track_caller]
pub(crate) fn script(path: &Path, lines: &str) {
    write_program(path, &format!("#!/bin/sh\n{lines}"));
}

#[track_caller]
fn write_program(path: &Path, text: &str) {
    // By another process: a descriptor that writes it must be nobody's when it is started.
    let write =
        "printf '%s\\n' \"$2\" > \"$1.new\" && chmod +x \"$1.new\" && mv -f \"$1.new\" \"$1\"";
    let status = Command::new("sh").args(["-c", write, "sh"]).arg(path).arg(text).status();
    assert!(status.expect("a shell").success());
}

in_modes!(a_new_program_that_fails_leaves_the_old_one_serving: reuseport Reuseport, oneshot Oneshot);

fn a_new_program_that_fails_leaves_the_old_one_serving(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("epoll-server");
    symlink(Launch::program(), &program).unwrap();
    let launch = launch(mode).flag("--restart-timeout", "200ms").copy_at(&program);
    let mut server = launch.start();
    let mut stream = server.client();
    let mut goes_on = |server: &Server| {
        server.stderr.next_with(&["goes on serving"]);
        converse(&mut stream, b"as before");
        converse(&mut server.client(), b"a new one");
    };

    script(&program, "exit 7");
    server.process.signal(Signal::USR2);
    server.stderr.next_with(&["the new process does not serve", "exit status: 7"]);
    goes_on(&server);

    script(&program, "exec sleep 600");
    server.process.signal(Signal::USR2);
    let late = process_in(&server.stderr.next_with(&["restarting"]));
    server.stderr.next_with(&["the new process is not ready in time", "signal: 9"]);
    late.0.await_end();
    goes_on(&server);

    fs::remove_file(&program).unwrap();
    server.process.signal(Signal::USR2);
    server.stderr.next_with(&["the new process cannot be started", "No such file"]);
    goes_on(&server);

    // Nothing is left of all that.
    symlink(Launch::program(), &program).unwrap();
    let next = restart(&server.process, &server.stderr);
    drop(stream);
    assert_eq!(server.await_end().code(), Some(0));
    converse(&mut client(server.inet()), b"the next one");
    next.0.signal(Signal::TERM);
    next.0.await_end();
}

#[test]
fn a_second_request_is_refused_and_a_signal_to_end_ends_both() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("epoll-server");
    symlink(Launch::program(), &program).unwrap();
    let mut server = launch(Mode::Exclusive).copy_at(&program).start();
    script(&program, "exec sleep 600");
    server.process.signal(Signal::USR2);
    let starting = process_in(&server.stderr.next_with(&["restarting"]));
    server.process.signal(Signal::USR2);
    server.stderr.next_with(&["restart refused", "a restart is under way"]);
    converse(&mut server.client(), b"meanwhile");
    server.process.signal(Signal::TERM);
    server.stderr.next_with(&["the new process is ended as well"]);
    starting.0.await_end();
    assert_eq!(server.await_end().code(), Some(0));
    assert!(TcpStream::connect(server.inet()).is_err(), "somebody has the socket");
}

in_modes!(after_the_hand_over_it_drains_until_a_second_signal: level Level, edge_shared EdgeShared);

fn after_the_hand_over_it_drains_until_a_second_signal(mode: Mode) {
    let mut server = launch(mode).flag("--drain-timeout", "0").start();
    let mut stream = server.client();
    // What it reads no echo of keeps a connection busy.
    stream.set_nonblocking(true).unwrap();
    let chunk = [b'x'; 65_536];
    let mut taken = 0;
    eventually("the server takes no more", || match stream.write(&chunk) {
        Ok(count) => {
            taken += count;
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            thread::sleep(Duration::from_millis(50));
            stream.write(&chunk).map(|count| taken += count).is_err()
        }
    });
    stream.set_nonblocking(false).unwrap();
    let next = restart(&server.process, &server.stderr);
    server.process.signal(Signal::USR2);
    server.stderr.next_with(&["restart refused", "the service drains"]);
    server.process.signal(Signal::TERM);
    server.stderr.next_with(&["draining already"]);
    converse(&mut server.client(), b"of the new one");
    // The old one still serves.
    stream.read_exact(&mut [0; 4096]).unwrap();
    assert!(server.is_alive() && taken > 1 << 16);
    // Another one than before: the same signal within 100 ms counts once.
    server.process.signal(Signal::INT);
    assert_eq!(server.await_end().code(), Some(130));
    converse(&mut client(server.inet()), b"unharmed");
    drop(next);
}

#[test]
fn the_new_program_begins_with_the_signals_of_the_old_one() {
    // A shell would begin by unblocking everything.
    let Some(python) = tool("python3") else { return };
    let status = "import sys; sys.stderr.write(open('/proc/self/status').read()); sys.exit(1)";
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("epoll-server");
    symlink(Launch::program(), &program).unwrap();
    let launch = launch(Mode::Level).copy_at(&program);
    let ignoring = launch.clone().under(["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    let bit = |signal: Signal| 1_u64 << (signal.as_raw() - 1);
    // Of the signals that a program has names for, without those that Python ignores.
    let set = |line: &str| {
        let digits = line.split_whitespace().last().expect("a set");
        let ignored_by_python = bit(Signal::PIPE) | bit(Signal::XFSZ);
        u64::from_str_radix(digits, 16).expect("a number") & 0x7fff_ffff & !ignored_by_python
    };
    for (launch, ignored) in [(launch, 0), (ignoring, 1)] {
        let server = launch.start();
        write_program(&program, &format!("#!{}\n{status}", python.path().display()));
        server.process.signal(Signal::USR2);
        assert_eq!(set(&server.stderr.next_with(&["SigBlk"])), 0);
        assert_eq!(set(&server.stderr.next_with(&["SigIgn"])), ignored);
        drop(server);
        fs::remove_file(&program).unwrap();
        symlink(Launch::program(), &program).unwrap();
    }
}

#[test]
fn the_supervisor_is_told_of_the_new_main_process_and_of_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("epoll-server");
    symlink(Launch::program(), &program).unwrap();
    let supervisor = Supervisor::start();
    let mut server = supervisor.of(launch(Mode::Oneshot)).copy_at(&program).start();
    assert_eq!(supervisor.hears(), "READY=1");

    script(&program, "exit 1");
    server.process.signal(Signal::USR2);
    assert!(supervisor.hears().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(supervisor.hears(), "READY=1");

    fs::remove_file(&program).unwrap();
    symlink(Launch::program(), &program).unwrap();
    let next = restart(&server.process, &server.stderr);
    assert!(supervisor.hears().starts_with("RELOADING=1\n"));
    let told = supervisor.hears();
    assert_eq!(told, format!("MAINPID={}\nREADY=1", next.1));
    assert_eq!(server.await_end().code(), Some(0));
    assert!(!supervisor.has_more(), "the old process is not the one that stops");
    next.0.signal(Signal::TERM);
    assert_eq!(supervisor.hears(), "STOPPING=1");
    next.0.await_end();
}

#[test]
fn sockets_that_were_passed_keep_their_names() {
    let Some(python) = tool("python3") else { return };
    let pass = "import os, socket, sys\n\
        one = socket.socket(); one.bind(('127.0.0.1', 0)); one.listen(9)\n\
        high = os.dup(one.fileno()); one.close(); os.dup2(high, 3)\n\
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='web')\n\
        os.execvp(sys.argv[1], sys.argv[1:])";
    for flag in [Some("fd:web"), Some("fd:3"), None] {
        let launch = Launch::bare().mode(Mode::Reuseport);
        let launch = flag.into_iter().fold(launch, |launch, flag| launch.flag("--listen", flag));
        let launch = launch.under([python.path().as_os_str(), "-c".as_ref(), pass.as_ref()]);
        let mut server = launch.start();
        let next = restart(&server.process, &server.stderr);
        assert_eq!(server.await_end().code(), Some(0));
        let last = restart(&next.0, &server.stderr);
        next.0.await_end();
        converse(&mut server.client(), b"hello");
        let address = server.inet();
        last.0.signal(Signal::TERM);
        last.0.await_end();
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn the_standard_input_is_that_of_the_first_process() {
    let mut server = launch(Mode::Level).start();
    let next = restart(&server.process, &server.stderr);
    assert_eq!(server.await_end().code(), Some(0));
    let stdin = |one: &Successor| fs::read_link(format!("/proc/{}/fd/0", one.1)).unwrap();
    assert_eq!(stdin(&next), Path::new("/dev/null"));
    let last = restart(&next.0, &server.stderr);
    next.0.await_end();
    assert_eq!(stdin(&last), Path::new("/dev/null"));
    converse(&mut client(server.inet()), b"hello");
}
