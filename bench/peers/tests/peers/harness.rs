//! A peer in a process of its own, ended by its id, and its clients.

use epoll_kit_testing::leave_out;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// A test that has waited so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the name of the test that runs.
pub(crate) fn test() -> String {
    thread::current().name().unwrap_or("peers").to_owned()
}

/// A peer that serves, until this goes out of scope.
pub(crate) struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    #[track_caller]
    pub(crate) fn start(program: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self::spawn(command.args(["--listen", "127.0.0.1:0"]).args(flags))
    }

    /// Starts a peer that needs io_uring. Returns `None` if the peer says that this is not permitted here.
    #[track_caller]
    pub(crate) fn start_on_io_uring(program: &str, flags: &[&str]) -> Option<Self> {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]).args(flags).stderr(Stdio::piped());
        let (said, mut child) = match Self::try_spawn(&mut command) {
            Ok(peer) => return Some(peer),
            Err(failed) => failed,
        };
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert!(complaint.contains("does not permit io_uring"), "{said}: {complaint}");
        eprintln!("{}", complaint.trim_end());
        leave_out(&test(), "io_uring");
        None
    }

    /// Starts a peer whose system calls of these names are reported, a line each. Returns `None` without strace.
    #[track_caller]
    pub(crate) fn start_traced(
        program: &str,
        flags: &[&str],
        calls: &str,
    ) -> Option<(Self, Receiver<String>)> {
        let has_strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
        if has_strace.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            leave_out(&test(), "strace");
            return None;
        }
        let mut command = Command::new("strace");
        // The child is the peer and strace a process of its own, which ends with it.
        command.args([
            "-D",
            "-ttt",
            "-s",
            "0",
            "-e",
            &format!("trace={calls}"),
            "-e",
            "signal=none",
        ]);
        command.arg(program).args(["--listen", "127.0.0.1:0"]).args(flags);
        let mut peer = Self::spawn(command.stderr(Stdio::piped()));
        let stderr = BufReader::new(peer.child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Some((peer, lines))
    }

    #[track_caller]
    fn spawn(command: &mut Command) -> Self {
        Self::try_spawn(command).unwrap_or_else(|(said, _)| panic!("{said}"))
    }

    /// Starts a peer. One that does not print its address is an error, with the child, which has ended.
    fn try_spawn(command: &mut Command) -> Result<Self, (String, Child)> {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, first_line) = mpsc::channel();
        // Ends with the peer at the latest.
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            sender.send(line)
        });
        let line = first_line.recv_timeout(PATIENCE).unwrap_or_default();
        let address = line.trim_end().strip_prefix("listening on ");
        if let Some(address) = address.and_then(|address| address.parse().ok()) {
            return Ok(Self { child, address });
        }
        let _ = child.kill();
        let ended = child.wait();
        Err((format!("{command:?} has printed {line:?}, and ended with {ended:?}"), child))
    }

    /// Ends of pipes that it has.
    pub(crate) fn pipe_ends(&self) -> usize {
        self.descriptors("pipe:")
    }

    /// Sockets that it has, the listener's too.
    pub(crate) fn sockets(&self) -> usize {
        self.descriptors("socket:")
    }

    fn descriptors(&self, kind: &str) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One that is gone by now is none.
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with(kind)).count()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that was not waited for keeps its id, so this reaches no other process.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Returns the byte at this place of the stream with this number.
pub(crate) fn byte(stream: usize, at: usize) -> u8 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    mixed.wrapping_add(stream as u64 * 31).to_le_bytes()[0]
}

/// Runs a program that must refuse to start, and returns its stderr.
#[track_caller]
pub(crate) fn refusal(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}
